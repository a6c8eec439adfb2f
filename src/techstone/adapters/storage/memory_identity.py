"""People, sessions and one-time links in memory; implements `IdentityStore`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from techstone.control.identity.records import Fall, Member, Seat
from techstone.core.roles import KEY_ROLE, judge, may_make

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.control.accounts.records import Account
    from techstone.control.identity.records import Factor, Foreign, Link, Membership, Person, Session
    from techstone.core.roles import Role, Verdict


class MemoryIdentity:
    """Beside the accounts."""

    def __init__(self, accounts: dict[str, Account], put: Callable[[Account], None], note: Callable[[], None]) -> None:
        self._accounts = accounts
        self._put = put
        self._note = note
        self._people: dict[str, Person] = {}
        self._memberships: dict[tuple[str, str], Membership] = {}
        self._sessions: dict[bytes, Session] = {}
        self._links: dict[bytes, Link] = {}
        # The other room's (`MemoryCredentials`), of which members and seats tell, and which a password ends.
        self.factors: dict[str, Factor] = {}
        self.asking: set[str] = set()
        self.foreign: dict[tuple[str, str], Foreign] = {}

    async def find_person(self, person: str) -> Person | None:
        """Return the person of that id."""
        return self._people.get(person)

    async def find_by_email(self, email: str) -> Person | None:
        """Return the person of that address."""
        return next((person for person in self._people.values() if person.email == email), None)

    async def count_people(self) -> int:
        """Return how many there are."""
        return len(self._people)

    async def set_password(self, person: str, password: str, *, keep: bytes | None = None, alone: bool = False) -> None:
        """Store a new hash and end every session of the person but one (by digest), together."""
        self._note()
        await self.rehash(person, password)
        self.end_all(person, keep)
        if alone:
            self.foreign = {place: one for place, one in self.foreign.items() if one.person != person}

    async def rehash(self, person: str, password: str) -> None:
        """Store another hash of the same password."""
        self._people[person] = replace(self._people[person], password=password)

    async def add_link(self, link: Link) -> None:
        """Store it; an older one of its kind for the same address and account is good no more."""
        self._note()
        for digest, other in list(self._links.items()):
            if (other.email, other.kind, other.account) == (link.email, link.kind, link.account):
                del self._links[digest]
        self._links[link.digest] = link

    async def find_link(self, digest: bytes, now: int) -> Link | None:
        """Return the link of that digest if it is good."""
        found = self._links.get(digest)
        return found if found is not None and found.expires_at > now else None

    async def admit(self, link: Link, person: Person, account: Account | None, membership: Membership) -> bool:
        """Use a link up for a person, new or known by id: with a membership, and a new account where given.

        All or nothing; False where the link, or the address of a new person or account, was taken in between, where the
        person belongs there already, and where who invited them may not any more.
        """
        if link.digest not in self._links or not self._stands(link):
            return False
        if not await self.admit_new(person, account, membership):
            return False
        del self._links[link.digest]
        return True

    async def admit_new(self, person: Person, account: Account | None, membership: Membership) -> bool:
        """Store person, account and membership, all or nothing; False where an address is taken."""
        taken = any(other.email == person.email for other in self._people.values())
        place = (membership.account, membership.person)
        if (person.id not in self._people and taken) or place in self._memberships:
            return False
        if account is not None:
            if any(other.email == account.email for other in self._accounts.values()):
                return False
            self._put(account)
        self._people.setdefault(person.id, person)
        self._note()
        self._memberships[place] = membership
        return True

    async def list_invitations(self, account: str, now: int) -> tuple[Link, ...]:
        """Return the invitations to an account that are good, oldest first."""
        found = [link for link in self._links.values() if _invites(link, account) and link.expires_at > now]
        return tuple(sorted(found, key=lambda link: (link.created_at, link.email)))

    async def withdraw(self, account: str, digest: bytes) -> bool:
        """End an invitation to an account; say whether it was still there."""
        link = self._links.get(digest)
        return link is not None and _invites(link, account) and await self.use_link(digest)

    async def use_link(self, digest: bytes) -> bool:
        """Use a link up; say whether it was still there."""
        if digest not in self._links:
            return False
        self._note()
        del self._links[digest]
        return True

    async def list_seats(self, person: str) -> tuple[Seat, ...]:
        """Return the accounts that the person belongs to, oldest first."""
        held = sorted((one for one in self._memberships.values() if one.person == person), key=_order)
        return tuple(
            Seat(one.account, self._accounts[one.account].email, one.role, one.account in self.asking) for one in held
        )

    async def list_members(self, account: str) -> tuple[Member, ...]:
        """Return who belongs to an account, oldest first."""
        held = sorted((one for one in self._memberships.values() if one.account == account), key=_order)
        return tuple(
            Member(one.person, self._people[one.person].email, one.role, one.created_at, one.person in self.factors)
            for one in held
        )

    async def change_member(self, account: str, person: str, role: Role | None, by: str | None) -> Verdict:
        """Give a member another role, or end the membership, where that may be done; say what came of it."""
        roles = {one.person: one.role for one in self._memberships.values() if one.account == account}
        found, acting = roles.get(person), roles.get(by) if by else KEY_ROLE
        verdict = judge(acting, found, role, sum(one == "owner" for one in roles.values()))
        if found is None or verdict != "changed":
            return verdict
        self._note()
        held = self._memberships.pop((account, person))
        if role is not None:
            self._memberships[account, person] = replace(held, role=role)
        fall, email = Fall(found, role), self._people[person].email
        ended = [one for one in self._links.values() if _invites(one, account) and fall.ends(one, person, email)]
        for link in ended:
            del self._links[link.digest]
        return verdict

    def _stands(self, link: Link) -> bool:
        """Say whether who invited may still invite; who runs the cloud always may."""
        if link.inviter is None or link.role is None or link.account is None:
            return True
        inviter, seat = self._people.get(link.inviter), self._memberships.get((link.account, link.inviter))
        return (inviter is not None and inviter.operator) or may_make(seat.role if seat else None, link.role)

    async def add_session(self, session: Session) -> None:
        """Store it."""
        self._note()
        self._sessions[session.digest] = session

    async def find_session(self, digest: bytes) -> tuple[Session, Person] | None:
        """Return the session of that digest and whose it is."""
        found = self._sessions.get(digest)
        return None if found is None else (found, self._people[found.person])

    async def touch_session(self, digest: bytes, seen_at: int, account: str | None) -> None:
        """Note that it was used, and what it looks at."""
        if digest in self._sessions:
            self._sessions[digest] = replace(self._sessions[digest], seen_at=seen_at, account=account)

    async def list_sessions(self, person: str) -> tuple[Session, ...]:
        """Return the person's, the one used last first."""
        held = [session for session in self._sessions.values() if session.person == person]
        return tuple(sorted(held, key=lambda session: -session.seen_at))

    async def end_session(self, digest: bytes, person: str) -> None:
        """End one of the person's sessions."""
        if digest in self._sessions and self._sessions[digest].person == person:
            self._note()
            del self._sessions[digest]

    async def end_other_sessions(self, person: str, keep: bytes) -> None:
        """End all of the person's sessions but one."""
        if any(one.person == person and one.digest != keep for one in self._sessions.values()):
            self._note()
            self.end_all(person, keep)

    def end_all(self, person: str, keep: bytes | None) -> None:
        """End all of the person's sessions but one, as part of a change."""
        self._sessions = {
            digest: session for digest, session in self._sessions.items() if session.person != person or digest == keep
        }

    async def forget(self, sessions_before: int, links_before: int) -> None:
        """Delete sessions last used, and links that ended, before these times."""
        self._sessions = {d: one for d, one in self._sessions.items() if one.seen_at >= sessions_before}
        self._links = {d: one for d, one in self._links.items() if one.expires_at >= links_before}


def _invites(link: Link, account: str) -> bool:
    return link.kind == "invite" and link.account == account


def _order(membership: Membership) -> tuple[int, str, str]:
    return membership.created_at, membership.account, membership.person
