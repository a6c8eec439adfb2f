"""What the identity room needs of the world: stores, a hasher, a vault, providers of log-ins, a mailer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from techstone.control.accounts.records import Account
    from techstone.control.identity.records import (
        Factor,
        Foreign,
        Identified,
        Link,
        Member,
        Membership,
        Person,
        Seat,
        Session,
    )
    from techstone.core.roles import Role, Verdict


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


class Vault(Protocol):
    """Seals values under the installation's key."""

    def seal(self, value: bytes, context: str) -> bytes:
        """Return the value sealed for a context."""

    def open(self, sealed: bytes, context: str) -> bytes:
        """Return what was sealed for this context; raise Unsealable for anything else."""


class Journey(msgspec.Struct, frozen=True):
    """What binds the way to a provider and back to one browser: three random values (RFC 6749, OIDC Core, RFC 7636)."""

    state: str
    nonce: str
    verifier: str


class ProviderError(Exception):
    """A provider of log-ins did not answer, or its answer does not hold: one line for the operator."""


class Terms(msgspec.Struct, frozen=True):
    """What the operator agreed with a provider. `slug` stands in addresses, `name` on buttons.

    `domains`: only who has an address there comes in, and whose it is, the provider is believed; empty: whoever the
    provider knows comes in, and about addresses it is believed nothing. `creates`: who is new gets an account.
    """

    name: str
    slug: str
    issuer: str
    domains: tuple[str, ...] = ()
    creates: bool = False


class Provider(Protocol):
    """A provider of log-ins (OpenID Connect)."""

    terms: Terms

    async def locate(self, journey: Journey, back: str) -> str:
        """Return the URL where somebody logs in; raise ProviderError."""

    async def identify(self, journey: Journey, code: str, back: str) -> Identified:
        """Return who came back with a code; raise ProviderError for whatever does not hold."""


class CredentialStore(Protocol):
    """Second factors and recovery codes, who people are elsewhere, and which accounts ask for two-factor."""

    async def find_factor(self, person: str) -> Factor | None:
        """Return the person's."""

    async def add_factor(self, factor: Factor, codes: tuple[bytes, ...], keep: bytes) -> bool:
        """Store it with digests of recovery codes, and end every session of the person but one, together.

        False where there is one already.
        """

    async def take_step(self, person: str, step: int) -> bool:
        """Take a step of time; False where it, or a later one, was taken: of two at once only one gets it."""

    async def replace_codes(self, person: str, codes: tuple[bytes, ...]) -> None:
        """Store other recovery codes in place of the old ones."""

    async def use_code(self, person: str, digest: bytes) -> bool:
        """Use a recovery code up; say whether it was still there."""

    async def count_codes(self, person: str) -> int:
        """Return how many are left."""

    async def remove_factor(self, person: str, keep: bytes | None = None) -> bool:
        """Delete it and its codes, and end every session of the person but one; say whether there was one."""

    async def require(self, account: str, *, required: bool) -> None:
        """Have an account ask its members for two-factor, or no longer."""

    async def find_foreign(self, issuer: str, subject: str) -> Foreign | None:
        """Return who that is here."""

    async def list_foreign(self, person: str) -> tuple[Foreign, ...]:
        """Return who the person is elsewhere, oldest first."""

    async def add_foreign(self, foreign: Foreign) -> bool:
        """Store it; False where the subject is somebody's, or the person is another subject at this issuer."""

    async def remove_foreign(self, person: str, issuer: str) -> None:
        """Forget who the person is at an issuer."""

    async def admit_foreign(
        self, foreign: Foreign, person: Person, account: Account | None, membership: Membership
    ) -> bool:
        """Store a new person with who they are elsewhere, a membership, and a new account where given.

        All or nothing; False where the subject, or the address of the person or account, was taken in between.
        """


class IdentityStore(Protocol):
    """People, memberships, sessions and one-time links."""

    async def find_person(self, person: str) -> Person | None:
        """Return the person of that id."""

    async def find_by_email(self, email: str) -> Person | None:
        """Return the person of that address."""

    async def count_people(self) -> int:
        """Return how many there are."""

    async def set_password(self, person: str, password: str, *, keep: bytes | None = None, alone: bool = False) -> None:
        """Store a new hash and end every session of the person but one (by digest), together.

        `alone`: forget also who they are elsewhere, so that it is the only way in.
        """

    async def rehash(self, person: str, password: str) -> None:
        """Store another hash of the same password."""

    async def add_link(self, link: Link) -> None:
        """Store it; an older one of its kind for the same address and account is good no more."""

    async def find_link(self, digest: bytes, now: int) -> Link | None:
        """Return the link of that digest if it is good."""

    async def admit(self, link: Link, person: Person, account: Account | None, membership: Membership) -> bool:
        """Use a link up for a person, new or known by id: with a membership, and a new account where given.

        All or nothing; False where the link, or the address of a new person or account, was taken in between, where the
        person belongs there already, and where who invited them may not any more.
        """

    async def list_invitations(self, account: str, now: int) -> tuple[Link, ...]:
        """Return the invitations to an account that are good, oldest first."""

    async def withdraw(self, account: str, digest: bytes) -> bool:
        """End an invitation to an account; say whether it was still there."""

    async def use_link(self, digest: bytes) -> bool:
        """Use a link up; say whether it was still there."""

    async def list_seats(self, person: str) -> tuple[Seat, ...]:
        """Return the accounts that the person belongs to, oldest first."""

    async def list_members(self, account: str) -> tuple[Member, ...]:
        """Return who belongs to an account, oldest first."""

    async def change_member(self, account: str, person: str, role: Role | None, by: str | None) -> Verdict:
        """Give a member another role, or end the membership, where that may be done; say what came of it.

        `by` is who does it, by id (None: an admin key): what they may is asked in the same transaction. Invitations end
        that the member sent and may not send any more; with the right to send any, also those of admin keys, of which
        nobody knows who held them; and what was sent to who is removed.
        """

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

    async def end_other_sessions(self, person: str, keep: bytes) -> None:
        """End all of the person's sessions but one."""

    async def forget(self, sessions_before: int, links_before: int) -> None:
        """Delete sessions last used, and links that ended, before these times."""
