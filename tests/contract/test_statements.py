"""Statements and invoices are the ledger's figures, to the last nano-dollar, whatever happens in whatever order."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from unittest import mock

import databases
import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import text

from techstone.adapters.storage import ledger as ledger_adapter
from techstone.adapters.storage import memory_ledger
from techstone.adapters.storage.memory import MemoryStore
from techstone.adapters.storage.store import SqlStore
from techstone.control.accounts.records import Account
from techstone.control.acts import acting
from techstone.control.billing.records import Code
from techstone.control.invoicing import documents, months, statements
from techstone.control.invoicing.records import Party
from techstone.control.ledger.records import Rating
from techstone.core import money
from techstone.core.usage import UsageRecord

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from techstone.control.invoicing.records import Invoice, Statement
    from techstone.control.ports import Store

_R = TypeVar("_R")
_DAY = 86_400
_BEGIN = months.parse("2026-10")[0]
_ACCOUNT = Account("acct_a", "a@example.com", "pro", created_at=_BEGIN)


def paid(number: int, at: int, cost: int, model: str = "m") -> UsageRecord:
    return UsageRecord(
        *(f"req_{number}", "settled", "acct_a", "key_1", model, "up", "x", 200, False, at * 1000 + 7, 1, 2, 3, 0, 4, 0),
        *(cost, 0, 1),
    )


class Clock:
    """The `time` of the stores: it is stepped, and knows no other time."""

    gmtime = staticmethod(time.gmtime)

    def __init__(self) -> None:
        self.now = _BEGIN

    def time(self) -> float:
        return float(self.now)


@pytest.fixture
async def store(store: Store) -> Store:
    await store.add_account(_ACCOUNT)
    return store


async def state(store: Store, month: str) -> Statement:
    movements = await store.invoices.read_movements("acct_a", *months.parse(month))
    return statements.compose(month, "a@example.com", movements)


async def issue(store: Store, month: str, now: int) -> Invoice | None:
    usage = await store.invoices.read_month("acct_a", month)
    draft = documents.draft_invoice(month, usage, _ACCOUNT, Party("S"), Party(), now)
    return None if draft is None else await store.invoices.issue(draft)


async def test_statement_names_everything(store: Store) -> None:
    """Code, card, operator's credit, usage by day, corrections; what came before is the opening balance."""
    clock = Clock()
    with mock.patch.object(ledger_adapter, "time", clock), mock.patch.object(memory_ledger, "time", clock):
        await store.ledger.grant("acct_a", 100, "by an operator")
        await store.ledger.apply("0" * 16, 1, [paid(1, _BEGIN, 30)])
        clock.now = months.parse("2026-11")[0] + 5
        await store.billing.add_codes((Code("code_1", b"1" * 32, 50, 1),))
        await store.billing.redeem_code(b"1" * 32, "acct_a", clock.now)
        third = paid(3, clock.now + _DAY, 1)
        await store.ledger.apply("0" * 16, 2, [paid(2, clock.now + _DAY, 20), third])
        clock.now += 3 * _DAY
        await store.ledger.rerate([Rating(paid(1, _BEGIN, 30), 25, 2), Rating(third, 8, 2)])
    october, november = await state(store, "2026-10"), await state(store, "2026-11")
    assert [(line.day, line.kind, line.amount) for line in october.lines] == [
        ("2026-10-01", "credit", "0.0000001"),
        ("2026-10-01", "usage", "-0.00000003"),
    ]
    assert [(line.day, line.kind, line.description, line.amount) for line in november.lines] == [
        ("2026-11-01", "code", "Top-up code code_1", "0.00000005"),
        ("2026-11-02", "usage", "Usage, 2 requests", "-0.000000021"),
        ("2026-11-04", "correction", "Prices corrected, refunded", "0.000000005"),
        ("2026-11-04", "correction", "Prices corrected, charged", "-0.000000007"),
    ]
    assert (november.opening, november.closing) == (october.closing, "0.000000097")
    assert '2026-11-02,usage,"Usage, 2 requests",-0.000000021,0.000000099\r\n' in statements.write_csv(november)


async def test_late_request_and_corrected_price_are_on_the_next_invoice(store: Store) -> None:
    """An invoice never changes; together they come to what was used."""
    october, november = months.parse("2026-10")[0], months.parse("2026-11")[0]
    await store.ledger.apply("0" * 16, 1, [paid(1, october, 7_000_000_001, "a"), paid(2, october, 5, "b")])
    first = await issue(store, "2026-10", november)
    assert first is not None
    assert [(line.text, line.requests, line.prompt_tokens, line.nano) for line in first.lines] == [
        ("a", 1, 3, 7_000_000_001),
        ("b", 1, 3, 5),
    ]
    assert (first.nano, first.rounding, first.due) == (7_000_000_006, -6, 7_000_000_000)
    await store.ledger.apply("0" * 16, 3, [paid(3, october, 100, "late"), paid(4, november, 20_000_000, "a")])
    await store.ledger.rerate([Rating(paid(1, october, 7_000_000_001), 7_000_000_000, 2)])
    assert await issue(store, "2026-10", november) == first
    second = await issue(store, "2026-11", november)
    assert second is not None
    assert [(line.text, line.nano) for line in second.lines] == [("a", 20_000_000), (documents.CORRECTION, 99)]
    assert first.nano + second.nano == 7_000_000_000 + 5 + 100 + 20_000_000
    assert await issue(store, "2026-12", november) is None, "nothing used, nothing to correct"


async def test_credit_pays_first_and_a_payment_is_no_credit_for_the_next_month(store: Store) -> None:
    """What was there before covers the month; what pays an earlier invoice covers no later one."""
    october, november = months.parse("2026-10")[0], months.parse("2026-11")[0]
    await store.ledger.grant("acct_a", 3_000_000_000, "by an operator")
    await store.ledger.apply("0" * 16, 1, [paid(1, october, 10_000_000_000)])
    first = await issue(store, "2026-10", november)
    assert first is not None
    assert (first.covered, first.due) == (3_000_000_000, 7_000_000_000)
    await store.ledger.grant("acct_a", 7_000_000_000, "payment top_1")
    await store.ledger.apply("0" * 16, 2, [paid(2, november, 4_000_000_000)])
    second = await issue(store, "2026-11", november)
    assert second is not None
    assert (second.covered, second.due) == (0, 4_000_000_000)


class Books(RuleBasedStateMachine):
    """Any sequence of grants, requests, corrections and invoices over three months."""

    loop: ClassVar[asyncio.AbstractEventLoop]

    @initialize(kind=st.sampled_from(["memory", *databases.KINDS]))
    def begin(self, kind: str) -> None:
        self.loop = asyncio.new_event_loop()  # type: ignore[misc]  # one for each run
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.patches = [
            mock.patch.object(ledger_adapter, "time", self.clock),
            mock.patch.object(memory_ledger, "time", self.clock),
        ]
        for patch in self.patches:
            patch.start()
        self.store: Store = MemoryStore()
        self.place: databases.Place | None = None
        if kind != "memory":
            self.place = self.run(databases.create(kind, Path(self.folder.name)))
            self.store = self.run(databases.open_at(self.place.address))
        self.requests: dict[int, UsageRecord] = {}
        self.charged: dict[int, int] = {}
        self.invoices: dict[str, Invoice] = {}
        self.do(self.store.add_account(_ACCOUNT))

    def run(self, work: Coroutine[Any, Any, _R]) -> _R:
        return self.loop.run_until_complete(work)

    def do(self, work: Coroutine[Any, Any, _R]) -> _R:
        with acting("test.run", "the store"):
            return self.run(work)

    @rule(days=st.integers(0, 20))
    def wait(self, days: int) -> None:
        self.clock.now = min(self.clock.now + days * _DAY, months.parse("2026-12")[1] - 1)

    @rule(nano=st.integers(1, 10**10))
    def grant(self, nano: int) -> None:
        self.do(self.store.ledger.grant("acct_a", nano, "by an operator"))

    @rule(ago=st.integers(0, 40), cost=st.integers(0, 10**9), model=st.sampled_from("ab"))
    def ask(self, ago: int, cost: int, model: str) -> None:
        number = len(self.requests) + 1
        self.requests[number] = paid(number, max(_BEGIN, self.clock.now - ago * _DAY), cost, model)
        self.charged[number] = cost
        self.run(self.store.ledger.apply("0" * 16, number, [self.requests[number]]))

    @precondition(lambda self: self.requests)
    @rule(choice=st.integers(0, 99), cost=st.integers(0, 10**9))
    def correct(self, choice: int, cost: int) -> None:
        number = 1 + choice % len(self.requests)
        record = self.requests[number]
        self.run(self.store.ledger.rerate([Rating(record, cost, 2)]))
        self.requests[number] = msgspec.structs.replace(record, cost=cost)

    @rule()
    def close(self) -> None:
        for month in ("2026-10", "2026-11"):
            if month not in self.invoices and months.parse(month)[1] <= self.clock.now:
                issued = self.do(issue(self.store, month, self.clock.now))
                if issued is not None:
                    self.invoices[month] = issued

    @invariant()
    def statements_are_the_ledger(self) -> None:
        if not hasattr(self, "store"):
            return
        found: list[Statement] = [self.run(state(self.store, month)) for month in ("2026-10", "2026-11", "2026-12")]
        for statement in found:
            moved = sum(map(read, (line.amount for line in statement.lines)))
            assert read(statement.opening) + moved == read(statement.closing)
        assert found[0].opening == "0.00"
        assert all(before.closing == after.opening for before, after in itertools.pairwise(found))
        (account,) = self.run(self.store.list_accounts())
        assert read(found[-1].closing) == account.granted_nano - account.spent_nano
        usage = sum(read(line.amount) for one in found for line in one.lines if line.kind == "usage")
        assert usage == -sum(self.charged.values())
        if isinstance(self.store, SqlStore):
            assert self.run(self.add_up_charges()) == -usage

    async def add_up_charges(self) -> int:
        assert isinstance(self.store, SqlStore)
        async with self.store._look() as connection:
            return int(
                await connection.scalar(text("SELECT coalesce(sum(nano), 0) FROM transfers WHERE kind = 'charge'"))
            )

    @invariant()
    def invoices_come_to_what_was_used(self) -> None:
        for invoice in getattr(self, "invoices", {}).values():
            rest = invoice.nano - invoice.covered
            assert invoice.due % (money.NANO // 100) == 0
            assert rest + invoice.rounding == invoice.due - invoice.kept
            assert -money.NANO // 100 < invoice.rounding <= 0
            assert sum(line.nano for line in invoice.lines) == invoice.nano

    def teardown(self) -> None:
        if hasattr(self, "store"):
            assert self.run(self.store.ledger.check([])) == ()
            self.run(self.store.close())
            if self.place is not None:
                self.run(self.place.remove())
            for patch in self.patches:
                patch.stop()
            self.folder.cleanup()
            self.loop.close()


def read(usd: str) -> int:
    return -money.parse(usd[1:]) if usd.startswith("-") else money.parse(usd)


Books.TestCase.settings = settings(
    max_examples=30, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestBooks = Books.TestCase
