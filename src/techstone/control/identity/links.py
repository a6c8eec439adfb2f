"""One-time links: to sign up, for a new password, to join an account; and claims (`identity.claims`), once made.

All lead to one page, where a password is chosen (or, for who has one, a membership accepted): what shows that an
address is someone's is that the link arrived there. Nobody learns from us whether an address is known: the answer to a
wish for a letter is always the same, and the letter is written after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.control.accounts.records import NewAccount
from techstone.control.acts import Actor, act_as, acting
from techstone.control.identity.records import Link, Membership, Person
from techstone.control.identity.service import check_length
from techstone.control.identity.throttle import Allowance
from techstone.control.identity.tokens import TOKEN_BYTES, compose, digest
from techstone.core.attempts import name_network
from techstone.core.errors import InvalidRequest

if TYPE_CHECKING:
    from techstone.control.accounts.service import Accounts
    from techstone.control.identity.letters import Letters
    from techstone.control.identity.ports import IdentityStore
    from techstone.control.identity.records import Inviter, LinkKind, Opened, Step
    from techstone.control.identity.service import Identity
    from techstone.control.ports import Clock, Randomness
    from techstone.core.roles import Role

_DAY = 86_400
# In any hour: to one address, and asked for from one client.
_MOST_LETTERS, _MOST_WISHES = 5, 30
_LASTS: dict[LinkKind, int] = {"verify": _DAY, "reset": 3600, "invite": 7 * _DAY}


class Caller(msgspec.Struct, frozen=True):
    """Who follows a link: with which browser, from where, and as whom that is logged in, by id."""

    agent: str = ""
    address: str = ""
    person: str | None = None


class Links:
    """Make links, send them, and let in who comes with one."""

    def __init__(
        self,
        store: IdentityStore,
        identity: Identity,
        accounts: Accounts,
        letters: Letters,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._store = store
        self._identity = identity
        self._passwords = identity.passwords
        self._accounts = accounts
        self._letters = letters
        self._clock = clock
        self._randomness = randomness
        self._by_address, self._by_client = Allowance(_MOST_LETTERS), Allowance(_MOST_WISHES)

    async def make(self, kind: LinkKind, email: str, by: Inviter | None = None, role: Role | None = None) -> str:
        """Return the token of a new link; an older one for the same is good no more."""
        token = compose(self._randomness(TOKEN_BYTES))
        now = self._clock()
        account, inviter = (by.account, by.person) if by else (None, None)
        with acting("link.make", email, account, kind=kind, role=role):
            await self._store.add_link(
                Link(digest(token), kind, email, now, now + _LASTS[kind], account, role, inviter)
            )
        return token

    async def ask_to_sign_up(self, email: str, client: str) -> None:
        """Send a link to an address, or tell it that it has an account already; nothing beyond what is allowed."""
        email = self.check_address(email)
        if not self._allow_wish(client) or not self._allow_letter(email):
            return
        if await self._store.find_by_email(email):
            await self._letters.welcome_back(email)
        else:
            await self._letters.confirm(email, await self.make("verify", email))

    async def ask_to_reset(self, email: str, client: str) -> None:
        """Send a link for a new password to an address that is someone's; nothing beyond what is allowed."""
        email = email.strip().lower()
        check_length(email)
        if not self._allow_wish(client):
            return
        # What no letter goes to is not counted: made-up addresses would push out those that are somebody's.
        if await self._store.find_by_email(email) and self._allow_letter(email):
            await self._letters.reset(email, await self.make("reset", email))

    def _allow_wish(self, client: str) -> bool:
        return self._by_client.take(self._clock(), name_network(client))

    def _allow_letter(self, email: str) -> bool:
        """Say whether another letter may go there: nobody's mailbox is flooded by us."""
        return self._by_address.take(self._clock(), email)

    async def invite(self, by: Inviter, email: str, role: Role) -> None:
        """Ask someone to join an account."""
        email = self.check_address(email)
        token = await self.make("invite", email, by, role)
        await self._letters.invite(email, token, by.name, role)

    def check_address(self, email: str) -> str:
        """Return the address as it is stored; raise InvalidRequest for `email`."""
        return self._accounts.draft(NewAccount(email)).email

    async def open(self, token: str) -> tuple[Link, Person | None]:
        """Return the link of a token, and who has a log-in already of those whom it lets join; raise InvalidRequest."""
        link = await self.find(token)
        return link, await self._store.find_by_email(link.email) if link.kind == "invite" else None

    async def join(self, token: str, caller: Caller) -> None:
        """Accept an invitation as who is logged in; raise InvalidRequest.

        The letter's holder alone is not enough: a log-in of that address can be somebody else's, by a provider's word.
        """
        link, known = await self.open(token)
        if known is None or caller.person != known.id:
            raise InvalidRequest(f"Log in as {link.email} to accept this invitation.")
        act_as(Actor("person", known.email, caller.address))
        await self._admit(link, known)

    async def find(self, token: str) -> Link:
        """Return the link of a token; raise InvalidRequest for one that is not good."""
        found = await self._store.find_link(digest(token), self._clock())
        if found is None:
            raise _ended()
        return found

    async def follow(self, token: str, email: str, password: str, caller: Caller) -> Opened | Step:
        """Do what the link is for, with the password that was chosen, and let in who chose it.

        `email` counts where someone claims the cloud: else it is the address that the link was sent to.
        """
        link = await self.find(token)
        address_of = self.check_address(email) if link.kind == "claim" else link.email
        hashed = await self._passwords.hash(password, address_of)
        if link.kind == "reset":
            return await self._reset(link, hashed, caller)
        if await self._store.find_by_email(address_of):
            raise InvalidRequest(
                "This address has a log-in already; use another, or ask for a new password.", param="email"
            )
        now = self._clock()
        id_ = "per_" + self._randomness(10).hex()
        person = Person(id_, address_of, hashed, now, operator=link.kind == "claim")
        act_as(Actor("person", person.email, caller.address))
        await self._admit(link, person)
        return await self._identity.enter(person, caller.agent, caller.address)

    async def _reset(self, link: Link, hashed: str, caller: Caller) -> Opened | Step:
        """Set a new password; it is the only way in from then on, unless who comes was in already, by whatever way.

        Somebody else may have connected a provider of theirs, or have come with this address by a provider's word.
        """
        known = await self._store.find_by_email(link.email)
        act_as(Actor("person", link.email, caller.address))
        with acting("person.reset_password", link.email):
            if known is None or not await self._store.use_link(link.digest):
                raise _ended()
            await self._store.set_password(known.id, hashed, alone=caller.person != known.id)
        return await self._identity.enter(msgspec.structs.replace(known, password=hashed), caller.agent, caller.address)

    async def _admit(self, link: Link, person: Person) -> None:
        account = None
        holder, role = link.account, link.role or "owner"
        if holder is None:
            account = self._accounts.draft(NewAccount(link.email))
            # One that the operator opened for this address waits for who it is.
            waiting = await self._accounts.seek(link.email)
            if waiting is not None and await self._store.list_members(waiting.id):
                raise InvalidRequest("An account of this address has an owner: ask to be invited.", param="email")
            holder, account = (waiting.id, None) if waiting else (account.id, account)
        if any(seat.account == holder for seat in await self._store.list_seats(person.id)):
            raise InvalidRequest(f"{person.email} belongs to this account already.")
        membership = Membership(holder, person.id, role, self._clock())
        with acting("person.join", person.id, holder, email=person.email, role=role, by=link.kind):
            admitted = await self._store.admit(link, person, account, membership)
        if not admitted:
            raise _ended()


def _ended() -> InvalidRequest:
    return InvalidRequest("This link was used, or has ended. Ask for a new one.", param="link")
