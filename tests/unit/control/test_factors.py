"""The second step of a log-in, over a moved clock: whole, in time, once, and never a session before it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pyotp
import pytest
from rooms import House

from techstone.adapters.vault import VARIABLE, Vault
from techstone.control.accounts.records import Account
from techstone.control.identity.factors import CODES, MOST_GUESSES, STEP, Draft, Factors
from techstone.control.identity.passwords import Passwords
from techstone.control.identity.people import People
from techstone.control.identity.records import Link, Membership, Opened, Person, Step, Visitor
from techstone.control.identity.seals import Seals
from techstone.control.identity.service import STEP_LASTS, Identity
from techstone.control.identity.throttle import HOUR
from techstone.core.errors import InvalidRequest, RateLimited

ANN = Person("per_a", "ann@example.com", "drowssap doog yrev", 1)
PASSWORD = "very good password"
ADDRESS = "192.0.2.1"


class PlainHasher:
    """Turns letters round: a hash for tests."""

    async def hash(self, password: str) -> str:
        return password[::-1]

    async def verify(self, password: str, known: str | None) -> bool:
        return known == password[::-1]

    def is_outdated(self, _: str) -> bool:
        return False


class Door:
    """Ann's house, with her in it."""

    def __init__(self) -> None:
        self.house = House()
        self.store, self.clock = self.house.store, self.house.clock
        numbers = itertools.count(1)

        def random(size: int) -> bytes:
            number: int = next(numbers) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 8 * size)
            return number.to_bytes(size, "big")

        vault = Vault(Path("nowhere"), {VARIABLE: bytes(range(32)).hex()})
        self.seals = Seals(vault, self.clock)
        self.factors = Factors(self.store.credentials, vault, self.seals, self.clock, random)
        self.identity = Identity(
            self.store.identity, Passwords(PlainHasher()), self.factors, self.seals, self.clock, random
        )

    async def move_in(self) -> None:
        link = Link(b"l" * 32, "verify", ANN.email, 1, 2)
        await self.store.identity.add_link(link)
        account = Account("acct_1", ANN.email, "pro")
        assert await self.store.identity.admit(link, ANN, account, Membership("acct_1", ANN.id, "owner", 1))

    async def log_in(self, address: str = ADDRESS) -> Opened | Step:
        return await self.identity.log_in(ANN.email, PASSWORD, "Firefox", address)

    async def come_in(self) -> Visitor:
        """Log in where there is no second factor."""
        opened = await self.log_in()
        assert isinstance(opened, Opened)
        return await self.see(opened.token)

    async def see(self, token: str) -> Visitor:
        visitor = await self.identity.recognise(token)
        assert visitor is not None
        return visitor

    async def set_up(self) -> tuple[Visitor, Draft, tuple[str, ...]]:
        visitor = await self.come_in()
        draft = self.factors.draft(visitor)
        return visitor, draft, await self.factors.confirm(visitor, draft, self.tell(draft))

    def tell(self, draft: Draft, drift: int = 0) -> str:
        """Return the code that an app shows now."""
        return str(pyotp.TOTP(draft.secret).at(self.clock.now + drift * STEP))

    async def finish(self, step: Opened | Step, code: str, address: str = ADDRESS) -> Opened | None:
        assert isinstance(step, Step)
        return await self.identity.finish(step.token, code, "Firefox", address)


@pytest.fixture
async def door() -> Door:
    made = Door()
    await made.move_in()
    return made


async def test_password_alone_gives_no_session(door: Door) -> None:
    """What it gives is a step, which is no session, whatever it is shown as (row W-3)."""
    before, draft, _ = await door.set_up()
    step = await door.log_in()
    assert isinstance(step, Step)
    assert await door.identity.recognise(step.token) is None
    assert [one.digest for one in await door.identity.list_sessions(before)] == [before.session.digest]
    assert step.token not in repr(step)
    door.clock.now += STEP
    opened = await door.finish(step, door.tell(draft))
    assert isinstance(opened, Opened)
    assert (await door.see(opened.token)).person == ANN


async def test_code_is_good_for_a_step_before_and_after(door: Door) -> None:
    """And once: neither again, nor an older one after it (RFC 6238, 5.2)."""
    _, draft, _ = await door.set_up()
    for drift, good in ((-2, False), (2, False), (-1, False), (0, False), (1, True), (1, False), (0, False)):
        step = await door.log_in(f"198.51.100.{drift + 9}")
        code = door.tell(draft, drift)
        if good:
            assert await door.finish(step, f" {code[:3]} {code[3:]} ")
        else:
            with pytest.raises(InvalidRequest) as refused:
                await door.finish(step, code)
            assert refused.value.param == "code"
    door.clock.now += 3 * STEP
    assert await door.finish(await door.log_in(), door.tell(draft, -1))


async def test_step_ends_after_five_minutes_and_with_the_password(door: Door) -> None:
    """Nor is a changed, foreign or empty one anything."""
    _, draft, _ = await door.set_up()
    step = await door.log_in()
    assert isinstance(step, Step)
    door.clock.now += STEP_LASTS
    assert await door.finish(step, door.tell(draft)) is None
    fresh = await door.log_in()
    await door.store.identity.set_password(ANN.id, "another")
    assert await door.finish(fresh, door.tell(draft)) is None
    for token in ("", "x" * 5000, step.token[:-6] + "AAAAAA", draft.sealed):
        assert await door.identity.finish(token, door.tell(draft), "", "") is None


async def test_recovery_code_logs_in_once(door: Door) -> None:
    """With or without dashes, in any case; what is stored of it is a digest."""
    _, _, codes = await door.set_up()
    assert len(set(codes)) == CODES
    assert await door.finish(await door.log_in(), codes[0])
    with pytest.raises(InvalidRequest):
        await door.finish(await door.log_in(), codes[0])
    assert await door.finish(await door.log_in(), codes[1].replace("-", " ").upper())
    assert await door.factors.count_codes(ANN.id) == CODES - 2
    actions = [one.action for one in await door.house.services.audit.list()]
    assert actions.count("person.use_recovery_code") == 2


async def test_guesses_of_codes_are_slowed(door: Door) -> None:
    """Twenty an hour for a person, from wherever; it ends by itself (row A-3)."""
    _, draft, _ = await door.set_up()
    began = door.clock.now
    for number in range(MOST_GUESSES):
        address = f"203.0.113.{number}"
        with pytest.raises(InvalidRequest):
            await door.finish(await door.log_in(address), "000000", address)
    with pytest.raises(RateLimited) as refused:
        await door.finish(await door.log_in(), door.tell(draft, 1))
    assert refused.value.retry_after == HOUR
    door.clock.now = began + HOUR
    assert await door.finish(await door.log_in(), door.tell(draft))


async def test_set_up_needs_a_code_and_the_session_that_began_it(door: Door) -> None:
    """A wrong code keeps the draft; one of another session, or an old one, is replaced by a new one."""
    visitor, other = await door.come_in(), await door.come_in()
    draft = door.factors.draft(visitor)
    with pytest.raises(InvalidRequest):
        await door.factors.confirm(visitor, draft, "000000")
    assert not await door.factors.has(ANN.id)
    assert door.factors.resume(visitor, draft.sealed) == draft
    assert door.factors.resume(other, draft.sealed).secret != draft.secret
    await door.factors.confirm(visitor, draft, door.tell(draft))
    assert await door.identity.list_sessions(visitor) == (visitor.session,)
    with pytest.raises(InvalidRequest, match="on already"):
        await door.factors.confirm(visitor, draft, door.tell(draft))
    door.clock.now += 3600
    assert door.factors.resume(visitor, draft.sealed).secret != draft.secret
    assert draft.uri.startswith("otpauth://totp/TechStone%20AI%20Cloud:ann%40example.com?secret=")


async def test_secret_is_not_in_the_store(door: Door) -> None:
    """It is sealed for this person; under another key codes are refused in words, and recovery codes go on."""
    _, draft, codes = await door.set_up()
    factor = await door.store.credentials.find_factor(ANN.id)
    assert factor is not None
    assert draft.secret.encode() not in factor.secret
    other = Vault(Path("nowhere"), {VARIABLE: bytes(range(1, 33)).hex()})
    factors = Factors(door.store.credentials, other, door.seals, door.clock, bytes)
    with pytest.raises(InvalidRequest, match="Use a recovery code"):
        await factors.check(ANN, "123456", ADDRESS)
    await factors.check(ANN, codes[0], ADDRESS)


async def test_switching_off_needs_password_or_code(door: Door) -> None:
    """A stolen session is not enough; other sessions end with it; new codes need the same."""
    visitor, draft, codes = await door.set_up()
    for proof in ("", "wrong", "000000", codes[0][:-1]):
        with pytest.raises(InvalidRequest) as refused:
            await door.identity.prove(visitor, proof)
        assert refused.value.param == "proof"
    for proof in (PASSWORD, door.tell(draft, 1), codes[0]):
        await door.identity.prove(visitor, proof)
    fresh = await door.factors.renew_codes(visitor)
    assert not set(fresh) & set(codes)
    with pytest.raises(InvalidRequest):
        await door.finish(await door.log_in(), codes[1])
    await door.factors.disable(visitor)
    assert isinstance(await door.log_in(), Opened)
    with pytest.raises(InvalidRequest, match="is off"):
        await door.factors.renew_codes(visitor)


async def test_account_that_asks_holds_who_has_none(door: Door) -> None:
    """They sit nowhere until it is set up, and cannot switch it off while they belong there."""
    visitor = await door.come_in()
    await door.store.credentials.require("acct_1", required=True)
    again = await door.log_in()
    assert isinstance(again, Opened)
    held = await door.see(again.token)
    assert (held.held, held.seat) == (True, None)
    draft = door.factors.draft(held)
    await door.factors.confirm(held, draft, door.tell(draft))
    free = await door.see(again.token)
    assert (free.held, free.seat is None) == (False, False)
    with pytest.raises(InvalidRequest, match="asks all members"):
        await door.factors.disable(free)
    assert not visitor.held


async def test_who_has_no_password_is_let_in_by_none(door: Door) -> None:
    """Not by an empty one either."""
    await door.store.identity.rehash(ANN.id, "")
    for password in ("", "x"):
        with pytest.raises(InvalidRequest):
            await door.identity.log_in(ANN.email, password, "", "")


async def test_operator_removes_what_nobody_can_use(door: Door) -> None:
    """Sessions end, and it is in the audit log; for who has none, and for nobody, it is told."""
    await door.set_up()
    people = People(door.store.identity, door.store.credentials)
    shown = await people.reset_two_factor(" Ann@example.com ")
    assert (shown.id, shown.two_factor) == (ANN.id, False)
    assert await door.store.identity.list_sessions(ANN.id) == ()
    assert (await door.house.services.audit.list())[0].action == "person.reset_two_factor"
    for who in (ANN.email, "nobody@example.com"):
        with pytest.raises(InvalidRequest):
            await people.reset_two_factor(who)
