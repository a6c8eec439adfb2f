"""What a gateway decides by itself while Redis is away: its part of every plan, in books of its own.

It remembers what it gave in the last minute, so that Redis counts it once it is back. What counts against credit or a
cap is refused: what the others have left of it is not known.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from techstone.adapters.limits.memory import MemoryLimits
from techstone.core import share
from techstone.core.credit import period_of
from techstone.core.limits import Claim, Grant, Refusal
from techstone.core.view import Principal
from techstone.core.window import SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from techstone.core.credit import Period
    from techstone.core.limits import Standing

# What a part is too small for may fit the whole plan: Redis is tried much sooner than this.
_WAIT = 5.0


class Given(msgspec.Struct):
    """What one key was given: when, and how many tokens of each request."""

    principal: Principal
    times: deque[tuple[float, int]]


class Alone:
    """The books. `clock` is monotonic; `gateways` is how many share a plan."""

    def __init__(self, clock: Callable[[], float], wall_clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self.books = MemoryLimits(clock, wall_clock)
        self.gateways = 1
        self._parts: dict[str, tuple[Principal, int, Principal]] = {}
        self._given: dict[str, Given] = {}

    def part(self, principal: Principal) -> Principal:
        """Return who asks, with this gateway's part of the limits."""
        kept = self._parts.get(principal.key.id)
        if kept is not None and kept[0] is principal and kept[1] == self.gateways:
            return kept[2]
        part = share.divide(principal, self.gateways)
        self._parts[principal.key.id] = (principal, self.gateways, part)
        return part

    async def admit(self, claim: Claim) -> Grant | Refusal:
        """Decide; raise LedgerUnavailable where credit or a cap counts."""
        principal = claim.principal
        found = await self.books.admit(Claim(claim.request, self.part(principal), claim.tokens, claim.nano))
        if isinstance(found, Grant):
            given = self._given.get(principal.key.id)
            if given is None:
                given = self._given[principal.key.id] = Given(principal, deque())
            given.principal = principal
            given.times.append((self._clock(), claim.tokens))
            return found
        return self._soften(found, principal)

    async def consider(self, claim: Claim) -> Refusal | None:
        """Say how `admit` would decide."""
        found = await self.books.consider(Claim(claim.request, self.part(claim.principal), claim.tokens, claim.nano))
        return None if found is None else self._soften(found, claim.principal)

    def _soften(self, refusal: Refusal, principal: Principal) -> Refusal:
        """Never say "never" of what the whole plan has room for."""
        whole = principal.limits.tpm if refusal.scope == "account" else principal.key.tpm
        if refusal.axis == "tokens" and refusal.wait is None and whole is not None and refusal.needed <= whole:
            return msgspec.structs.replace(refusal, wait=_WAIT)
        return refusal

    def standing(self, principal: Principal) -> Standing:
        """Return where account and key stand, of this gateway's part."""
        return self.books.standing(self.part(principal))

    def flood(self, principal: Principal) -> float:
        """Return what the flood guard says: each gateway has its part of it, at all times."""
        account = self.books.open_account(principal)
        return account.flood.wait(self._clock(), max(1, principal.limits.rpm // self.gateways))

    def period(self) -> Period:
        """Return the UTC period that it is, by the gateway's clock."""
        return period_of(self._wall_clock())

    def hand_over(self) -> Iterator[Given]:
        """Yield who was given what in the last minute, and forget it, each as it is asked for."""
        while self._given:
            given = self.hand_over_key(next(iter(self._given)))
            if given is not None:
                yield given

    def hand_over_key(self, key: str) -> Given | None:
        """Return what a key was given in the last minute, and forget it; None: nothing."""
        given = self._given.pop(key, None)
        if given is not None:
            _drop(given, self._clock() - SECONDS)
        return given if given is not None and given.times else None

    def take_back(self, given: Given) -> None:
        """Remember what was handed over to a Redis that did not say that it has it: for no longer than without that."""
        later = self._given.get(given.principal.key.id)
        if later is not None:
            given.times.extend(later.times)
        self._given[given.principal.key.id] = given

    def sweep(self) -> None:
        """Forget what is over."""
        since = self._clock() - SECONDS
        for key, given in list(self._given.items()):
            _drop(given, since)
            if not given.times:
                del self._given[key]
        self.books.sweep()


def _drop(given: Given, since: float) -> None:
    while given.times and given.times[0][0] <= since:
        given.times.popleft()
