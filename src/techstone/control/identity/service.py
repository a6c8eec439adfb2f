"""Log-ins: who may open a session, what a session may see, how it ends. Knows no HTTP and no database.

A session is an opaque token of 256 bits, stored as its SHA-256, so that it can be ended at once, everywhere (row W-3).
Who does not exist takes as long as who does, and gets the same words (row A-3).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from techstone.control.acts import Actor, act_as, acting
from techstone.control.identity.records import Opened, Session, Visitor
from techstone.control.identity.tokens import TOKEN_BYTES, compose, digest
from techstone.control.ports import StoreError
from techstone.core.errors import InvalidRequest, RateLimited

if TYPE_CHECKING:
    from techstone.control.identity.passwords import Passwords
    from techstone.control.identity.ports import IdentityStore
    from techstone.control.identity.records import Person, Seat
    from techstone.control.identity.throttle import Throttle
    from techstone.control.ports import Clock, Randomness

# Whatever is done, and if nothing is done (OWASP, Session Management; row W-3).
LONGEST = 24 * 3600
IDLE = 2 * 3600
# How exactly "last used" is known: a write for every page would be many.
_TOUCH = 60
_LONGEST_AGENT = 200


class Identity:
    """Open, find and end sessions; change a password."""

    def __init__(
        self,
        store: IdentityStore,
        passwords: Passwords,
        throttle: Throttle,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._store = store
        self.passwords = passwords
        self._throttle = throttle
        self._clock = clock
        self._randomness = randomness

    async def log_in(self, email: str, password: str, agent: str, address: str) -> Opened:
        """Open a session; raise RateLimited after too many guesses, InvalidRequest for `password`."""
        email = email.strip().lower()
        now = self._clock()
        if wait := self._throttle.wait(email, address, now):
            raise RateLimited(f"Too many attempts. Wait {wait} seconds, or ask for a new password.", wait)
        person = await self._store.find_person(email)
        if not await self.passwords.verify(password, person.password if person else None) or person is None:
            self._throttle.fail(email, address, now)
            raise InvalidRequest("The e-mail address or the password is wrong.", param="password")
        self._throttle.succeed(email, address)
        if self.passwords.is_outdated(person.password):
            await self._store.rehash(person.id, await self.passwords.renew(password))
        return await self.open(person, agent, address)

    async def open(self, person: Person, agent: str, address: str) -> Opened:
        """Open a session for someone who has shown who they are."""
        token = compose(self._randomness(TOKEN_BYTES))
        now = self._clock()
        seats = await self._store.list_seats(person.id)
        account = seats[0].account if seats else None
        act_as(Actor("person", person.email, address))
        with acting("session.open", person.id, account):
            await self._store.add_session(
                Session(digest(token), person.id, account, now, now, agent[:_LONGEST_AGENT], address)
            )
        return Opened(token, person)

    async def recognise(self, token: str) -> Visitor | None:
        """Return whose session it is, if it is open."""
        found = await self._store.find_session(digest(token))
        now = self._clock()
        if found is None:
            return None
        session, person = found
        if session.created_at + LONGEST <= now or session.seen_at + IDLE <= now:
            with acting("session.expire", person.id):
                await self._store.end_session(session.digest, person.id)
            return None
        seats = await self._store.list_seats(person.id)
        seat = _choose(seats, session.account)
        if session.seen_at + _TOUCH <= now:
            await self._store.touch_session(session.digest, now, seat.account if seat else None)
        return Visitor(person, session, seats, seat)

    async def look_at(self, visitor: Visitor, account: str) -> None:
        """Look at another account of the person's from now on; raise InvalidRequest for one that is not."""
        if all(seat.account != account for seat in visitor.seats):
            raise InvalidRequest("You belong to no such account.", param="account")
        await self._store.touch_session(visitor.session.digest, self._clock(), account)

    async def change_password(self, visitor: Visitor, known: str, wanted: str) -> None:
        """Store a new password and end every other session."""
        if not await self.passwords.verify(known, visitor.person.password):
            raise InvalidRequest("This is not your password now.", param="known")
        hashed = await self.passwords.hash(wanted, visitor.person.email)
        with acting("person.change_password", visitor.person.id):
            await self._store.set_password(visitor.person.id, hashed, keep=visitor.session.digest)

    async def log_out(self, visitor: Visitor, which: str | None = None) -> None:
        """End this session, or the one of the person's that has this name (the hexadecimal of its digest)."""
        try:
            chosen = visitor.session.digest if which is None else bytes.fromhex(which)
        except ValueError as error:
            raise InvalidRequest("There is no such session.", param="session") from error
        with acting("session.end", visitor.person.id):
            await self._store.end_session(chosen, visitor.person.id)

    async def list_sessions(self, visitor: Visitor) -> tuple[Session, ...]:
        """Return the person's open sessions, the one used last first."""
        now = self._clock()
        found = await self._store.list_sessions(visitor.person.id)
        return tuple(one for one in found if one.created_at + LONGEST > now and one.seen_at + IDLE > now)

    async def forget(self) -> None:
        """Delete sessions and links that have ended."""
        now = self._clock()
        await self._store.forget(now - IDLE, now)

    async def run(self, pause: float = 3600.0) -> None:
        """Forget every so many seconds, until cancelled."""
        while True:
            # A store that fails is the publisher's to tell; what has ended is good for nothing anyway.
            with contextlib.suppress(StoreError):
                await self.forget()
            await asyncio.sleep(pause)


def _choose(seats: tuple[Seat, ...], account: str | None) -> Seat | None:
    return next((seat for seat in seats if seat.account == account), seats[0] if seats else None)
