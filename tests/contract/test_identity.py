"""What every store of people promises: links are good once, sessions end, memberships are of accounts."""

from __future__ import annotations

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
    await identity.set_role(Membership("acct_2", "per_a", "admin", 99))
    assert await identity.list_seats("per_a") == (
        Seat("acct_1", "ann@example.com", "owner"),
        Seat("acct_2", "b@example.com", "admin"),
    )
    assert await identity.list_members("acct_2") == (Member("per_a", "ann@example.com", "admin", 20),)
    await identity.remove_member("acct_2", "per_a")
    assert [seat.account for seat in await identity.list_seats("per_a")] == ["acct_1"]


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
