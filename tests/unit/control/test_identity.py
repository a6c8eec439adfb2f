"""Log-ins, links and guesses, over a moved clock."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rooms import House

from techstone.adapters.vault import VARIABLE, Vault
from techstone.control.accounts.records import NewAccount
from techstone.control.identity.factors import Factors
from techstone.control.identity.letters import Letters
from techstone.control.identity.links import Links
from techstone.control.identity.passwords import Passwords
from techstone.control.identity.records import Opened
from techstone.control.identity.seals import Seals
from techstone.control.identity.service import IDLE, LONGEST, Identity
from techstone.control.identity.throttle import HOUR
from techstone.control.ports import StoreError
from techstone.core.errors import InvalidRequest, RateLimited

if TYPE_CHECKING:
    from techstone.control.identity.ports import Letter

ANN, PASSWORD = "ann@example.com", "correct horse battery"


class PlainHasher:
    """Turns letters round: a hash for tests."""

    outdated = False

    async def hash(self, password: str) -> str:
        return password[::-1]

    async def verify(self, password: str, known: str | None) -> bool:
        return known == password[::-1]

    def is_outdated(self, _: str) -> bool:
        return self.outdated


class People:
    """The room on a house's store, with letters kept."""

    def __init__(self) -> None:
        self.house = House()
        self.letters: list[Letter] = []
        self.hasher = PlainHasher()
        numbers = itertools.count(1)
        store, clock = self.house.store.identity, self.house.clock

        def random(size: int) -> bytes:
            return next(numbers).to_bytes(size, "big")

        passwords = Passwords(self.hasher, frozenset(("password123",)))
        credentials = self.house.store.credentials
        vault = Vault(Path("nowhere"), {VARIABLE: bytes(range(32)).hex()})
        seals = Seals(vault, clock)
        self.factors = Factors(credentials, vault, seals, clock, random)
        self.identity = Identity(store, passwords, self.factors, seals, clock, random)
        self.links = Links(store, self.identity, self.house.accounts, Letters(self, "https://x.example"), clock, random)

    async def send(self, letter: Letter) -> None:
        self.letters.append(letter)

    @property
    def token(self) -> str:
        """The token of the newest letter's link."""
        return self.letters[-1].text.partition("/console/link/")[2].split()[0]

    async def sign_up(self, email: str = ANN) -> Opened:
        await self.links.ask_to_sign_up(email, "192.0.2.1")
        opened = await self.links.follow(self.token, "", PASSWORD, "Firefox", "192.0.2.1")
        assert isinstance(opened, Opened)
        return opened


@pytest.fixture
def people() -> People:
    return People()


async def log_in(people: People, password: str = PASSWORD, address: str = "192.0.2.1") -> Opened:
    opened = await people.identity.log_in(" Ann@Example.com ", password, "Firefox", address)
    assert isinstance(opened, Opened)
    return opened


async def test_sign_up_confirms_the_address_and_opens_an_account(people: People) -> None:
    """The link logs in, as owner of a new account on the first plan; it is good once."""
    opened = await people.sign_up()
    visitor = await people.identity.recognise(opened.token)
    assert visitor is not None
    assert visitor.seat is not None
    assert (visitor.person.email, visitor.seat.email, visitor.seat.role) == (ANN, ANN, "owner")
    assert not visitor.person.operator
    assert (await people.house.accounts.show(ANN)).plan == "free"
    with pytest.raises(InvalidRequest, match="was used"):
        await people.links.follow(people.token, "", PASSWORD, "", "")


async def test_who_signs_up_twice_is_told_by_letter_alone(people: People) -> None:
    """The page says the same either way (row A-3)."""
    await people.sign_up()
    await people.links.ask_to_sign_up(ANN, "192.0.2.1")
    assert "have an account already" in people.letters[-1].subject
    assert "/console/link/" not in people.letters[-1].text


async def test_account_that_waits_for_its_owner_is_taken(people: People) -> None:
    """The operator opened it for the address; one that has an owner is not taken over."""
    waiting = await people.house.accounts.create(NewAccount(ANN, plan="pro"))
    visitor = await people.identity.recognise((await people.sign_up()).token)
    assert visitor is not None
    assert visitor.seat is not None
    assert visitor.seat.account == waiting.id
    await people.house.accounts.create(NewAccount("b@example.com"))
    claim = await people.house.services.claims.make("b@example.com")
    await people.links.follow(claim.path.rpartition("/")[2], "other@example.com", PASSWORD, "", "")
    with pytest.raises(InvalidRequest, match="ask to be invited"):
        await people.sign_up("b@example.com")


async def test_claim_makes_an_operator_of_any_address(people: People) -> None:
    """Who has the link of the first start runs the cloud, and owns its account."""
    await people.house.accounts.create(NewAccount("owner@localhost"))
    claim = await people.house.services.claims.make("owner@localhost")
    assert "path" not in repr(claim)
    opened = await people.links.follow(claim.path.rpartition("/")[2], "Ann@example.com", PASSWORD, "", "")
    assert isinstance(opened, Opened)
    visitor = await people.identity.recognise(opened.token)
    assert visitor is not None
    assert visitor.seat is not None
    assert (visitor.person.email, visitor.person.operator) == (ANN, True)
    assert (visitor.seat.email, visitor.seat.role) == ("owner@localhost", "owner")


async def test_invited_person_joins_with_the_role(people: People) -> None:
    """Who is new chooses a password; who is known joins without, and without a session for the letter's holder."""
    await people.sign_up()
    await people.links.invite((await people.house.accounts.show(ANN)).id, "bob@example.com", "viewer", ANN)
    opened = await people.links.follow(people.token, "", PASSWORD, "", "")
    assert isinstance(opened, Opened)
    bob = await people.identity.recognise(opened.token)
    assert bob is not None
    assert [(seat.email, seat.role) for seat in bob.seats] == [(ANN, "viewer")]
    other = await people.house.accounts.create(NewAccount("c@example.com"))
    await people.links.invite(other.id, "bob@example.com", "admin", "c@example.com")
    assert await people.links.follow(people.token, "", "", "", "") is None
    known = await people.identity.recognise(opened.token)
    assert known is not None
    assert [seat.role for seat in known.seats] == ["viewer", "admin"]


async def test_reset_sets_a_password_and_ends_every_session(people: People) -> None:
    """An unknown address gets no letter, and no other answer."""
    before = await people.sign_up()
    await people.links.ask_to_reset("nobody@example.com", "192.0.2.1")
    assert len(people.letters) == 1
    await people.links.ask_to_reset(ANN, "192.0.2.1")
    after = await people.links.follow(people.token, "", "another good one", "", "")
    assert isinstance(after, Opened)
    assert await people.identity.recognise(before.token) is None
    assert await people.identity.recognise(after.token) is not None
    await log_in(people, "another good one")


@pytest.mark.parametrize("seconds", [IDLE, LONGEST])
async def test_session_ends_by_itself(people: People, seconds: int) -> None:
    """After two idle hours, and after a day whatever is done."""
    opened = await people.sign_up()
    step = IDLE - 1 if seconds == LONGEST else seconds
    for moment in range(step, seconds + step, step):
        people.house.clock.now += min(step, seconds - moment + step)
        last = await people.identity.recognise(opened.token)
        assert (last is None) == (moment >= seconds)


async def test_what_has_ended_is_deleted_now_and_then(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session two hours after it was used last, a link when it ends; and a store that fails ends nothing."""
    opened = await people.sign_up()
    people.house.clock.now += IDLE + 1
    task = asyncio.create_task(people.identity.run(0.001))
    await asyncio.sleep(0.05)
    assert await people.house.store.identity.list_sessions(opened.person.id) == ()
    monkeypatch.setattr(people.house.store.identity, "forget", _fail)
    await asyncio.sleep(0.05)
    assert not task.done()
    task.cancel()


async def _fail(*_: int) -> None:
    raise StoreError


async def test_log_out_ends_this_session_or_another_of_ones_own(people: People) -> None:
    """By the name that the list of sessions has; another person's is left alone."""
    one, two = await people.sign_up(), await log_in(people)
    visitor = await people.identity.recognise(one.token)
    other = await people.identity.recognise(two.token)
    assert visitor is not None
    assert other is not None
    await people.identity.log_out(visitor, other.session.digest.hex())
    assert await people.identity.recognise(two.token) is None
    with pytest.raises(InvalidRequest):
        await people.identity.log_out(visitor, "no hex")
    await people.identity.log_out(visitor)
    assert await people.identity.recognise(one.token) is None


async def test_wrong_password_and_unknown_person_are_told_alike(people: People) -> None:
    """Same error, same words (row A-3)."""
    await people.sign_up()
    told = []
    for email in (ANN, "nobody@example.com"):
        with pytest.raises(InvalidRequest) as refused:
            await people.identity.log_in(email, "wrong", "", "192.0.2.9")
        told.append((refused.value.message, refused.value.param))
    assert told[0] == told[1]


async def test_guesses_are_slowed_and_never_a_hundred_an_hour(people: People) -> None:
    """From one address and from many; from another one the owner gets in while one is slowed, and all end."""
    await people.sign_up()
    clock = people.house.clock
    began, guesses, waits = clock.now, 0, []
    while clock.now < began + HOUR:
        try:
            await log_in(people, "wrong", "198.51.100.1")
        except RateLimited as refused:
            waits.append(int(refused.retry_after or 0))
            clock.now += waits[-1]
        except InvalidRequest:
            guesses += 1
    assert 50 < guesses <= 100
    assert set(waits) == {1, 2, 4, 8, 16, 32, 60}
    await log_in(people)
    for number in range(200):
        with pytest.raises((InvalidRequest, RateLimited)):
            await log_in(people, "wrong", f"203.0.113.{number}")
    with pytest.raises(RateLimited):
        await log_in(people)
    clock.now += HOUR
    await log_in(people)


async def test_nobodys_mailbox_is_flooded(people: People) -> None:
    """Five letters an hour to an address, from whomever; thirty wishes an hour of a client, to whomever."""
    await people.sign_up()
    for number in range(20):
        await people.links.ask_to_reset(" Ann@example.com", f"203.0.113.{number}")
    assert len(people.letters) == 5
    for number in range(40):
        await people.links.ask_to_sign_up(f"{number}@example.com", "198.51.100.1")
    assert len(people.letters) == 5 + 30
    people.house.clock.now += HOUR
    await people.links.ask_to_reset(ANN, "198.51.100.1")
    assert len(people.letters) == 5 + 30 + 1


@pytest.mark.parametrize("password", ["short", "x" * 1001, "password123", "aaaaaaaaaaaa", "ann@example.com"])
async def test_weak_password_is_refused(people: People, password: str) -> None:
    """By length, by what is guessed first, by who it is of (row W-5)."""
    await people.links.ask_to_sign_up(ANN, "192.0.2.1")
    with pytest.raises(InvalidRequest) as refused:
        await people.links.follow(people.token, "", password, "", "")
    assert refused.value.param == "password"


async def test_changed_password_needs_the_known_one(people: People) -> None:
    """Others are logged out, this session stays."""
    mine, other = await people.sign_up(), await log_in(people)
    visitor = await people.identity.recognise(mine.token)
    assert visitor is not None
    with pytest.raises(InvalidRequest) as refused:
        await people.identity.change_password(visitor, "wrong", "a new good password")
    assert refused.value.param == "known"
    await people.identity.change_password(visitor, PASSWORD, "a new good password")
    assert await people.identity.recognise(mine.token) is not None
    assert await people.identity.recognise(other.token) is None


async def test_hash_of_yesterdays_parameters_is_renewed_at_log_in(people: People) -> None:
    """No password is asked for again (row W-5)."""
    await people.sign_up()
    await people.house.store.identity.rehash((await log_in(people)).person.id, PASSWORD[::-1])
    people.hasher.outdated = True
    await log_in(people)
    person = await people.house.store.identity.find_person(ANN)
    assert person is not None
    assert person.password == PASSWORD[::-1]
    assert PASSWORD[::-1] not in repr(person)


async def test_another_account_is_looked_at_only_if_it_is_ones_own(people: People) -> None:
    """The session remembers which (row T-1)."""
    opened = await people.sign_up()
    visitor = await people.identity.recognise(opened.token)
    assert visitor is not None
    foreign = await people.house.accounts.create(NewAccount("b@example.com"))
    with pytest.raises(InvalidRequest):
        await people.identity.look_at(visitor, foreign.id)
    await people.links.invite(foreign.id, ANN, "billing", "b@example.com")
    await people.links.follow(people.token, "", "", "", "")
    visitor = await people.identity.recognise(opened.token)
    assert visitor is not None
    await people.identity.look_at(visitor, foreign.id)
    visitor = await people.identity.recognise(opened.token)
    assert visitor is not None
    assert visitor.seat is not None
    assert (visitor.seat.account, visitor.seat.role) == (foreign.id, "billing")
