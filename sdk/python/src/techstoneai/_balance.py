"""What the account has left, with an admin key."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from ._management import locate
from ._record import Record

if TYPE_CHECKING:
    from ._client import AsyncTechStoneAI, TechStoneAI


class Balance(Record):
    """The account's money. `available` may still be spent; None where it is paid for afterwards."""

    object: Literal["balance"]
    account: str
    plan: str
    billing: Literal["prepaid", "postpaid"]
    currency: str
    granted: Decimal
    spent: Decimal
    held: Decimal
    available: Decimal | None = None
    spent_this_month: Decimal
    monthly_cap: Decimal | None = None


class Balances:
    """`client.balance`."""

    def __init__(self, client: TechStoneAI) -> None:
        self._client = client

    def retrieve(self) -> Balance:
        """Return the balance now."""
        url, options = locate(self._client, "balance")
        return self._client.get(url, cast_to=Balance, options=options)


class AsyncBalances:
    """`client.balance` of the async client."""

    def __init__(self, client: AsyncTechStoneAI) -> None:
        self._client = client

    async def retrieve(self) -> Balance:
        """Return the balance now."""
        url, options = locate(self._client, "balance")
        return await self._client.get(url, cast_to=Balance, options=options)
