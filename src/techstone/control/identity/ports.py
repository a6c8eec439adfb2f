"""What the identity room needs of the world: a store, a hasher of passwords, and someone who carries letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from techstone.control.accounts.records import Account
    from techstone.control.identity.records import Link, Member, Membership, Person, Seat, Session


class Letter(msgspec.Struct, frozen=True):
    """An e-mail in plain text."""

    to: str
    subject: str
    text: str


class MailError(Exception):
    """A letter could not be handed over: one line for the operator."""


class Mailer(Protocol):
    """Carries letters."""

    async def send(self, letter: Letter) -> None:
        """Hand it over; raise MailError."""


class Hasher(Protocol):
    """Hashes passwords, away from the loop."""

    async def hash(self, password: str) -> str:
        """Return a salted hash; raise ServiceUnavailable where too many wait."""

    async def verify(self, password: str, known: str | None) -> bool:
        """Say whether it is the password of the hash; None takes as long and is never it."""

    def is_outdated(self, known: str) -> bool:
        """Say whether the hash was made with other parameters than today's."""


class IdentityStore(Protocol):
    """People, memberships, sessions and one-time links."""

    async def find_person(self, who: str) -> Person | None:
        """Return the person of that id or email."""

    async def count_people(self) -> int:
        """Return how many there are."""

    async def set_password(self, person: str, password: str, *, keep: bytes | None = None) -> None:
        """Store a new hash and end every session of the person but one (by digest), together."""

    async def rehash(self, person: str, password: str) -> None:
        """Store another hash of the same password."""

    async def add_link(self, link: Link) -> None:
        """Store it; an older one of its kind for the same address and account is good no more."""

    async def find_link(self, digest: bytes, now: int) -> Link | None:
        """Return the link of that digest if it is good."""

    async def admit(self, link: Link, person: Person, account: Account | None, membership: Membership) -> bool:
        """Use a link up for a person, new or known by id: with a membership, and a new account where given.

        All or nothing; False where the link, or the address of a new person or account, was taken in between.
        """

    async def use_link(self, digest: bytes) -> bool:
        """Use a link up; say whether it was still there."""

    async def list_seats(self, person: str) -> tuple[Seat, ...]:
        """Return the accounts that the person belongs to, oldest first."""

    async def list_members(self, account: str) -> tuple[Member, ...]:
        """Return who belongs to an account, oldest first."""

    async def set_role(self, membership: Membership) -> None:
        """Add a membership, or give an existing one another role."""

    async def remove_member(self, account: str, person: str) -> None:
        """End a membership."""

    async def add_session(self, session: Session) -> None:
        """Store it."""

    async def find_session(self, digest: bytes) -> tuple[Session, Person] | None:
        """Return the session of that digest and whose it is."""

    async def touch_session(self, digest: bytes, seen_at: int, account: str | None) -> None:
        """Note that it was used, and what it looks at."""

    async def list_sessions(self, person: str) -> tuple[Session, ...]:
        """Return the person's, the one used last first."""

    async def end_session(self, digest: bytes, person: str) -> None:
        """End one of the person's sessions."""

    async def forget(self, sessions_before: int, links_before: int) -> None:
        """Delete sessions last used, and links that ended, before these times."""
