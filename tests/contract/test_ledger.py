"""What every ledger promises: records are booked once, money is conserved, sums are what the records say (row M-6)."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_args
from unittest import mock

import msgspec
import pytest
from databases import create, open_at
from haste import LONG
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import select

from techstone.adapters.storage import ledger as ledger_adapter
from techstone.adapters.storage.memory import MemoryStore
from techstone.adapters.storage.schema import TRANSFERS
from techstone.control.accounts.records import Account, Terms
from techstone.control.billing.records import Code
from techstone.control.keys.records import Key
from techstone.control.ledger.records import Following, Rating, StoredGrouping
from techstone.control.ports import StoreError
from techstone.core.ledger import BOOKS
from techstone.core.recovery import close_open
from techstone.core.usage import UsageRecord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from databases import Place

    from techstone.control.ports import Store
    from techstone.core.ledger import Kind

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


@pytest.fixture
async def store(store: Store) -> AsyncIterator[Store]:
    for name in _ACCOUNTS:
        await store.add_account(Account(name, f"{name}@example.com", "pro", 1000))
    yield store
    assert await store.ledger.check(["pro"]) == ()


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


async def test_journal_is_known_by_what_is_booked_of_it(store: Store) -> None:
    """And by when that was; asking is not hearing, and makes none."""
    assert await store.ledger.find_journal(_JOURNALS[0]) == Following(0)
    begun = int(time.time())
    await store.ledger.apply(_JOURNALS[0], 1, [record(1), record(2)])
    found = await store.ledger.find_journal(_JOURNALS[0])
    assert found.applied == 2
    assert found.heard_at is not None
    assert begun <= found.heard_at <= time.time()
    assert await store.ledger.find_journal(_JOURNALS[1]) == Following(0)


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


async def test_what_is_missing_is_asked_for_where_its_sender_has_it(place: Place) -> None:
    """As after a restored backup: nothing is booked out of order, and a gap is told of what nobody has any more."""
    journal = _JOURNALS[0]
    for store in (MemoryStore(), await open_at(place.address)):
        await store.add_account(Account("acct_a", "a@example.com", "pro", 1000))
        await store.ledger.apply(journal, 1, [record(1, cost=10)])
        assert await store.ledger.apply(journal, 6, [record(6, cost=60)], base=3) == 1
        assert await _credit(store) == (1000, 10, 0)
        assert await store.ledger.apply(journal, 3, [record(n, cost=10 * n) for n in (3, 4, 5)], base=3) == 5
        assert await store.ledger.apply(journal, 6, [record(6, cost=60)], base=3) == 6
        assert await _credit(store) == (1000, 190, 0)
        (gap,) = await store.ledger.check([])
        assert (gap.rule, gap.found) == ("no journal has gaps", "1 records missing")
        await store.close()


async def test_gap_in_a_journal_is_booked_and_told(place: Place) -> None:
    """Records that never came are a violation, for ever; those that came count."""
    for store in (MemoryStore(), await open_at(place.address)):
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


async def test_usage_since_within_a_day_counts_its_later_hours_and_the_days_after(store: Store) -> None:
    """Hours before are left out, whether it is asked by key, model or account, of one account or of all."""
    midnight = _AT // 86_400_000 * 86_400
    hours = [msgspec.structs.replace(record(n, cost=1), at=(midnight + n * 3600) * 1000 + 1) for n in range(50)]
    await store.ledger.apply(_JOURNALS[0], 1, hours)
    for since, count in ((5 * 3600 + 1800, 45), (23 * 3600, 27), (24 * 3600, 26), (49 * 3600, 1), (50 * 3600, 0)):
        for by, account in itertools.product(get_args(StoredGrouping), (None, "acct_a")):
            sums = await store.ledger.sum_usage(account, midnight + since, by)
            assert sum(one.requests for one in sums) == (50 - since // 86_400 * 24 if by == "day" else count)


async def test_requests_are_read_page_by_page(store: Store) -> None:
    """By time of admission, then by id: each comes once, also of those that were admitted in the same millisecond."""
    entries = [msgspec.structs.replace(record(n, cost=1), at=_AT - n // 3) for n in range(10)]
    await store.ledger.apply(_JOURNALS[0], 1, entries)
    expected = sorted(entries, key=lambda entry: (entry.at, entry.id))
    listed: list[UsageRecord] = []
    settled: list[UsageRecord] = []
    while page := await store.ledger.list_requests("acct_a", 0, listed[-1].id if listed else "", 4):
        listed += [entry for entry, _ in page]
    while batch := await store.ledger.read_settled(0, _AT, settled[-1].id if settled else "", 4):
        settled += batch
    assert listed == expected
    assert settled == [entry for entry in expected if entry.at < _AT]


async def test_overdraft_of_prepaid_credit_is_a_violation(place: Place) -> None:
    """The check sees what the gateway must never let happen."""
    for store in (MemoryStore(), await open_at(place.address)):
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


async def test_change_tells_the_spending_of_what_changed(store: Store) -> None:
    """What others have spent is not read for it: with 100,000 keys that took 3 s of every change."""
    now = int(time.time() * 1000)
    spent = [msgspec.structs.replace(record(n, cost=n, account=name), at=now) for n, name in enumerate(_ACCOUNTS, 5)]
    await store.ledger.apply(_JOURNALS[0], 1, spent)
    whole = (await store.read_all()).spending
    assert whole.accounts_month == {"acct_a": 5, "acct_b": 6}
    assert whole.keys_month == whole.keys_day == {"key_acct_a": 5, "key_acct_b": 6}
    before = await store.read_revision()
    await store.set_terms("acct_b", Terms("pro"))
    await store.add_key(Key("key_acct_b", b"b" * 32, "acct_b", "b", "hint"))
    told = (await store.read_changes(before)).spending
    assert (told.accounts_month, told.keys_month, told.keys_day) == (
        {"acct_b": 6},
        {"key_acct_b": 6},
        {"key_acct_b": 6},
    )


class Clock:
    """The machine's clock, in unix seconds, as the ledger's `time` module: it is stepped, and knows no other time."""

    gmtime = staticmethod(time.gmtime)

    def __init__(self) -> None:
        self.now = _AT / 1000

    def time(self) -> float:
        return self.now


class Books(RuleBasedStateMachine):
    """Row M-6: two journals, sent as they are, again, torn and late, by gateways that crash on a clock that is stepped.

    The model: what was granted, what each request is charged and costs by now, what is held for those that are open.
    """

    kind: ClassVar[str] = "memory"
    # How a record that no database can hold is refused, in the middle of a batch.
    refusal: ClassVar[type[Exception]]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory(prefix="books-")
        self.clock = Clock()
        self.patch = mock.patch.object(ledger_adapter, "time", self.clock)
        self.patch.start()
        self.written: dict[str, list[UsageRecord]] = {name: [] for name in _JOURNALS}
        self.applied = dict.fromkeys(_JOURNALS, 0)
        self.heard: dict[str, int] = {}
        self.granted = dict.fromkeys(_ACCOUNTS, 0)
        self.charged: dict[str, int] = {}
        self.final: dict[str, UsageRecord] = {}
        self.open: dict[str, tuple[str, UsageRecord]] = {}
        self.history: list[Any] = []
        self.left: list[Store] = []
        self.number = 0

    @initialize()
    def begin(self) -> None:
        self.store: Store = MemoryStore()
        if self.kind != "memory":
            self.place = self.runner.run(create(self.kind, Path(self.folder.name)))
            self.store = self.runner.run(open_at(self.place.address))
        for name in _ACCOUNTS:
            self.runner.run(self.store.add_account(Account(name, f"{name}@example.com", "pro")))

    @rule(account=st.sampled_from(_ACCOUNTS), nano=st.integers(1, 10**6))
    def grant(self, account: str, nano: int) -> None:
        assert self.runner.run(self.store.ledger.grant(account, nano, "test"))
        self.granted[account] += nano

    @rule(account=st.sampled_from(_ACCOUNTS), nano=st.integers(1, 10**6))
    def redeem(self, account: str, nano: int) -> None:
        """Top up by a code, which is good once."""
        self.number += 1
        digest = self.number.to_bytes(32, "big")
        self.runner.run(self.store.billing.add_codes((Code(f"code_{self.number}", digest, nano, 0),)))
        done = [self.runner.run(self.store.billing.redeem_code(digest, account, 1)) for _ in range(2)]
        assert [code is not None for code in done] == [True, False]
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
        cost, held = (0 if state == "void" else min(amounts)), (max(amounts) if state == "open" else 0)
        if old < len(mine):
            known = mine[old]
            entry = record(int(known.id[4:]), state, cost, held, known.account)
            at = known.at
        else:
            self.number += 1
            entry, at = record(self.number, state, cost, held, account), int(self.clock.now * 1000)
        # Of a request nothing may have been delivered yet: then it is not billed if its gateway ends.
        tokens = amounts[0] % 3
        self.written[journal].append(msgspec.structs.replace(entry, at=at, completion_tokens=tokens))

    @rule(journal=st.sampled_from(_JOURNALS))
    def expire(self, journal: str) -> None:
        """End a gateway and begin it anew: what it left open is settled at its last checkpoint, or void."""
        self.written[journal] += close_open(self.written[journal])

    @rule(seconds=st.sampled_from([-86_400, -3600, -61, -1, 1, 30, 61, 3600, 86_400]))
    def step_clock(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule(journal=st.sampled_from(_JOURNALS), back=st.integers(0, 5), most=st.integers(1, 8))
    def ship(self, journal: str, back: int, most: int) -> None:
        """Send a batch that may begin before what is applied (an acknowledgement was lost)."""
        start = max(0, self.applied[journal] - back)
        batch = self.written[journal][start : start + most]
        if not batch:
            return
        last = self.runner.run(self.store.ledger.apply(journal, start + 1, batch))
        self.heard[journal] = int(self.clock.now)
        for entry in self.written[journal][self.applied[journal] : last]:
            if entry.id in self.final:
                continue
            self.open.pop(entry.id, None)
            if entry.state == "open":
                self.open[entry.id] = (journal, entry)
            else:
                self.final[entry.id] = entry
                self.charged[entry.id] = entry.cost
        self.applied[journal] = max(self.applied[journal], start + len(batch))
        assert last == self.applied[journal]

    @rule(place=st.integers(0, 50), cost=st.integers(0, 2000), stale=st.booleans())
    def rerate(self, place: int, cost: int, *, stale: bool) -> None:
        """Refund or charge the difference to another cost, once; nothing where the cost is not what was expected."""
        settled = [entry for entry in self.final.values() if entry.state == "settled"]
        if not settled:
            return
        entry = settled[place % len(settled)]
        taken = msgspec.structs.replace(entry, cost=entry.cost + 1) if stale else entry
        for _ in range(2):
            self.runner.run(self.store.ledger.rerate([Rating(taken, cost, 7)]))
        if not stale:
            self.granted[entry.account] += entry.cost - cost
            self.final[entry.id] = msgspec.structs.replace(entry, cost=cost)

    # After each step

    def _expect(self, account: str) -> tuple[int, int, int]:
        """Return what the account was granted, was charged and has held."""
        charged = sum(cost for name, cost in self.charged.items() if self.final[name].account == account)
        held = sum(entry.held for _, entry in self.open.values() if entry.account == account)
        return self.granted[account], charged, held

    @invariant()
    def sums_are_what_was_done(self) -> None:
        found = self.runner.run(self.store.list_accounts())
        sums = {account.id: (account.granted_nano, account.spent_nano, account.held_nano) for account in found}
        assert sums == {account: self._expect(account) for account in _ACCOUNTS}

    @invariant()
    def usage_is_that_of_settled_requests(self) -> None:
        sums = self.runner.run(self.store.ledger.sum_usage(None, 0, "account"))
        expected: dict[str, tuple[int, int]] = {}
        for entry in self.final.values():
            if entry.state == "settled":
                requests, cost = expected.get(entry.account, (0, 0))
                expected[entry.account] = requests + 1, cost + entry.cost
        assert {found.group: (found.requests, found.cost_nano) for found in sums} == expected

    @invariant()
    def nothing_is_held_for_what_is_over(self) -> None:
        found = {entry.id: entry for entry, _ in self.runner.run(self.store.ledger.list_requests(None, 0))}
        assert found.keys() == self.final.keys() | self.open.keys()
        assert {name: entry.held for name, entry in found.items() if entry.held} == {
            name: entry.held for name, (_, entry) in self.open.items() if entry.held
        }

    @invariant()
    def history_only_grows_and_each_entry_moves_money_between_two_books(self) -> None:
        history = self.runner.run(_read_history(self.store))
        assert history[: len(self.history)] == self.history
        self.history = history
        for kind, debit, credit, nano in history:
            assert (debit, credit) == BOOKS[kind]
            assert nano > 0

    @invariant()
    def violations_are_just_what_is_wrong(self) -> None:
        expected: Counter[str] = Counter()
        for granted, charged, held in map(self._expect, _ACCOUNTS):
            expected["prepaid credit is never below zero"] += granted - charged - held < 0
        if self.kind != "memory":
            expected["no open request is overdue"] = sum(
                entry.at // 1000 + 60 < self.heard[journal] for journal, entry in self.open.values()
            )
        found = Counter(violation.rule for violation in self.runner.run(self.store.ledger.check(["pro"])))
        assert found == +expected

    def teardown(self) -> None:
        if hasattr(self, "store"):
            for store in (*self.left, self.store):
                self.runner.run(store.close())
            if self.kind != "memory":
                self.runner.run(self.place.remove())
        self.patch.stop()
        self.runner.close()
        self.folder.cleanup()


async def _read_history(store: Store) -> list[tuple[Kind, str, str, int]]:
    """Return every transfer, oldest first: its kind, the book that gives, the one that takes, and how much."""
    if isinstance(store, MemoryStore):
        return [(one.kind, *BOOKS[one.kind], one.nano) for one in store.ledger._transfers]
    assert isinstance(store.ledger, ledger_adapter.SqlLedger)
    columns = (TRANSFERS.c[name] for name in ("kind", "debit", "credit", "nano"))
    async with store.ledger._database.look() as connection:
        return [tuple(row) for row in await connection.execute(select(*columns).order_by(TRANSFERS.c.number))]


class DurableBooks(Books):
    """The same over SQLite, which is left and found again."""

    kind = "sqlite"
    refusal: ClassVar[type[Exception]] = OverflowError

    @rule(journal=st.sampled_from(_JOURNALS))
    def crash(self, journal: str) -> None:
        """Fail in the middle of a batch, and begin again on the database as it is found."""
        start = self.applied[journal]
        torn = [*self.written[journal][start:], record(0, held=2**63)]
        with pytest.raises(self.refusal):
            self.runner.run(self.store.ledger.apply(journal, start + 1, torn))
        self.left.append(self.store)
        self.store = self.runner.run(open_at(self.place.address))

    @rule()
    def restart(self) -> None:
        """End the process and begin again on the same database."""
        self.runner.run(self.store.close())
        self.store = self.runner.run(open_at(self.place.address))


class ServedBooks(DurableBooks):
    """The same over PostgreSQL."""

    kind = "postgres"
    refusal = StoreError


_SHORT = settings(max_examples=40, stateful_step_count=25)
_LONG = settings(max_examples=2000, stateful_step_count=50)
Books.TestCase.settings = settings(_LONG if LONG else _SHORT, deadline=None)
DurableBooks.TestCase.settings = ServedBooks.TestCase.settings = settings(
    _LONG if LONG else settings(max_examples=8, stateful_step_count=20),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestBooks = Books.TestCase
TestDurableBooks = DurableBooks.TestCase
TestServedBooks = ServedBooks.TestCase
