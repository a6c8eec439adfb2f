"""Who somebody that a provider of log-ins knows is here: by issuer and subject, which are never given to anybody else.

An address of e-mail is not that: it decides only where the operator believes the provider about its domain, since
whoever runs a provider could else name any address and take over any person.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.control.accounts.records import NewAccount
from techstone.control.acts import Actor, act_as, acting
from techstone.control.identity.records import Foreign, Membership, Person
from techstone.core.errors import Conflict, InvalidRequest

if TYPE_CHECKING:
    from techstone.control.accounts.service import Accounts
    from techstone.control.identity.federation import Arrival
    from techstone.control.identity.ports import CredentialStore, IdentityStore, Terms
    from techstone.control.identity.records import Visitor
    from techstone.control.ports import Clock, Randomness


class Foreigners:
    """Find, make and connect people."""

    def __init__(
        self,
        people: IdentityStore,
        credentials: CredentialStore,
        accounts: Accounts,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._people = people
        self._credentials = credentials
        self._accounts = accounts
        self._clock = clock
        self._randomness = randomness

    async def admit(self, arrival: Arrival, address: str) -> Person:
        """Return who came back; raise InvalidRequest or Conflict for who does not come in, with what to do."""
        email = self._check(arrival)
        act_as(Actor("person", email, address))
        known = await self._credentials.find_foreign(arrival.found.issuer, arrival.found.subject)
        if known is not None:
            person = await self._people.find_person(known.person)
            if person is not None:
                return person
        person = await self._people.find_by_email(email)
        if person is None:
            return await self._create(arrival, email)
        if not arrival.terms.domains:
            name = arrival.terms.name
            raise InvalidRequest(
                f"{email} has a log-in here, which {name} alone does not open. Log in with the password, then connect "
                f"{name} under Log-in and sessions."
            )
        if not person.password:
            # Nobody has shown by a letter that the address is theirs: whoever came first may be somebody else.
            raise InvalidRequest(
                f"{email} has a log-in here by another provider. Choose a password by a letter first, then log in with "
                f"{arrival.terms.name}."
            )
        await self._add(arrival, person, email, "address")
        return person

    async def connect(self, arrival: Arrival, visitor: Visitor) -> None:
        """Let a visitor log in as who they are at the provider; raise InvalidRequest or Conflict."""
        await self._add(arrival, visitor.person, self._check(arrival), "person")

    async def disconnect(self, terms: Terms, visitor: Visitor) -> None:
        """Let nobody log in by this provider as the visitor any more."""
        with acting("person.disconnect", visitor.person.id, provider=terms.name):
            await self._credentials.remove_foreign(visitor.person.id, terms.issuer)

    async def list(self, visitor: Visitor) -> dict[str, Foreign]:
        """Return who the visitor is elsewhere, by issuer."""
        return {one.issuer: one for one in await self._credentials.list_foreign(visitor.person.id)}

    def _check(self, arrival: Arrival) -> str:
        """Return the address of who may come in at all; raise InvalidRequest."""
        found, terms = arrival.found, arrival.terms
        if not found.email:
            raise InvalidRequest(f"{terms.name} told no e-mail address of yours, and one is needed here.")
        if not found.verified:
            raise InvalidRequest(
                f"{terms.name} does not confirm that {found.email} is your address. Confirm it there, then try again."
            )
        try:
            email = self._accounts.draft(NewAccount(found.email)).email
        except InvalidRequest as error:
            raise InvalidRequest(f"The e-mail address that {terms.name} told cannot be used here.") from error
        if terms.domains and email.rpartition("@")[2] not in terms.domains:
            raise InvalidRequest(f"By {terms.name} only addresses of {', '.join(terms.domains)} log in here.")
        return email

    async def _add(self, arrival: Arrival, person: Person, email: str, by: str) -> None:
        foreign = self._compose(arrival, person.id, email)
        with acting("person.connect", person.id, provider=arrival.terms.name, by=by):
            added = await self._credentials.add_foreign(foreign)
        if not added:
            raise Conflict(
                f"This log-in of {arrival.terms.name} is connected to somebody else here, or {person.email} to another "
                "one there. Disconnect that first."
            )

    async def _create(self, arrival: Arrival, email: str) -> Person:
        """Store somebody new, as owner of a new account, or of the one that the operator opened for the address."""
        terms = arrival.terms
        if not terms.creates:
            raise InvalidRequest(f"{email} is not known here. Ask to be invited; then log in with {terms.name}.")
        waiting = await self._accounts.seek(email)
        if waiting is not None and (not terms.domains or await self._people.list_members(waiting.id)):
            raise InvalidRequest(
                f"There is an account of {email} already. Ask its owner, or the operator, to invite you."
            )
        account = None if waiting else self._accounts.draft(NewAccount(email))
        holder = waiting.id if waiting else account.id if account else ""
        person = Person("per_" + self._randomness(10).hex(), email, "", self._clock())
        foreign = self._compose(arrival, person.id, email)
        membership = Membership(holder, person.id, "owner", person.created_at)
        with acting("person.join", person.id, holder, email=email, role="owner", by=terms.name):
            if not await self._credentials.admit_foreign(foreign, person, account, membership):
                raise Conflict("This address was taken at the same moment. Log in again.")
        return person

    def _compose(self, arrival: Arrival, person: str, email: str) -> Foreign:
        return Foreign(arrival.found.issuer, arrival.found.subject, person, self._clock(), email)
