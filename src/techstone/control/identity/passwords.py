"""What a password must be (NIST SP 800-63B, 3.1.1): long enough, and none that attackers try first; nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.core.errors import InvalidRequest

if TYPE_CHECKING:
    from techstone.control.identity.ports import Hasher

SHORTEST = 10
# Hashing takes every byte; this bounds what a request can cost.
LONGEST = 1000
_FEWEST_LETTERS = 4


class Passwords:
    """Check and hash them. `common` are those that are guessed first, in lower case."""

    def __init__(self, hasher: Hasher, common: frozenset[str] = frozenset()) -> None:
        self._hasher = hasher
        self._common = common
        self.is_outdated = hasher.is_outdated

    async def hash(self, password: str, email: str) -> str:
        """Return the hash of a new password; raise InvalidRequest for one that is too easily guessed."""
        if len(password) < SHORTEST:
            raise InvalidRequest(f"Use at least {SHORTEST} characters; a few words make a good one.", param="password")
        if len(password) > LONGEST:
            raise InvalidRequest(f"Use at most {LONGEST} characters.", param="password")
        plain = password.casefold()
        names = {email, email.partition("@")[0]}
        if plain in self._common or plain in names or len(set(plain)) < _FEWEST_LETTERS:
            raise InvalidRequest("This password is among those that are guessed first; use another.", param="password")
        return await self._hasher.hash(password)

    async def verify(self, password: str, known: str | None) -> bool:
        """Say whether it is the password of the hash; None or "" (there is none) takes as long and is never it.

        So does one that is too long: no guess is cheaper than another.
        """
        return await self._hasher.verify(password[:LONGEST], known or None) and len(password) <= LONGEST

    async def renew(self, password: str) -> str:
        """Return another hash of a password that was good when it was chosen."""
        return await self._hasher.hash(password)
