"""Who belongs to an account: invited, given another role, removed. Console and management API act by it alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.control.acts import acting
from techstone.control.identity.throttle import Allowance
from techstone.core.errors import Forbidden, InvalidRequest, MemberNotFound

if TYPE_CHECKING:
    from techstone.control.identity.links import Links
    from techstone.control.identity.ports import IdentityStore
    from techstone.control.identity.records import Inviter, Link, Member
    from techstone.control.ports import Clock
    from techstone.core.roles import Role, Verdict

# Letters of an account to strangers in any hour: our mail server's good name is everybody's.
_MOST_INVITATIONS = 50


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
        if any(member.email == address for member in await self._store.list_members(by.account)):
            raise InvalidRequest(f"{address} belongs to this account already. Change the role instead.", param="email")
        if not self._invitations.take(self._clock(), by.account):
            raise InvalidRequest(
                f"An account sends {_MOST_INVITATIONS} invitations an hour at most: send the rest later.", param="email"
            )
        await self._links.invite(by, address, role)
        return address

    async def list_invitations(self, account: str) -> tuple[Link, ...]:
        """Return the invitations to the account that are good, oldest first."""
        return await self._store.list_invitations(account, self._clock())

    async def withdraw(self, by: Inviter, name: str) -> None:
        """End an invitation by its name (the hexadecimal of its digest); raise InvalidRequest."""
        found = next((one for one in await self.list_invitations(by.account) if one.digest.hex() == name), None)
        if found is not None:
            with acting("link.withdraw", found.email, by.account, kind=found.kind, role=found.role):
                if await self._store.withdraw(by.account, found.digest):
                    return
        raise InvalidRequest("This invitation was accepted, was withdrawn, or has ended.")

    async def set_role(self, by: Inviter, person: str, role: Role) -> Member:
        """Give a member another role; raise MemberNotFound or InvalidRequest."""
        _check_role(by, role)
        found = await self._find(by.account, person)
        with acting("person.set_role", person, by.account, role=role):
            _check(await self._store.change_member(by.account, person, role, by.person))
        return msgspec.structs.replace(found, role=role)

    async def remove(self, by: Inviter, person: str) -> Member:
        """End a membership; raise MemberNotFound or InvalidRequest."""
        found = await self._find(by.account, person)
        with acting("person.remove", person, by.account):
            _check(await self._store.change_member(by.account, person, None, by.person))
        return found

    async def _find(self, account: str, person: str) -> Member:
        members = await self._store.list_members(account)
        found = next((member for member in members if member.person == person), None)
        if found is None:
            raise MemberNotFound
        return found


def _check(verdict: Verdict) -> None:
    """Raise what the store said against a change; it has looked at who acts and who is changed at once."""
    if verdict == "no member":
        raise MemberNotFound
    if verdict == "not allowed":
        raise Forbidden("Your role in this account does not allow this any more. Ask an owner or admin.")
    if verdict == "an owner's":
        raise InvalidRequest("Only an owner may change an owner.")
    if verdict == "last owner":
        raise InvalidRequest("An account needs an owner: make someone else one first.")


def _check_role(by: Inviter, role: Role) -> None:
    if role == "owner" and by.role != "owner":
        raise InvalidRequest("Only an owner may make an owner.", param="role")
