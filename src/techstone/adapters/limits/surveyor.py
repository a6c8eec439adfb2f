"""What customers are told of accounts and keys: as Redis has counted it, or as this gateway has while Redis is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.adapters.limits import script
from techstone.core import survey
from techstone.core.credit import Spending
from techstone.core.limits import AccountBooks, KeyBooks
from techstone.wire.limits import AccountView

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from techstone.adapters.limits.alone import Alone
    from techstone.adapters.limits.script import Look
    from techstone.core.view import Holder, Principal
    from techstone.wire.limits import KeyView, Limits


class Surveyor:
    """Looks and tells. `look` returns None while Redis is away; `clock` is monotonic."""

    def __init__(
        self, look: Callable[[Principal], Awaitable[Look | None]], alone: Alone, clock: Callable[[], float]
    ) -> None:
        self._look = look
        self._alone = alone
        self._clock = clock

    async def credit(self, principal: Principal) -> int:
        """Return what an account may still spend, nano-dollars; where that is not known, by the snapshot."""
        seen = await self._look(principal)
        if seen is None or not seen.known:
            return max(0, principal.account.granted - principal.account.spent)
        return principal.account.granted - seen.spent - seen.held

    async def survey(self, principal: Principal) -> Limits:
        """Return all that an account and a key have left, and who was refused lately by this gateway."""
        seen = await self._look(principal)
        if seen is None:
            return self._alone.books.survey(self._alone.part(principal))
        now, period = self._clock(), self._alone.period()
        books = script.copy_books(seen, now, period)
        told = survey.describe(principal, books, now, period, known=seen.known)
        told.refused.extend(self._alone.books.recall(principal))
        return told

    async def oversee(self, holder: Holder) -> AccountView:
        """Return all that an account and each of its keys have left."""
        whole = await self.survey(holder.principal)
        keys: list[KeyView] = []
        now, period = self._clock(), self._alone.period()
        for asking in holder.keys:
            seen = await self._look(asking)
            nothing = (AccountBooks(0, Spending(period.month)), KeyBooks(Spending(period.day), Spending(period.month)))
            books = nothing if seen is None else script.copy_books(seen, now, period)
            known = seen is not None and seen.known
            if (shown := survey.describe_key(asking, books, now, period, known=known)) is not None:
                keys.append(shown)
        return AccountView(whole.plan, whole.account, whole.credit, whole.caps, keys)
