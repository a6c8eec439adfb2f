"""The second step of a log-in: codes of an app (TOTP, RFC 6238), and recovery codes for who has lost it.

A code is good in its 30 s and, since clocks differ, in those before and after (RFC 6238, 5.2), and once only. The app's
secret is sealed; recovery codes have 120 bits and are stored as SHA-256 digests. Twenty guesses an hour for a person:
three codes are good at any time, so whoever knows the password guesses one in two years, not in five months.
"""

from __future__ import annotations

import base64
import hmac
import re
from typing import TYPE_CHECKING

import msgspec
import pyotp

from techstone.control.acts import acting
from techstone.control.identity.records import Factor
from techstone.control.identity.throttle import Throttle
from techstone.control.identity.tokens import digest
from techstone.core.errors import InvalidRequest, RateLimited
from techstone.core.sealing import Unsealable

if TYPE_CHECKING:
    from techstone.control.identity.ports import CredentialStore, Vault
    from techstone.control.identity.records import Person, Visitor
    from techstone.control.identity.seals import Seals
    from techstone.control.ports import Clock, Randomness

ISSUER = "TechStone AI Cloud"
STEP = 30
MOST_GUESSES = 20
CODES = 10
_DRIFT = 1
# RFC 4226, 4, R6: 160 bits are recommended.
_SECRET_BYTES = 20
_CODE_BYTES = 15  # 24 letters in base32, without padding
_SET_UP = "two-factor set-up"
_SET_UP_SECONDS = 3600
APP_CODE = re.compile(r"[0-9]{6}")
RECOVERY_CODE = re.compile(r"[A-Za-z2-7]{24}")


class Draft(msgspec.Struct, frozen=True):
    """A second factor that is not in force yet: what an app needs, and the same sealed, for the form."""

    secret: str
    uri: str
    sealed: str


class _Wanted(msgspec.Struct, frozen=True):
    """What a draft's seal holds: it is good in the session that asked for it alone."""

    secret: str
    session: bytes


class Factors:
    """Set up, check and remove second factors."""

    def __init__(
        self, store: CredentialStore, vault: Vault, seals: Seals, clock: Clock, randomness: Randomness
    ) -> None:
        self._store = store
        self._vault = vault
        self._seals = seals
        self._clock = clock
        self._randomness = randomness
        self._throttle = Throttle(MOST_GUESSES)

    async def has(self, person: str) -> bool:
        """Say whether the person has one."""
        return await self._store.find_factor(person) is not None

    async def count_codes(self, person: str) -> int:
        """Return how many recovery codes are left."""
        return await self._store.count_codes(person)

    def draft(self, visitor: Visitor) -> Draft:
        """Return a new secret, in force once `confirm` has seen a code of it."""
        secret = base64.b32encode(self._randomness(_SECRET_BYTES)).decode()
        wanted = _Wanted(secret, visitor.session.digest)
        return _show(visitor, secret, self._seals.seal(_SET_UP, wanted, _SET_UP_SECONDS))

    def resume(self, visitor: Visitor, sealed: str) -> Draft:
        """Return the draft that was begun in this session, or a new one where that has ended."""
        found = self._seals.open(_SET_UP, sealed, _Wanted)
        if found is None or found.session != visitor.session.digest:
            return self.draft(visitor)
        return _show(visitor, found.secret, sealed)

    async def confirm(self, visitor: Visitor, draft: Draft, code: str) -> tuple[str, ...]:
        """Put a draft in force by a code of it; return recovery codes, this once. Every other session ends.

        Raise InvalidRequest for `code`.
        """
        step = self._match(draft.secret, re.sub(r"\s", "", code))
        if step is None:
            raise InvalidRequest(
                "This is not the code of now. Look again, and see that the clock of your phone is right.", param="code"
            )
        person = visitor.person.id
        codes = self._make_codes()
        sealed = self._vault.seal(draft.secret.encode(), _name(person))
        factor = Factor(person, sealed, self._clock(), step)
        with acting("person.set_up_two_factor", person):
            if not await self._store.add_factor(factor, _digest(codes), visitor.session.digest):
                raise InvalidRequest("Two-factor is on already.", param="code")
        return codes

    async def check(self, person: Person, code: str, address: str) -> None:
        """Take a code of the app, or a recovery code; raise RateLimited, or InvalidRequest for `code`."""
        if wait := self._throttle.take(person.id, address, self._clock()):
            raise RateLimited(f"Too many attempts. Wait {wait} seconds.", wait)
        plain = re.sub(r"[\s-]", "", code)
        taken = self._take(person, plain) if APP_CODE.fullmatch(plain) else self._use(person, plain)
        if not await taken:
            raise InvalidRequest("This code is not good, or was used. Wait for the next one.", param="code")
        self._throttle.succeed(person.id, address)

    async def renew_codes(self, visitor: Visitor) -> tuple[str, ...]:
        """Return other recovery codes, this once; the old ones are good no more. Raise InvalidRequest."""
        person = visitor.person.id
        if not await self.has(person):
            raise InvalidRequest("Two-factor is off.")
        codes = self._make_codes()
        with acting("person.renew_recovery_codes", person):
            await self._store.replace_codes(person, _digest(codes))
        return codes

    async def disable(self, visitor: Visitor) -> None:
        """Switch it off; raise InvalidRequest where an account asks for it."""
        asking = [seat.email for seat in visitor.seats if seat.two_factor]
        if asking:
            raise InvalidRequest(f"{asking[0]} asks all members for two-factor. It stays on while you belong there.")
        with acting("person.disable_two_factor", visitor.person.id):
            await self._store.remove_factor(visitor.person.id, visitor.session.digest)

    async def _take(self, person: Person, code: str) -> bool:
        factor = await self._store.find_factor(person.id)
        if factor is None:
            return False
        try:
            secret = self._vault.open(factor.secret, _name(person.id)).decode()
        except Unsealable as error:
            raise InvalidRequest(
                "Codes of apps cannot be checked: the secret key of this cloud was replaced. Use a recovery code.",
                param="code",
            ) from error
        step = self._match(secret, code)
        return step is not None and await self._store.take_step(person.id, step)

    async def _use(self, person: Person, code: str) -> bool:
        with acting("person.use_recovery_code", person.id):
            return await self._store.use_code(person.id, digest(code.upper()))

    def _match(self, secret: str, code: str) -> int | None:
        """Return the step of which it is the code; the same time is taken whatever it is."""
        now, totp, found = self._clock() // STEP, pyotp.TOTP(secret), None
        for step in range(now - _DRIFT, now + _DRIFT + 1):
            if hmac.compare_digest(totp.generate_otp(step).encode(), code.encode()):
                found = step
        return found

    def _make_codes(self) -> tuple[str, ...]:
        made = (base64.b32encode(self._randomness(_CODE_BYTES)).decode().lower() for _ in range(CODES))
        return tuple("-".join(code[place : place + 4] for place in range(0, len(code), 4)) for code in made)


def _show(visitor: Visitor, secret: str, sealed: str) -> Draft:
    uri = pyotp.TOTP(secret).provisioning_uri(name=visitor.person.email, issuer_name=ISSUER)
    return Draft(secret, uri, sealed)


def _name(person: str) -> str:
    return f"totp {person}"


def _digest(codes: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(digest(code.replace("-", "").upper()) for code in codes)
