"""What every store of credentials promises: a step and a code are taken once, a subject is one person's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from techstone.adapters.storage.memory import MemoryStore
from techstone.adapters.storage.sqlite import open_store
from techstone.control.accounts.records import Account
from techstone.control.acts import acting
from techstone.control.identity.records import Factor, Foreign, Link, Membership, Person, Session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from techstone.control.ports import Store

ANN = Person("per_a", "ann@example.com", "hash", 10)
BOB = Person("per_b", "bob@example.com", "", 11)
ACCOUNT = Account("acct_1", "ann@example.com", "pro", 1000, created_at=5)
OWNER = Membership("acct_1", "per_a", "owner", 10)
LINK = Link(b"l" * 32, "verify", "ann@example.com", 10, 100)
FACTOR = Factor("per_a", b"sealed", 20, 7)
CODES = (b"1" * 32, b"2" * 32)
FOREIGN = Foreign("https://id.example", "subject", "per_a", 30, "ann@example.com")


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened: Store = MemoryStore() if request.param == "memory" else await open_store(tmp_path / "t.db")
    with acting("test.fill", "all"):
        await opened.identity.add_link(LINK)
        await opened.identity.admit(LINK, ANN, ACCOUNT, OWNER)
        for mark in (b"x", b"y"):
            await opened.identity.add_session(Session(mark * 32, "per_a", "acct_1", 1, 1))
    with acting("test.do", "something"):
        yield opened
    await opened.close()


async def list_sessions(store: Store) -> list[bytes]:
    return [one.digest[:1] for one in await store.identity.list_sessions("per_a")]


async def test_factor_comes_with_its_codes_and_ends_other_sessions(store: Store) -> None:
    """All together; a second one is refused and changes nothing."""
    credentials = store.credentials
    assert await credentials.find_factor("per_a") is None
    assert await credentials.add_factor(FACTOR, CODES, b"y" * 32)
    assert not await credentials.add_factor(replace(FACTOR, secret=b"other"), (b"3" * 32,), b"x" * 32)
    assert await credentials.find_factor("per_a") == FACTOR
    assert await credentials.count_codes("per_a") == 2
    assert await list_sessions(store) == [b"y"]
    assert (await store.identity.list_members("acct_1"))[0].two_factor


async def test_step_is_taken_once(store: Store) -> None:
    """Of many at once one gets it; an older one is gone with it."""
    credentials = store.credentials
    assert not await credentials.take_step("per_a", 8)
    await credentials.add_factor(FACTOR, CODES, b"")
    taken = await asyncio.gather(*(credentials.take_step("per_a", 8) for _ in range(8)))
    assert taken.count(True) == 1
    assert [await credentials.take_step("per_a", step) for step in (7, 8, 9)] == [False, False, True]


async def test_recovery_code_is_used_once_by_its_owner(store: Store) -> None:
    """And not at all once there are others in its place."""
    credentials = store.credentials
    await credentials.add_factor(FACTOR, CODES, b"")
    assert not await credentials.use_code("per_b", CODES[0])
    assert [await credentials.use_code("per_a", CODES[0]) for _ in range(2)] == [True, False]
    await credentials.replace_codes("per_a", (b"4" * 32,))
    assert not await credentials.use_code("per_a", CODES[1])
    assert await credentials.count_codes("per_a") == 1


async def test_removed_factor_takes_codes_and_sessions_with_it(store: Store) -> None:
    """But the session that removes it; once it is gone there is nothing to remove."""
    credentials = store.credentials
    await credentials.add_factor(FACTOR, CODES, b"")
    for mark in (b"x", b"y"):
        await store.identity.add_session(Session(mark * 32, "per_a", "acct_1", 1, 1))
    assert await credentials.remove_factor("per_a", b"x" * 32)
    assert not await credentials.remove_factor("per_a", b"x" * 32)
    assert (await credentials.find_factor("per_a"), await credentials.count_codes("per_a")) == (None, 0)
    assert await list_sessions(store) == [b"x"]
    assert await credentials.add_factor(FACTOR, CODES, b"x" * 32)
    assert await credentials.remove_factor("per_a")
    assert await list_sessions(store) == []


async def test_account_asks_for_two_factor_or_does_not(store: Store) -> None:
    """Its members' seats tell; twice is as once."""
    for required in (True, True, False, False):
        await store.credentials.require("acct_1", required=required)
        assert [seat.two_factor for seat in await store.identity.list_seats("per_a")] == [required]


async def test_other_sessions_end_together(store: Store) -> None:
    """Of this person alone."""
    await store.identity.end_other_sessions("per_b", b"x" * 32)
    assert len(await list_sessions(store)) == 2
    await store.identity.end_other_sessions("per_a", b"x" * 32)
    assert await list_sessions(store) == [b"x"]


async def test_subject_is_one_persons(store: Store) -> None:
    """And a person is one subject of an issuer; another issuer's subject of the same name is somebody else."""
    credentials = store.credentials
    assert await credentials.add_foreign(FOREIGN)
    assert not await credentials.add_foreign(FOREIGN)
    assert not await credentials.add_foreign(replace(FOREIGN, subject="another"))
    other = replace(FOREIGN, issuer="https://other.example", created_at=40)
    assert await credentials.find_foreign(other.issuer, "subject") is None
    assert await credentials.add_foreign(other)
    assert await credentials.list_foreign("per_a") == (FOREIGN, other)
    await credentials.remove_foreign("per_b", FOREIGN.issuer)
    assert await credentials.find_foreign(FOREIGN.issuer, "subject") == FOREIGN
    await credentials.remove_foreign("per_a", FOREIGN.issuer)
    assert await credentials.list_foreign("per_a") == (other,)


async def test_password_can_be_the_only_way_in(store: Store) -> None:
    """Who somebody is elsewhere is forgotten with the old one, of this person alone, where that is wished."""
    other = replace(FOREIGN, subject="bob", person="per_b")
    assert await store.credentials.add_foreign(FOREIGN)
    account, seat = Account("acct_2", BOB.email, "pro", created_at=6), Membership("acct_2", "per_b", "owner", 11)
    assert await store.credentials.admit_foreign(other, BOB, account, seat)
    await store.identity.set_password("per_a", "other")
    assert await store.credentials.list_foreign("per_a") == (FOREIGN,)
    await store.identity.set_password("per_a", "another", alone=True)
    assert await store.credentials.list_foreign("per_a") == ()
    assert await store.credentials.list_foreign("per_b") == (other,)


async def test_newcomer_comes_whole_or_not_at_all(store: Store) -> None:
    """Person, account (with its credit in the ledger), membership and subject; a taken one of them leaves no other."""
    credentials = store.credentials
    foreign = replace(FOREIGN, person="per_b")
    account = Account("acct_2", "bob@example.com", "pro", 500, created_at=6)
    seat = Membership("acct_2", "per_b", "owner", 11)
    assert not await credentials.admit_foreign(foreign, replace(BOB, email=ANN.email), account, seat)
    assert not await credentials.admit_foreign(foreign, BOB, replace(account, email=ANN.email), seat)
    await credentials.add_foreign(FOREIGN)
    assert not await credentials.admit_foreign(foreign, BOB, account, seat)
    assert await store.identity.find_person("per_b") is None
    assert await store.find_account("acct_2") is None
    assert await credentials.admit_foreign(replace(foreign, subject="bob"), BOB, account, seat)
    assert await store.identity.find_by_email("bob@example.com") == BOB
    assert [one.account for one in await store.identity.list_seats("per_b")] == ["acct_2"]
    assert await store.ledger.check(["pro"]) == ()
