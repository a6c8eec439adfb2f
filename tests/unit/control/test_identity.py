"""Log-ins, links and guesses, over a moved clock."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from people import ANN, PASSWORD

from techstone.control.accounts.records import NewAccount
from techstone.control.acts import acting
from techstone.control.identity.links import Caller
from techstone.control.identity.records import Foreign, Inviter, Opened
from techstone.control.identity.service import IDLE, LONGEST
from techstone.control.ports import StoreError
from techstone.core.errors import InvalidRequest

if TYPE_CHECKING:
    from people import People


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
        await people.links.follow(people.token, "", PASSWORD, Caller())


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
    await people.links.follow(claim.path.rpartition("/")[2], "other@example.com", PASSWORD, Caller())
    with pytest.raises(InvalidRequest, match="ask to be invited"):
        await people.sign_up("b@example.com")


async def test_claim_makes_an_operator_of_any_address(people: People) -> None:
    """Who has the link of the first start runs the cloud, and owns its account."""
    await people.house.accounts.create(NewAccount("owner@localhost"))
    claim = await people.house.services.claims.make("owner@localhost")
    assert "path" not in repr(claim)
    opened = await people.links.follow(claim.path.rpartition("/")[2], "Ann@example.com", PASSWORD, Caller())
    assert isinstance(opened, Opened)
    visitor = await people.identity.recognise(opened.token)
    assert visitor is not None
    assert visitor.seat is not None
    assert (visitor.person.email, visitor.person.operator) == (ANN, True)
    assert (visitor.seat.email, visitor.seat.role) == ("owner@localhost", "owner")


async def test_invited_person_joins_with_the_role(people: People) -> None:
    """Who is new chooses a password; who is known joins without, and without a session for the letter's holder."""
    await people.sign_up()
    await people.invite((await people.house.accounts.show(ANN)).id, "bob@example.com", "viewer")
    opened = await people.links.follow(people.token, "", PASSWORD, Caller())
    assert isinstance(opened, Opened)
    bob = await people.identity.recognise(opened.token)
    assert bob is not None
    assert [(seat.email, seat.role) for seat in bob.seats] == [(ANN, "viewer")]
    other = await people.house.accounts.create(NewAccount("c@example.com"))
    await people.invite(other.id, "bob@example.com", "admin")
    await people.links.join(people.token, Caller(person=opened.person.id))
    known = await people.identity.recognise(opened.token)
    assert known is not None
    assert [seat.role for seat in known.seats] == ["viewer", "admin"]


async def test_known_person_accepts_an_invitation_only_when_logged_in(people: People) -> None:
    """The letter alone joins nobody whose log-in may be somebody else's, by a provider's word."""
    await people.sign_up()
    account = (await people.house.accounts.show(ANN)).id
    bob = (await people.sign_up("bob@example.com")).person
    await people.invite(account, "bob@example.com", "viewer")
    with pytest.raises(InvalidRequest, match="Log in as bob"):
        await people.links.join(people.token, Caller(person="per_x"))
    with pytest.raises(InvalidRequest, match="has a log-in already"):
        await people.links.follow(people.token, "", PASSWORD, Caller())
    assert [member.email for member in await people.house.store.identity.list_members(account)] == [ANN]
    await people.links.join(people.token, Caller(person=bob.id))
    assert len(await people.house.store.identity.list_members(account)) == 2


async def test_who_belongs_already_is_not_invited_and_keeps_the_role(people: People) -> None:
    """Refused by the field; an older invitation that is accepted later changes nothing, and tells so."""
    ann = (await people.sign_up()).person
    account = (await people.house.accounts.show(ANN)).id
    with pytest.raises(InvalidRequest, match="belongs to this account already") as refused:
        await people.members.invite(Inviter(account, "admin", "a key"), " Ann@Example.com", "viewer")
    assert (refused.value.param, len(people.letters)) == ("email", 1)
    await people.invite(account, ANN, "viewer")
    with pytest.raises(InvalidRequest, match="belongs to this account already"):
        await people.links.join(people.token, Caller(person=ann.id))
    assert [one.role for one in await people.house.store.identity.list_members(account)] == ["owner"]


async def test_invitation_is_withdrawn_and_noted(people: People) -> None:
    """By its name in the list; the link in the letter is good no more, and a second time is told."""
    ann = (await people.sign_up()).person
    by = Inviter((await people.house.accounts.show(ANN)).id, "owner", ANN, ann.id)
    await people.members.invite(by, "bob@example.com", "admin")
    (invitation,) = await people.members.list_invitations(by.account)
    assert (invitation.email, invitation.role, invitation.inviter) == ("bob@example.com", "admin", ann.id)
    await people.members.withdraw(by, invitation.digest.hex())
    assert await people.members.list_invitations(by.account) == ()
    noted = (await people.house.services.audit.list())[0]
    assert (noted.action, noted.target, noted.detail) == (
        "link.withdraw",
        "bob@example.com",
        {"kind": "invite", "role": "admin"},
    )
    with pytest.raises(InvalidRequest, match="was used"):
        await people.links.follow(people.token, "", PASSWORD, Caller())
    for name in (invitation.digest.hex(), "x"):
        with pytest.raises(InvalidRequest, match="was withdrawn"):
            await people.members.withdraw(by, name)


@pytest.mark.parametrize("where", ["inside", "outside"])
async def test_reset_by_letter_disconnects_providers_unless_one_is_logged_in(people: People, where: str) -> None:
    """Whoever had come with this address by a provider's word is out; who chooses a first password stays connected."""
    ann = (await people.sign_up()).person
    foreign = Foreign("https://id.example", "subject", ann.id, 1, ANN)
    with acting("test.fill", "all"):
        await people.house.store.credentials.add_foreign(foreign)
    await people.links.ask_to_reset(ANN, "192.0.2.1")
    caller = Caller(person=ann.id if where == "inside" else None)
    await people.links.follow(people.token, "", "another good one", caller)
    assert await people.house.store.credentials.list_foreign(ann.id) == ((foreign,) if where == "inside" else ())


async def test_reset_sets_a_password_and_ends_every_session(people: People) -> None:
    """An unknown address gets no letter, and no other answer."""
    before = await people.sign_up()
    await people.links.ask_to_reset("nobody@example.com", "192.0.2.1")
    assert len(people.letters) == 1
    await people.links.ask_to_reset(ANN, "192.0.2.1")
    after = await people.links.follow(people.token, "", "another good one", Caller())
    assert isinstance(after, Opened)
    assert await people.identity.recognise(before.token) is None
    assert await people.identity.recognise(after.token) is not None
    await people.log_in("another good one")


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
    one, two = await people.sign_up(), await people.log_in()
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


@pytest.mark.parametrize("password", ["short", "x" * 1001, "password123", "aaaaaaaaaaaa", "ann@example.com"])
async def test_weak_password_is_refused(people: People, password: str) -> None:
    """By length, by what is guessed first, by who it is of (row W-5)."""
    await people.links.ask_to_sign_up(ANN, "192.0.2.1")
    with pytest.raises(InvalidRequest) as refused:
        await people.links.follow(people.token, "", password, Caller())
    assert refused.value.param == "password"


async def test_changed_password_needs_the_known_one(people: People) -> None:
    """Others are logged out, this session stays."""
    mine, other = await people.sign_up(), await people.log_in()
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
    await people.house.store.identity.rehash((await people.log_in()).person.id, PASSWORD[::-1])
    people.hasher.outdated = True
    await people.log_in()
    person = await people.house.store.identity.find_by_email(ANN)
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
    await people.invite(foreign.id, ANN, "billing")
    await people.links.join(people.token, Caller(person=opened.person.id))
    visitor = await people.identity.recognise(opened.token)
    assert visitor is not None
    await people.identity.look_at(visitor, foreign.id)
    visitor = await people.identity.recognise(opened.token)
    assert visitor is not None
    assert visitor.seat is not None
    assert (visitor.seat.account, visitor.seat.role) == (foreign.id, "billing")
