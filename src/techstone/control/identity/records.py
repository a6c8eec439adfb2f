"""People, their sessions and memberships as they are stored. Times are unix seconds.

Secrets are stored as digests alone: a session's token, a one-time link's. A password is an Argon2 hash.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from techstone.core.roles import Role

LinkKind = Literal["claim", "verify", "reset", "invite"]


class Person(msgspec.Struct, frozen=True):
    """Someone who can log in. `email` is lower-case and unique; an operator runs the cloud."""

    id: str
    email: str
    password: str
    created_at: int
    operator: bool = False

    def __repr__(self) -> str:
        """Leave the hash out: a traceback or a log line must not show it."""
        return f"Person(id={self.id!r}, email={self.email!r})"

    __str__ = __repr__


class Membership(msgspec.Struct, frozen=True):
    """Who belongs to an account, and as what."""

    account: str
    person: str
    role: Role
    created_at: int


class Session(msgspec.Struct, frozen=True):
    """A log-in. `account` is the one that is looked at; `agent` and `address` are where it came from."""

    digest: bytes
    person: str
    account: str | None
    created_at: int
    seen_at: int
    agent: str = ""
    address: str = ""


class Link(msgspec.Struct, frozen=True):
    """A link that is good once: to claim the first account, to confirm an address, for a new password, to join."""

    digest: bytes
    kind: LinkKind
    email: str
    created_at: int
    expires_at: int
    account: str | None = None
    role: Role | None = None


class Member(msgspec.Struct, frozen=True):
    """A membership as people see it."""

    person: str
    email: str
    role: Role
    created_at: int


class Seat(msgspec.Struct, frozen=True):
    """An account that a person belongs to, as people see it."""

    account: str
    email: str
    role: Role


class Visitor(msgspec.Struct, frozen=True):
    """Who is logged in, where they belong, and the seat that is looked from (None: they belong nowhere)."""

    person: Person
    session: Session
    seats: tuple[Seat, ...]
    seat: Seat | None


class Claim(msgspec.Struct, frozen=True):
    """A claim, the only time that it is seen: `path` is the link's, below the base URL."""

    account: str  # email
    path: str
    expires_at: int

    def __repr__(self) -> str:
        """Leave the link out."""
        return f"Claim(account={self.account!r})"

    __str__ = __repr__


class Opened(msgspec.Struct, frozen=True):
    """A session that was just opened: its token is in no other place."""

    token: str
    person: Person

    def __repr__(self) -> str:
        """Leave the token out."""
        return f"Opened(person={self.person!r})"

    __str__ = __repr__
