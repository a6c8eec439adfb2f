"""Who belongs to an account: invited, given another role, removed. Console and management API act by it alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.control.acts import acting
from techstone.control.identity.records import Membership
from techstone.control.identity.throttle import Allowance
from techstone.core.errors import InvalidRequest, MemberNotFound
from techstone.core.roles import Role

if TYPE_CHECKING:
    from techstone.control.identity.links import Links
    from techstone.control.identity.ports import IdentityStore
    from techstone.control.identity.records import Member
    from techstone.control.ports import Clock

# Letters of an account to strangers in any hour: our mail server's good name is everybody's.
_MOST_INVITATIONS = 50


class Inviter(msgspec.Struct, frozen=True):
    """Who changes the members of an account: as what, and under which name a letter tells of them."""

    account: str
    role: Role
    name: str


class Members:
    """Invite, change and remove members."""

    def __init__(self, store: IdentityStore, links: Links, clock: Clock) -> None:
        self._store = store
        self._links = links
        self._clock = clock
        self._invitations = Allowance(_MOST_INVITATIONS)

    async def list(self, account: str) -> tuple[Member, ...]:
        """Return who belongs to the account, oldest first."""
        return await self._store.list_members(account)

    async def invite(self, by: Inviter, email: str, role: Role) -> str:
        """Ask someone by letter to join; return the address. Raise InvalidRequest by field."""
        _check_role(by, role)
        address = self._links.check_address(email)
        if not self._invitations.take(self._clock(), by.account):
            raise InvalidRequest(
                f"An account sends {_MOST_INVITATIONS} invitations an hour at most: send the rest later.", param="email"
            )
        await self._links.invite(by.account, address, role, by.name)
        return address

    async def set_role(self, by: Inviter, person: str, role: Role) -> Member:
        """Give a member another role; raise MemberNotFound or InvalidRequest."""
        _check_role(by, role)
        found = await self._find_other(by, person)
        with acting("person.set_role", person, by.account, role=role):
            await self._store.set_role(Membership(by.account, person, role, self._clock()))
        return msgspec.structs.replace(found, role=role)

    async def remove(self, by: Inviter, person: str) -> Member:
        """End a membership; raise MemberNotFound or InvalidRequest."""
        found = await self._find_other(by, person)
        with acting("person.remove", person, by.account):
            await self._store.remove_member(by.account, person)
        return found

    async def _find_other(self, by: Inviter, person: str) -> Member:
        members = await self._store.list_members(by.account)
        found = next((member for member in members if member.person == person), None)
        if found is None:
            raise MemberNotFound
        if found.role == "owner" and by.role != "owner":
            raise InvalidRequest("Only an owner may change an owner.")
        if found.role == "owner" and sum(member.role == "owner" for member in members) == 1:
            raise InvalidRequest("An account needs an owner: make someone else one first.")
        return found


def _check_role(by: Inviter, role: Role) -> None:
    if role == "owner" and by.role != "owner":
        raise InvalidRequest("Only an owner may make an owner.", param="role")
