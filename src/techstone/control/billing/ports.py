"""What this room needs of the world: a store of its own, and somebody to tell an alert to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from techstone.control.billing.records import Alert, Code, Gauge, PriceVersion
    from techstone.core.pricing import Price


class BillingStore(Protocol):
    """Prices, codes and alerts. Prices are never changed or deleted: what was billed by one stays explainable."""

    async def note_configured(self, configured: Mapping[str, Price], now: int) -> None:
        """Add a version for each model whose newest configured one differs; a model's first is valid from 0."""

    async def add_price(self, model: str, price: Price, now: int, *, reset: bool = False) -> None:
        """Add a version; its number is the store's."""

    async def read_prices(self, since: int = 0) -> tuple[PriceVersion, ...]:
        """Return the versions that came after a revision, oldest first."""

    async def add_codes(self, codes: tuple[Code, ...]) -> None:
        """Store them, all or none."""

    async def list_codes(self) -> tuple[Code, ...]:
        """Return all, oldest first."""

    async def revoke_code(self, code_id: str, at: int) -> Code | None:
        """Revoke a code that is not redeemed; return it as it is then, None where there is none of that id."""

    async def redeem_code(self, digest: bytes, account: str, at: int) -> Code | None:
        """Grant a good code's amount to the account and use the code up, both or neither; None where it is not good."""

    async def read_gauges(self, accounts: Collection[str], prepaid: Sequence[str], now: int) -> tuple[Gauge, ...]:
        """Return how far the money of these accounts and their keys is used, where there is a limit to it.

        `prepaid` are the names of prepaid plans: their accounts have their credit as a limit, as it was after the last
        time that some was added.
        """

    async def add_alert(self, alert: Alert) -> bool:
        """Store it; say whether it is the first of its subject, period and threshold."""

    async def list_alerts(self, account: str | None = None) -> tuple[Alert, ...]:
        """Return those of the account (id), or all; oldest first."""


class Notifier(Protocol):
    """Tells an account's holder, or the operator."""

    async def notify(self, alert: Alert, email: str) -> None:
        """Tell it; a failure is the notifier's own to deal with."""
