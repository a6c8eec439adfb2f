"""What every ledger promises: records are booked once, money is conserved, sums are what the records say (row M-6)."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from techstone.adapters.storage.memory import MemoryStore
from techstone.adapters.storage.sqlite import open_store
from techstone.control.accounts.records import Account
from techstone.control.ledger.records import Rating
from techstone.core.usage import UsageRecord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from techstone.control.ports import Store

LONG = bool(os.environ.get("TORTURE"))
_ACCOUNTS = ("acct_a", "acct_b")
_JOURNALS = ("a" * 16, "b" * 16)
_AT = 1_800_000_000_000


def record(number: int, state: str = "settled", cost: int = 0, held: int = 0, account: str = "acct_a") -> UsageRecord:
    """Return a record; tokens follow from its number."""
    return UsageRecord(
        id=f"req_{number}",
        state=state,  # type: ignore[arg-type]  # tests name states as text
        account=account,
        key=f"key_{account}",
        model=f"m{number % 2}",
        provider="up",
        upstream_model="x",
        status=200,
        stream=True,
        at=_AT + number * 1_000_000,
        first_byte=1,
        duration=2,
        prompt_tokens=number,
        cached_tokens=1,
        completion_tokens=2,
        reasoning_tokens=0,
        cost=cost,
        held=held,
        price=1,
    )


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened: Store = MemoryStore() if request.param == "memory" else await open_store(tmp_path / "t.db")
    for name in _ACCOUNTS:
        await opened.add_account(Account(name, f"{name}@example.com", "pro", 1000))
    yield opened
    assert await opened.ledger.check(["pro"]) == ()
    await opened.close()


async def _credit(store: Store, account: str = "acct_a") -> tuple[int, int, int]:
    found = await store.find_account(account)
    assert found is not None
    return found.granted_nano, found.spent_nano, found.held_nano


async def test_settled_request_is_charged_once(store: Store) -> None:
    """Sent again, as the same batch, as a longer one or from another journal: nothing changes."""
    first, second = record(1, cost=10), record(2, cost=20)
    assert await store.ledger.apply(_JOURNALS[0], 1, [first]) == 1
    assert await store.ledger.apply(_JOURNALS[0], 1, [first]) == 1
    assert await store.ledger.apply(_JOURNALS[0], 1, [first, second]) == 2
    assert await store.ledger.apply(_JOURNALS[1], 1, [second, first]) == 2
    assert await _credit(store) == (1000, 30, 0)
    assert [found.id for found, _ in await store.ledger.list_requests(None, 0)] == ["req_1", "req_2"]


async def test_hold_of_an_open_request_comes_back_at_its_end(store: Store) -> None:
    """Checkpoints move the hold; the settlement releases it and charges the cost; a void charges nothing."""
    await store.ledger.apply(_JOURNALS[0], 1, [record(1, "open", 5, 50), record(2, "open", 5, 70)])
    assert await _credit(store) == (1000, 0, 120)
    await store.ledger.apply(_JOURNALS[0], 3, [record(1, "open", 9, 80)])
    assert await _credit(store) == (1000, 0, 150)
    await store.ledger.apply(_JOURNALS[0], 4, [record(1, cost=60), record(2, "void"), record(1, "open", 1, 500)])
    assert await _credit(store) == (1000, 60, 0)


async def test_end_and_beginning_in_one_batch_are_booked_in_their_order(store: Store) -> None:
    """A short outage ships all of a request's records at once."""
    await store.ledger.apply(_JOURNALS[0], 1, [record(1, "open", 5, 50), record(1, cost=7), record(1, cost=99)])
    assert await _credit(store) == (1000, 7, 0)


async def test_gap_in_a_journal_is_booked_and_told(tmp_path: Path) -> None:
    """Records that never came are a violation, for ever; those that came count."""
    for store in (MemoryStore(), await open_store(tmp_path / "t.db")):
        await store.add_account(Account("acct_a", "a@example.com", "pro", 1000))
        assert await store.ledger.apply(_JOURNALS[0], 1, [record(1, cost=1)]) == 1
        assert await store.ledger.apply(_JOURNALS[0], 4, [record(4, cost=2)]) == 4
        assert await _credit(store) == (1000, 3, 0)
        (violation,) = await store.ledger.check([])
        assert (violation.rule, violation.found) == ("no journal has gaps", "2 records missing")
        await store.close()


async def test_usage_is_summed_by_what_is_asked(store: Store) -> None:
    """Only settled requests count; days have their own sums."""
    await store.ledger.apply(
        _JOURNALS[0], 1, [record(1, cost=1), record(2, cost=2), record(3, cost=4, account="acct_b"), record(4, "void")]
    )
    since = _AT // 1000
    by_model = {sums.group: sums for sums in await store.ledger.sum_usage(None, since, "model")}
    assert {name: (sums.requests, sums.cost_nano) for name, sums in by_model.items()} == {"m0": (1, 2), "m1": (2, 5)}
    assert by_model["m1"].prompt_tokens == 4
    (alone,) = await store.ledger.sum_usage("acct_b", since, "account")
    assert (alone.group, alone.requests, alone.completion_tokens) == ("acct_b", 1, 2)
    days = await store.ledger.sum_usage(None, since, "day")
    assert sum(sums.cost_nano for sums in days) == 7
    assert await store.ledger.sum_usage(None, since + 10**7, "model") == ()


async def test_overdraft_of_prepaid_credit_is_a_violation(tmp_path: Path) -> None:
    """The check sees what the gateway must never let happen."""
    for store in (MemoryStore(), await open_store(tmp_path / "t.db")):
        await store.add_account(Account("acct_a", "a@example.com", "payg", 10))
        await store.ledger.apply(_JOURNALS[0], 1, [record(1, cost=11)])
        assert await store.ledger.check(["pro"]) == ()
        (violation,) = await store.ledger.check(["payg"])
        assert (violation.rule, violation.found) == ("prepaid credit is never below zero", "-1")
        await store.close()


@pytest.mark.parametrize("cost", [4, 25])
async def test_rerated_request_is_corrected_once(store: Store, cost: int) -> None:
    """The difference is a transfer of its own and moves the credit; the charge stays what it was."""
    await store.ledger.apply(_JOURNALS[0], 1, [record(1, cost=10), record(2, cost=10)])
    rating = Rating(record(1, cost=10), cost, 7)
    for _ in range(2):
        await store.ledger.rerate([rating])
    granted, spent, _ = await _credit(store)
    assert granted - spent == 1000 - 10 - cost
    (found, *_) = await store.ledger.read_settled(_AT, _AT + 10**10, "", 10)
    assert (found.cost, found.price) == (cost, 7)
    (sums,) = await store.ledger.sum_usage(None, _AT // 1000, "account")
    assert (sums.requests, sums.cost_nano) == (2, 10 + cost)
    assert (await store.read_changes(2)).accounts, "gateways hear of it"


class Books(RuleBasedStateMachine):
    """Two journals, their records sent as they are, again, torn and late, against a model of a few lines."""

    kind: ClassVar[str] = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory(prefix="books-")
        self.written: dict[str, list[UsageRecord]] = {name: [] for name in _JOURNALS}
        self.applied = dict.fromkeys(_JOURNALS, 0)
        self.granted = dict.fromkeys(_ACCOUNTS, 0)
        self.final: dict[str, UsageRecord] = {}
        self.open: dict[str, UsageRecord] = {}
        self.number = 0

    @initialize()
    def begin(self) -> None:
        path = Path(self.folder.name, "t.db")
        self.store: Store = MemoryStore() if self.kind == "memory" else self.runner.run(open_store(path))
        for name in _ACCOUNTS:
            self.runner.run(self.store.add_account(Account(name, f"{name}@example.com", "pro")))

    @rule(account=st.sampled_from(_ACCOUNTS), nano=st.integers(1, 10**6))
    def grant(self, account: str, nano: int) -> None:
        assert self.runner.run(self.store.ledger.grant(account, nano, "test"))
        self.granted[account] += nano

    @rule(
        journal=st.sampled_from(_JOURNALS),
        account=st.sampled_from(_ACCOUNTS),
        state=st.sampled_from(["open", "settled", "void"]),
        amounts=st.tuples(st.integers(0, 1000), st.integers(0, 1000)),
        old=st.integers(0, 6),
    )
    def write(self, journal: str, account: str, state: str, amounts: tuple[int, int], old: int) -> None:
        """Write a record: of a new request, or another one of a request of this journal, ended or not."""
        mine = self.written[journal][-6:]
        if old < len(mine):
            number, account = int(mine[old].id[4:]), mine[old].account
        else:
            self.number += 1
            number = self.number
        cost, held = (amounts[0] if state == "settled" else 0), (amounts[1] if state == "open" else 0)
        self.written[journal].append(record(number, state, cost, held, account))

    @rule(journal=st.sampled_from(_JOURNALS), back=st.integers(0, 5), most=st.integers(1, 8))
    def ship(self, journal: str, back: int, most: int) -> None:
        """Send a batch that may begin before what is applied (an acknowledgement was lost)."""
        start = max(0, self.applied[journal] - back)
        batch = self.written[journal][start : start + most]
        if not batch:
            return
        last = self.runner.run(self.store.ledger.apply(journal, start + 1, batch))
        for entry in self.written[journal][self.applied[journal] : last]:
            if entry.id in self.final:
                continue
            self.open.pop(entry.id, None)
            (self.open if entry.state == "open" else self.final)[entry.id] = entry
        self.applied[journal] = max(self.applied[journal], start + len(batch))
        assert last == self.applied[journal]

    @precondition(lambda self: self.kind == "sqlite")
    @rule()
    def restart(self) -> None:
        """End the process and begin again on the same file."""
        self.runner.run(self.store.close())
        self.store = self.runner.run(open_store(Path(self.folder.name, "t.db")))

    @invariant()
    def books_agree(self) -> None:
        if not hasattr(self, "store"):
            return
        for account in _ACCOUNTS:
            settled = [entry for entry in self.final.values() if entry.account == account and entry.state == "settled"]
            held = sum(entry.held for entry in self.open.values() if entry.account == account)
            expected = (self.granted[account], sum(entry.cost for entry in settled), held)
            assert self.runner.run(_credit(self.store, account)) == expected
            sums = self.runner.run(self.store.ledger.sum_usage(account, 0, "account"))
            assert sum(found.cost_nano for found in sums) == expected[1]
            assert sum(found.requests for found in sums) == len(settled)
        assert self.runner.run(self.store.ledger.check([])) == ()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.runner.run(self.store.close())
        self.runner.close()
        self.folder.cleanup()


class DurableBooks(Books):
    """The same over SQLite."""

    kind = "sqlite"


_SHORT = settings(max_examples=40, stateful_step_count=25)
_LONG = settings(max_examples=2000, stateful_step_count=50)
Books.TestCase.settings = settings(_LONG if LONG else _SHORT, deadline=None)
DurableBooks.TestCase.settings = settings(
    _LONG if LONG else settings(max_examples=8, stateful_step_count=20),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestBooks = Books.TestCase
TestDurableBooks = DurableBooks.TestCase
