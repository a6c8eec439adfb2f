"""People, their sessions and memberships as they are stored. Times are unix seconds.

Secrets are stored as digests alone: a session's token, a one-time link's. A password is an Argon2 hash.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from techstone.core.roles import Role, may_make

LinkKind = Literal["claim", "verify", "reset", "invite"]


class Person(msgspec.Struct, frozen=True):
    """Someone who can log in. `email` is lower-case and unique; an operator runs the cloud.

    `password` is empty for who came by a provider and has never chosen one.
    """

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


class Inviter(msgspec.Struct, frozen=True):
    """Who changes the members of an account: as what, and under which name a letter tells of them.

    `person` is their id; None: an admin key, which acts as an admin and belongs to nobody.
    """

    account: str
    role: Role
    name: str
    person: str | None = None


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
    """A link that is good once: to claim the first account, to confirm an address, for a new password, to join.

    `inviter` is whose invitation it is, by id: it ends when they may not invite any more.
    """

    digest: bytes
    kind: LinkKind
    email: str
    created_at: int
    expires_at: int
    account: str | None = None
    role: Role | None = None
    inviter: str | None = None


class Fall(msgspec.Struct, frozen=True):
    """What a member was and is from now on (None: belongs no more): which invitations end with that."""

    before: Role
    after: Role | None

    def ends(self, link: Link, person: str, email: str) -> bool:
        """Say whether this invitation ends, where the member is this person.

        Theirs, as far as they may send it no more; once they may send none, those of admin keys, which anybody of
        those who may invite can have made; once they belong no more, those to them.
        """
        if link.inviter == person:
            return link.role is None or not may_make(self.after, link.role)
        if link.inviter is None and may_make(self.before, "viewer") and not may_make(self.after, "viewer"):
            return True
        return self.after is None and link.email == email


class Factor(msgspec.Struct, frozen=True):
    """Someone's second factor (TOTP). `secret` is sealed; `used` is the newest 30 s step of which a code was taken."""

    person: str
    secret: bytes
    created_at: int
    used: int = 0


class Foreign(msgspec.Struct, frozen=True):
    """Who somebody is at a provider of log-ins: an issuer's subject, which is never given to anybody else."""

    issuer: str
    subject: str
    person: str
    created_at: int
    email: str


class Identified(msgspec.Struct, frozen=True):
    """Who came back from a provider, by an id token that was checked."""

    issuer: str
    subject: str
    email: str
    verified: bool


class Member(msgspec.Struct, frozen=True):
    """A membership as people see it. `two_factor`: a second step is set up."""

    person: str
    email: str
    role: Role
    created_at: int
    two_factor: bool = False


class Seat(msgspec.Struct, frozen=True):
    """An account that a person belongs to, as people see it. `two_factor`: it asks all members for a second step."""

    account: str
    email: str
    role: Role
    two_factor: bool = False


class Visitor(msgspec.Struct, frozen=True):
    """Who is logged in, where they belong, and the seat that is looked from (None: they belong nowhere).

    `held`: an account of theirs asks for two-factor, and they have none. They sit nowhere until it is set up.
    """

    person: Person
    session: Session
    seats: tuple[Seat, ...]
    seat: Seat | None
    held: bool = False


class Claim(msgspec.Struct, frozen=True):
    """A claim, the only time that it is seen: `path` is the link's, below the base URL."""

    account: str  # email
    path: str
    expires_at: int

    def __repr__(self) -> str:
        """Leave the link out."""
        return f"Claim(account={self.account!r})"

    __str__ = __repr__


class PersonShown(msgspec.Struct, frozen=True):
    """Someone who can log in, as operators see them."""

    id: str
    email: str
    operator: bool
    two_factor: bool


class Step(msgspec.Struct, frozen=True):
    """The first half of a log-in: no session, and good for nothing but a code. Its token is in no other place."""

    token: str

    def __repr__(self) -> str:
        """Leave the token out."""
        return "Step()"

    __str__ = __repr__


class Opened(msgspec.Struct, frozen=True):
    """A session that was just opened: its token is in no other place."""

    token: str
    person: Person

    def __repr__(self) -> str:
        """Leave the token out."""
        return f"Opened(person={self.person!r})"

    __str__ = __repr__
