"""Log-ins: who may open a session, what a session may see, how it ends. Knows no HTTP and no database.

A session is an opaque token of 256 bits, stored as its SHA-256, so that it can be ended at once, everywhere (row W-3).
Who does not exist takes as long as who does, and gets the same words (row A-3). However somebody shows who they are:
who has a second factor gets no session before its code. `_open` has two callers, and both have seen all there is to
see.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import re
from typing import TYPE_CHECKING

import msgspec

from techstone.control.acts import Actor, act_as, acting
from techstone.control.identity.factors import APP_CODE, RECOVERY_CODE
from techstone.control.identity.records import Opened, Session, Step, Visitor
from techstone.control.identity.throttle import Throttle
from techstone.control.identity.tokens import TOKEN_BYTES, compose, digest
from techstone.control.ports import StoreError
from techstone.core.addresses import LONGEST as LONGEST_ADDRESS
from techstone.core.addresses import is_too_long
from techstone.core.errors import InvalidRequest, RateLimited

if TYPE_CHECKING:
    from techstone.control.identity.factors import Factors
    from techstone.control.identity.passwords import Passwords
    from techstone.control.identity.ports import IdentityStore
    from techstone.control.identity.records import Person, Seat
    from techstone.control.identity.seals import Seals
    from techstone.control.ports import Clock, Randomness

# Whatever is done, and if nothing is done (OWASP, Session Management; row W-3).
LONGEST = 24 * 3600
IDLE = 2 * 3600
# How exactly "last used" is known: a write for every page would be many.
_TOUCH = 60
_LONGEST_AGENT = 200
_STEP = "log-in step"
STEP_LASTS = 300


class _Half(msgspec.Struct, frozen=True):
    """What a step's seal holds. `mark` is of the password: with another one the step is good no more."""

    person: str
    mark: str


class Identity:
    """Open, find and end sessions; change a password."""

    def __init__(
        self,
        store: IdentityStore,
        passwords: Passwords,
        factors: Factors,
        seals: Seals,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._store = store
        self.passwords = passwords
        self.factors = factors
        self._seals = seals
        self._clock = clock
        self._randomness = randomness
        self._throttle = Throttle()

    async def log_in(self, email: str, password: str, agent: str, address: str) -> Opened | Step:
        """Let somebody in by password; raise RateLimited after too many guesses, InvalidRequest by field."""
        email = email.strip().lower()
        check_length(email)
        person = await self._store.find_by_email(email)
        self._slow(person.id if person else email, address, known=person is not None)
        if not await self.passwords.verify(password, person.password if person else None) or person is None:
            raise InvalidRequest("The e-mail address or the password is wrong.", param="password")
        self._throttle.succeed(person.id, address)
        if self.passwords.is_outdated(person.password):
            person = msgspec.structs.replace(person, password=await self.passwords.renew(password))
            await self._store.rehash(person.id, person.password)
        return await self.enter(person, agent, address)

    async def enter(self, person: Person, agent: str, address: str) -> Opened | Step:
        """Open a session for someone who has shown who they are; but for who has a second factor, only a step to it."""
        if await self.factors.has(person.id):
            return Step(self._seals.seal(_STEP, _Half(person.id, _mark(person)), STEP_LASTS))
        return await self._open(person, agent, address)

    async def find_half(self, step: str) -> Person | None:
        """Return who stands at the second step; None where it has ended."""
        half = self._seals.open(_STEP, step, _Half)
        person = await self._store.find_person(half.person) if half else None
        if half is None or person is None or not hmac.compare_digest(half.mark, _mark(person)):
            return None
        return person

    async def finish(self, step: str, code: str, agent: str, address: str) -> Opened | None:
        """Open a session by the code of the second step; None where the step has ended. Raise as `Factors.check`."""
        person = await self.find_half(step)
        if person is None:
            return None
        act_as(Actor("person", person.email, address))
        await self.factors.check(person, code, address)
        return await self._open(person, agent, address)

    async def prove(self, visitor: Visitor, proof: str, param: str = "proof") -> None:
        """See that it is the person who asks, by their password or a code; raise RateLimited, or InvalidRequest."""
        person, address = visitor.person, visitor.session.address
        plain = re.sub(r"[\s-]", "", proof)
        has_codes = await self.factors.has(person.id)
        if not has_codes and not person.password:
            raise InvalidRequest("Choose a password first: Choose a new password sends a link to you.", param=param)
        if APP_CODE.fullmatch(plain) and has_codes:
            await self._check_code(person, plain, address, param)
            return
        self._slow(person.id, address)
        if await self.passwords.verify(proof, person.password):
            self._throttle.succeed(person.id, address)
        elif RECOVERY_CODE.fullmatch(plain) and has_codes:
            await self._check_code(person, plain, address, param)
        else:
            wrong = "This is neither your password nor a code of now." if has_codes else "This is not your password."
            raise InvalidRequest(wrong, param=param)

    async def _check_code(self, person: Person, code: str, address: str, param: str) -> None:
        try:
            await self.factors.check(person, code, address)
        except InvalidRequest as error:
            raise InvalidRequest(error.message, param=param) from error

    def _slow(self, who: str, address: str, *, known: bool = True) -> None:
        if wait := self._throttle.take(who, address, self._clock(), known=known):
            raise RateLimited(f"Too many attempts. Wait {wait} seconds, or ask for a new password.", wait)

    async def _open(self, person: Person, agent: str, address: str) -> Opened:
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
        held = any(one.two_factor for one in seats) and not await self.factors.has(person.id)
        seat = None if held else _choose(seats, session.account)
        if session.seen_at + _TOUCH <= now:
            await self._store.touch_session(session.digest, now, seat.account if seat else None)
        return Visitor(person, session, seats, seat, held)

    async def look_at(self, visitor: Visitor, account: str) -> None:
        """Look at another account of the person's from now on; raise InvalidRequest for one that is not."""
        if all(seat.account != account for seat in visitor.seats):
            raise InvalidRequest("You belong to no such account.", param="account")
        await self._store.touch_session(visitor.session.digest, self._clock(), account)

    async def change_password(self, visitor: Visitor, known: str, wanted: str) -> None:
        """Store a new password and end every other session."""
        self._slow(visitor.person.id, visitor.session.address)
        if not await self.passwords.verify(known, visitor.person.password):
            raise InvalidRequest("This is not your password now.", param="known")
        self._throttle.succeed(visitor.person.id, visitor.session.address)
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

    async def log_out_others(self, visitor: Visitor) -> None:
        """End every session of the person but this one."""
        with acting("session.end_others", visitor.person.id):
            await self._store.end_other_sessions(visitor.person.id, visitor.session.digest)

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


def check_length(email: str) -> None:
    """Raise InvalidRequest for what is longer than any address: it is looked up nowhere, and counted nowhere."""
    if is_too_long(email):
        raise InvalidRequest(f"An e-mail address has {LONGEST_ADDRESS} characters at most.", param="email")


def _mark(person: Person) -> str:
    return hashlib.sha256(f"step {person.password}".encode()).hexdigest()[:32]


def _choose(seats: tuple[Seat, ...], account: str | None) -> Seat | None:
    return next((seat for seat in seats if seat.account == account), seats[0] if seats else None)
