"""What may be done with top-up codes: create, redeem, list, revoke. A code leaves in the answer to its creation only.

Why a code is not good is told to nobody: unknown, used, expired and revoked ones get the same refusal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.control.acts import acting
from techstone.control.billing.records import (
    Code,
    CodeShown,
    CodeState,
    CreatedCode,
    NewCodes,
    Redeemed,
    Redemption,
)
from techstone.core import codes, lifetime, money
from techstone.core.errors import InvalidRequest

if TYPE_CHECKING:
    from techstone.control.billing.ports import BillingStore
    from techstone.control.ports import Clock, Holders, Randomness

# A transaction of this many rows holds the database for some 10 ms.
_MOST = 1000


class Codes:
    """Create, redeem, list and revoke codes."""

    def __init__(self, store: BillingStore, holders: Holders, clock: Clock, randomness: Randomness) -> None:
        self._store = store
        self._holders = holders
        self._clock = clock
        self._randomness = randomness

    async def create(self, wanted: NewCodes) -> tuple[CreatedCode, ...]:
        """Create codes and show them, this once."""
        try:
            nano = money.parse(wanted.usd)
        except ValueError as error:
            raise InvalidRequest(f"usd: {error}.", param="usd") from error
        if not nano:
            raise InvalidRequest("usd must be more than 0.", param="usd")
        if not 1 <= wanted.count <= _MOST:
            raise InvalidRequest(f"count must be 1 to {_MOST}.", param="count")
        now = self._clock()
        try:
            expires = None if wanted.expires is None else now + lifetime.parse(wanted.expires)
        except ValueError as error:
            raise InvalidRequest(f"expires {error}.", param="expires") from error
        made = {codes.compose(self._randomness(codes.RANDOM_BYTES)): self._make_id() for _ in range(wanted.count)}
        records = tuple(Code(id_, codes.digest(code), nano, now, expires) for code, id_ in made.items())
        told = f"{records[0].id} and {len(records) - 1} more" if records[1:] else records[0].id
        with acting("code.create", told, usd=money.show(nano), expires=wanted.expires):
            await self._store.add_codes(records)
        return tuple(CreatedCode(id_, code, money.show(nano), expires) for code, id_ in made.items())

    async def redeem(self, wanted: Redemption) -> Redeemed:
        """Turn a code into credit of an account, once."""
        account = await self._holders.find(wanted.account)
        with acting("code.redeem", account.id, account.id):
            used = await self._store.redeem_code(codes.digest(wanted.code), account.id, self._clock())
        if used is None:
            raise InvalidRequest("This code is not good: unknown, used, revoked or expired.", param="code")
        return Redeemed(used.id, account.email, money.show(used.nano))

    async def list(self) -> tuple[CodeShown, ...]:
        """Return all, oldest first; never the codes themselves."""
        found = await self._store.list_codes()
        emails = await self._holders.emails({code.redeemed_by for code in found if code.redeemed_by is not None})
        return tuple(self._show(code, emails) for code in found)

    async def revoke(self, code_id: str) -> CodeShown:
        """End a code that nobody has redeemed."""
        with acting("code.revoke", code_id.strip()):
            code = await self._store.revoke_code(code_id.strip(), self._clock())
        if code is None:
            raise InvalidRequest("There is no code of this id; `techstone code list` shows them.", param="id")
        if code.redeemed_at is not None:
            raise InvalidRequest(f"The code {code.id} is redeemed already.", param="id")
        return self._show(code, {})

    def _make_id(self) -> str:
        return "code_" + self._randomness(10).hex()

    def _show(self, code: Code, emails: dict[str, str]) -> CodeShown:
        return CodeShown(
            id=code.id,
            usd=money.show(code.nano),
            state=_judge(code, self._clock()),
            created_at=code.created_at,
            expires_at=code.expires_at,
            redeemed_at=code.redeemed_at,
            redeemed_by=None if code.redeemed_by is None else emails.get(code.redeemed_by, code.redeemed_by),
            revoked_at=code.revoked_at,
        )


def _judge(code: Code, now: int) -> CodeState:
    if code.redeemed_at is not None:
        return "redeemed"
    if code.revoked_at is not None:
        return "revoked"
    if code.expires_at is not None and code.expires_at <= now:
        return "expired"
    return "unused"
