"""Second factors, and who people are elsewhere, in memory; implements `CredentialStore`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.adapters.storage.memory_identity import MemoryIdentity
    from techstone.control.accounts.records import Account
    from techstone.control.identity.records import Factor, Foreign, Membership, Person


class MemoryCredentials:
    """Beside the people."""

    def __init__(self, people: MemoryIdentity, note: Callable[[], None]) -> None:
        self._people = people
        self._note = note
        self._codes: dict[bytes, str] = {}

    async def find_factor(self, person: str) -> Factor | None:
        """Return the person's."""
        return self._people.factors.get(person)

    async def add_factor(self, factor: Factor, codes: tuple[bytes, ...], keep: bytes) -> bool:
        """Store it with digests of recovery codes, and end every session of the person but one, together."""
        if factor.person in self._people.factors:
            return False
        self._note()
        self._people.factors[factor.person] = factor
        self._codes |= dict.fromkeys(codes, factor.person)
        self._people.end_all(factor.person, keep)
        return True

    async def take_step(self, person: str, step: int) -> bool:
        """Take a step of time; False where it, or a later one, was taken: of two at once only one gets it."""
        factor = self._people.factors.get(person)
        if factor is None or factor.used >= step:
            return False
        self._people.factors[person] = replace(factor, used=step)
        return True

    async def replace_codes(self, person: str, codes: tuple[bytes, ...]) -> None:
        """Store other recovery codes in place of the old ones."""
        self._note()
        self._drop_codes(person)
        self._codes |= dict.fromkeys(codes, person)

    async def use_code(self, person: str, digest: bytes) -> bool:
        """Use a recovery code up; say whether it was still there."""
        if self._codes.get(digest) != person:
            return False
        self._note()
        del self._codes[digest]
        return True

    async def count_codes(self, person: str) -> int:
        """Return how many are left."""
        return sum(owner == person for owner in self._codes.values())

    async def remove_factor(self, person: str, keep: bytes | None = None) -> bool:
        """Delete it and its codes, and end every session of the person but one; say whether there was one."""
        if person not in self._people.factors:
            return False
        self._note()
        del self._people.factors[person]
        self._drop_codes(person)
        self._people.end_all(person, keep)
        return True

    async def require(self, account: str, *, required: bool) -> None:
        """Have an account ask its members for two-factor, or no longer."""
        if (account in self._people.asking) == required:
            return
        self._note()
        self._people.asking ^= {account}

    async def find_foreign(self, issuer: str, subject: str) -> Foreign | None:
        """Return who that is here."""
        return self._people.foreign.get((issuer, subject))

    async def list_foreign(self, person: str) -> tuple[Foreign, ...]:
        """Return who the person is elsewhere, oldest first."""
        held = [foreign for foreign in self._people.foreign.values() if foreign.person == person]
        return tuple(sorted(held, key=lambda one: (one.created_at, one.issuer)))

    async def add_foreign(self, foreign: Foreign) -> bool:
        """Store it; False where the subject is somebody's, or the person is another subject at this issuer."""
        taken = any(
            (one.person, one.issuer) == (foreign.person, foreign.issuer) for one in self._people.foreign.values()
        )
        if taken or (foreign.issuer, foreign.subject) in self._people.foreign:
            return False
        self._note()
        self._people.foreign[foreign.issuer, foreign.subject] = foreign
        return True

    async def remove_foreign(self, person: str, issuer: str) -> None:
        """Forget who the person is at an issuer."""
        for place, foreign in list(self._people.foreign.items()):
            if (foreign.person, foreign.issuer) == (person, issuer):
                self._note()
                del self._people.foreign[place]

    async def admit_foreign(
        self, foreign: Foreign, person: Person, account: Account | None, membership: Membership
    ) -> bool:
        """Store a new person with who they are elsewhere, a membership, and a new account where given."""
        if (foreign.issuer, foreign.subject) in self._people.foreign:
            return False
        if not await self._people.admit_new(person, account, membership):
            return False
        self._people.foreign[foreign.issuer, foreign.subject] = foreign
        return True

    def _drop_codes(self, person: str) -> None:
        self._codes = {digest: owner for digest, owner in self._codes.items() if owner != person}
