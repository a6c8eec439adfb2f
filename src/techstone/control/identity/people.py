"""What an operator does for people who cannot help themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.control.acts import acting
from techstone.control.identity.records import PersonShown
from techstone.core.errors import InvalidRequest

if TYPE_CHECKING:
    from techstone.control.identity.ports import CredentialStore, IdentityStore


class People:
    """Look after people by id or e-mail."""

    def __init__(self, store: IdentityStore, credentials: CredentialStore) -> None:
        self._store = store
        self._credentials = credentials

    async def reset_two_factor(self, who: str) -> PersonShown:
        """Remove someone's second factor and end their sessions; raise InvalidRequest."""
        wanted = who.strip().lower()
        person = await self._store.find_by_email(wanted) or await self._store.find_person(wanted)
        if person is None:
            raise InvalidRequest("Nobody logs in with this address.", param="email")
        with acting("person.reset_two_factor", person.id, email=person.email):
            if not await self._credentials.remove_factor(person.id):
                raise InvalidRequest(f"{person.email} has no two-factor.", param="email")
        return PersonShown(person.id, person.email, person.operator, two_factor=False)
