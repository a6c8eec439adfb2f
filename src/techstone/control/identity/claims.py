"""The claim of the cloud: a one-time link by which its operator becomes the owner of an account and an operator.

The first start makes one; a lost one is made anew on the command line, by whoever has the data folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.control.acts import acting
from techstone.control.identity.records import Claim, Link
from techstone.control.identity.tokens import TOKEN_BYTES, compose, digest

if TYPE_CHECKING:
    from techstone.control.identity.ports import IdentityStore
    from techstone.control.ports import Clock, Holders, Randomness

_LASTS = 7 * 86_400
PATH = "/console/link/"


class Claims:
    """Make claims."""

    def __init__(self, store: IdentityStore, holders: Holders, clock: Clock, randomness: Randomness) -> None:
        self._store = store
        self._holders = holders
        self._clock = clock
        self._randomness = randomness

    async def make(self, account: str) -> Claim:
        """Return a claim of an account (email or id); an older one is good no more."""
        found = await self._holders.find(account)
        token = compose(self._randomness(TOKEN_BYTES))
        now = self._clock()
        with acting("link.make", found.email, found.id, kind="claim"):
            await self._store.add_link(Link(digest(token), "claim", found.email, now, now + _LASTS, found.id, "owner"))
        return Claim(found.email, PATH + token, now + _LASTS)
