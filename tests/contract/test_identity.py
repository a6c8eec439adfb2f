"""What every store of people promises: links are good once, sessions end, memberships are of accounts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from techstone.adapters.storage.memory import MemoryStore
from techstone.adapters.storage.sqlite import open_store
from techstone.control.accounts.records import Account
from techstone.control.identity.records import Link, Member, Membership, Person, Seat, Session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from techstone.control.ports import Store
    from techstone.core.roles import Role

ANN = Person("per_a", "ann@example.com", "hash", 10)
BOB = Person("per_b", "bob@example.com", "hash", 11, operator=True)
ACCOUNT = Account("acct_1", "ann@example.com", "pro", 1000, created_at=5)
OWNER = Membership("acct_1", "per_a", "owner", 10)
LINK = Link(b"l" * 32, "verify", "ann@example.com", 10, 100)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened: Store = MemoryStore() if request.param == "memory" else await open_store(tmp_path / "t.db")
    await opened.identity.add_link(LINK)
    yield opened
    await opened.close()


async def test_link_lets_one_in_once(store: Store) -> None:
    """Person, account (with its credit in the ledger) and membership come together; the second finds the link used."""
    identity = store.identity
    assert await identity.find_link(LINK.digest, 99) == LINK
    assert await identity.find_link(LINK.digest, 100) is None
    assert await identity.admit(LINK, ANN, ACCOUNT, OWNER)
    assert not await identity.admit(LINK, BOB, None, OWNER)
    assert await identity.find_link(LINK.digest, 50) is None
    assert await identity.find_person("per_a") == await identity.find_by_email("ann@example.com") == ANN
    assert await identity.find_person("ann@example.com") is await identity.find_by_email("per_a") is None
    assert (await identity.find_person("per_b"), await identity.count_people()) == (None, 1)
    assert await store.find_account("acct_1") == ACCOUNT
    assert await store.ledger.check(["pro"]) == ()


@pytest.mark.parametrize(
    ("person", "account"), [(replace(BOB, email=ANN.email), None), (BOB, replace(ACCOUNT, id="acct_2"))]
)
async def test_taken_address_lets_nobody_in(store: Store, person: Person, account: Account | None) -> None:
    """Neither a person nor an account of an address that there is; the link stays good."""
    await store.identity.admit(LINK, ANN, ACCOUNT, OWNER)
    other = replace(LINK, digest=b"m" * 32)
    await store.identity.add_link(other)
    assert not await store.identity.admit(other, person, account, replace(OWNER, person="per_b"))
    assert await store.identity.find_link(other.digest, 50) == other
    assert await store.identity.find_person("per_b") is None


async def test_newer_link_ends_the_older_one_for_the_same(store: Store) -> None:
    """By kind, address and account: an invitation to one account leaves that to another alone."""
    identity = store.identity
    first = replace(LINK, digest=b"1" * 32, kind="invite", account="acct_1", role="viewer")
    second = replace(first, digest=b"2" * 32, account="acct_2")
    third = replace(first, digest=b"3" * 32)
    for link in (first, second, third):
        await identity.add_link(link)
    found = [await identity.find_link(link.digest, 50) for link in (LINK, first, second, third)]
    assert found == [LINK, None, second, third]
    assert await identity.use_link(third.digest)
    assert not await identity.use_link(third.digest)


async def test_known_person_joins_and_leaves(store: Store) -> None:
    """A membership gives a seat; its role can change; without it, the account is not theirs."""
    identity = store.identity
    await identity.admit(LINK, ANN, ACCOUNT, OWNER)
    await store.add_account(Account("acct_2", "b@example.com", "pro"))
    invited = replace(LINK, digest=b"i" * 32, kind="invite", account="acct_2", role="viewer")
    await identity.add_link(invited)
    assert await identity.admit(invited, ANN, None, Membership("acct_2", "per_a", "viewer", 20))
    assert await identity.change_member("acct_2", "per_a", "admin", None) == "changed"
    assert await identity.list_seats("per_a") == (
        Seat("acct_1", "ann@example.com", "owner"),
        Seat("acct_2", "b@example.com", "admin"),
    )
    assert await identity.list_members("acct_2") == (Member("per_a", "ann@example.com", "admin", 20),)
    assert await identity.change_member("acct_2", "per_a", None, None) == "changed"
    assert [seat.account for seat in await identity.list_seats("per_a")] == ["acct_1"]


INVITATION = Link(b"i" * 32, "invite", "eve@example.com", 10, 100, "acct_1", "viewer")


async def gather(store: Store, **roles: Role) -> None:
    """Have people of these names in the account of Ann, who owns it."""
    await store.identity.admit(LINK, ANN, ACCOUNT, OWNER)
    for name, role in roles.items():
        link = replace(INVITATION, digest=name.encode().ljust(32), email=f"{name}@example.com", role=role)
        await store.identity.add_link(link)
        assert await store.identity.admit(
            link, Person(name, link.email, "hash", 11), None, Membership("acct_1", name, role, 11)
        )


async def list_roles(store: Store) -> dict[str, Role]:
    return {member.person: member.role for member in await store.identity.list_members("acct_1")}


@pytest.mark.parametrize(
    ("by", "person", "role", "verdict"),
    [
        ("per_a", "cy", "owner", "changed"),
        ("per_a", "cy", None, "changed"),
        ("per_a", "per_a", "admin", "last owner"),
        ("per_a", "per_a", None, "last owner"),
        ("bo", "cy", "admin", "changed"),
        ("bo", "cy", "owner", "not allowed"),
        ("bo", "per_a", "viewer", "an owner's"),
        ("bo", "per_a", None, "an owner's"),
        ("cy", "bo", None, "not allowed"),
        ("cy", "cy", "admin", "not allowed"),
        ("nobody", "cy", "viewer", "not allowed"),
        (None, "cy", "admin", "changed"),
        (None, "cy", "owner", "not allowed"),
        (None, "per_a", None, "an owner's"),
        ("per_a", "nobody", "viewer", "no member"),
        ("per_a", "nobody", None, "no member"),
    ],
)
async def test_change_of_a_member_looks_at_who_acts(
    store: Store, by: str | None, person: str, role: Role | None, verdict: str
) -> None:
    """At what they are at that moment, whatever a page was read with; what is refused changes nothing."""
    await gather(store, bo="admin", cy="viewer")
    before = await list_roles(store)
    assert await store.identity.change_member("acct_1", person, role, by) == verdict
    after = {name: one for name, one in {**before, person: role}.items() if one}
    assert await list_roles(store) == (after if verdict == "changed" else before)


async def test_who_is_removed_does_not_come_back_by_a_change(store: Store) -> None:
    """Neither by their own nor by another's that was on its way."""
    await gather(store, bo="admin", cy="admin")
    assert await store.identity.change_member("acct_1", "bo", None, "per_a") == "changed"
    assert await store.identity.change_member("acct_1", "bo", "admin", "bo") == "not allowed"
    assert await store.identity.change_member("acct_1", "bo", "admin", "cy") == "no member"
    assert "bo" not in await list_roles(store)


async def test_of_two_owners_who_remove_each_other_one_stays(store: Store) -> None:
    """At once: the second is no owner any more."""
    await gather(store, bo="owner")
    change = store.identity.change_member
    verdicts = await asyncio.gather(
        change("acct_1", "bo", None, "per_a"), change("acct_1", "per_a", "viewer", "bo"), return_exceptions=True
    )
    assert sorted(map(str, verdicts)) == ["changed", "not allowed"]
    assert list((await list_roles(store)).values()).count("owner") == 1


async def test_nobody_joins_twice(store: Store) -> None:
    """An invitation never changes the role that somebody has, and stays as it was."""
    await gather(store)
    link = replace(INVITATION, email=ANN.email)
    await store.identity.add_link(link)
    assert not await store.identity.admit(link, ANN, None, Membership("acct_1", "per_a", "viewer", 20))
    assert await list_roles(store) == {"per_a": "owner"}
    assert await store.identity.find_link(link.digest, 50) == link


@pytest.mark.parametrize(
    ("role", "left"),
    [
        (None, ["of another", "of an operator"]),
        ("viewer", ["of another", "of an operator", "to them"]),
        ("admin", ["as admin", "of a key", "of another", "of an operator", "to them"]),
        ("owner", ["as admin", "as owner", "of a key", "of another", "of an operator", "to them"]),
    ],
)
async def test_invitations_end_with_the_right_to_send_them(store: Store, role: Role | None, left: list[str]) -> None:
    """Of who is removed or has less to say: theirs, those of keys that they can have made, those to them."""
    await gather(store, bo="owner")
    for name, inviter, given in (
        ("as admin", "bo", "admin"),
        ("as owner", "bo", "owner"),
        ("of a key", None, "viewer"),
        ("of another", "per_a", "admin"),
        ("of an operator", "operator", "owner"),
        ("to them", "per_a", "viewer"),
    ):
        email = "bo@example.com" if name == "to them" else f"{name}@example.com"
        link = replace(INVITATION, digest=name.encode().ljust(32), email=email, inviter=inviter, role=given)
        await store.identity.add_link(link)
    elsewhere = replace(INVITATION, account="acct_2", inviter="bo")
    await store.identity.add_link(elsewhere)
    assert await store.identity.change_member("acct_1", "bo", role, "per_a") == "changed"
    pending = await store.identity.list_invitations("acct_1", 50)
    assert sorted(link.digest.decode().strip() for link in pending) == sorted(left)
    assert await store.identity.list_invitations("acct_2", 50) == (elsewhere,)


async def test_invitation_is_good_while_its_sender_may_send_it(store: Store) -> None:
    """Also one that was on its way while they were removed; who runs the cloud belongs nowhere and may."""
    await gather(store, bo="admin")
    eve, seat = Person("per_e", "eve@example.com", "hash", 12), Membership("acct_1", "per_e", "viewer", 12)
    await store.identity.change_member("acct_1", "bo", "member", "per_a")
    for inviter in ("bo", "nobody"):
        link = replace(INVITATION, inviter=inviter)
        await store.identity.add_link(link)
        assert not await store.identity.admit(link, eve, None, seat)
    await store.identity.change_member("acct_1", "bo", "admin", "per_a")
    link = replace(INVITATION, inviter="bo", role="owner")
    await store.identity.add_link(link)
    assert not await store.identity.admit(link, eve, None, replace(seat, role="owner"))
    claim = replace(LINK, digest=b"c" * 32, kind="claim", account="acct_1", role="owner")
    await store.identity.add_link(claim)
    assert await store.identity.admit(claim, BOB, None, Membership("acct_1", BOB.id, "owner", 12))
    await store.identity.change_member("acct_1", BOB.id, None, "per_a")
    link = replace(link, inviter=BOB.id)
    await store.identity.add_link(link)
    assert await store.identity.admit(link, eve, None, replace(seat, role="owner"))


async def test_invitation_is_listed_until_it_ends_and_withdrawn_once(store: Store) -> None:
    """By its account alone; another kind of link is none."""
    identity = store.identity
    later = replace(INVITATION, digest=b"j" * 32, email="fay@example.com", created_at=20, expires_at=110)
    for link in (later, INVITATION):
        await identity.add_link(link)
    assert await identity.list_invitations("acct_1", 99) == (INVITATION, later)
    assert await identity.list_invitations("acct_1", 100) == (later,)
    assert not await identity.withdraw("acct_2", later.digest)
    assert not await identity.withdraw("acct_1", LINK.digest)
    assert [await identity.withdraw("acct_1", later.digest) for _ in range(2)] == [True, False]
    assert await identity.find_link(later.digest, 50) is None


async def test_sessions_are_found_touched_and_ended(store: Store) -> None:
    """Only their own person ends one; the one used last comes first."""
    identity = store.identity
    await identity.admit(LINK, ANN, ACCOUNT, OWNER)
    old, new = (
        Session(mark * 32, "per_a", "acct_1", at, at, "Firefox", "192.0.2.1") for mark, at in ((b"o", 1), (b"n", 2))
    )
    for session in (old, new):
        await identity.add_session(session)
    await identity.touch_session(old.digest, 70, None)
    touched = replace(old, seen_at=70, account=None)
    assert await identity.find_session(old.digest) == (touched, ANN)
    assert await identity.list_sessions("per_a") == (touched, new)
    await identity.end_session(new.digest, "per_b")
    await identity.end_session(old.digest, "per_a")
    assert (await identity.find_session(old.digest), await identity.list_sessions("per_a")) == (None, (new,))


async def test_new_password_ends_all_sessions_but_the_one_that_set_it(store: Store) -> None:
    """Whoever had the old one is out (row W-3)."""
    identity = store.identity
    await identity.admit(LINK, ANN, ACCOUNT, OWNER)
    sessions = [Session(bytes([mark]) * 32, "per_a", None, 1, 1) for mark in (1, 2, 3)]
    for session in sessions:
        await identity.add_session(session)
    await identity.set_password("per_a", "other", keep=sessions[1].digest)
    assert await identity.list_sessions("per_a") == (sessions[1],)
    await identity.set_password("per_a", "another")
    assert await identity.list_sessions("per_a") == ()
    assert await identity.find_person("per_a") == replace(ANN, password="another")


async def test_what_has_ended_is_forgotten(store: Store) -> None:
    """Sessions by when they were used last, links by when they end."""
    identity = store.identity
    await identity.admit(LINK, ANN, ACCOUNT, OWNER)
    for mark, seen in ((b"x", 10), (b"y", 20)):
        await identity.add_session(Session(mark * 32, "per_a", None, 1, seen))
        await identity.add_link(replace(LINK, digest=mark * 32, email=f"{seen}@example.com", expires_at=seen))
    await identity.forget(20, 20)
    assert [session.seen_at for session in await identity.list_sessions("per_a")] == [20]
    assert [await identity.find_link(mark * 32, 0) is None for mark in (b"x", b"y")] == [True, False]
