"""The invariants of the ledger see what they are there for: books that are spoilt by hand, one rule at a time."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from techstone.adapters.storage import invariants
from techstone.adapters.storage.sqlite import open_store
from techstone.control.accounts.records import Account
from techstone.core.usage import UsageRecord

if TYPE_CHECKING:
    from pathlib import Path

_AT = 4_000_000_000_000  # in 2096: nothing that is open is overdue by today's clock
_JOURNAL = "a" * 16
_SPOILT = {
    "cached sums equal the transfers": "UPDATE accounts SET spent_nano = spent_nano + 1",
    "a settled request has one charge of its cost, others none": "UPDATE requests SET cost_nano = 8 WHERE id = 'req_1'",
    "every charge is a request's": "UPDATE transfers SET request = 'req_x' WHERE request = 'req_1'",
    "what is held is held for open requests": "UPDATE requests SET held_nano = 6 WHERE state = 'open'",
    "no open request is overdue": "UPDATE journals SET heard_at = 5000000000",
    "hourly rollups equal the settled requests": "UPDATE requests SET model = 'other' WHERE id = 'req_2'",
    "daily rollups equal the hourly ones": "UPDATE rollups_daily SET prompt_tokens = prompt_tokens + 1",
    "hourly totals equal the rollups": "DELETE FROM totals_hourly WHERE grouping = 'account'",
    "daily totals equal the rollups": "UPDATE totals_daily SET cost_nano = cost_nano + 1 WHERE grouping = 'model'",
    "no journal has gaps": "UPDATE journals SET gaps = 1",
    "prepaid credit is never below zero": "UPDATE accounts SET granted_nano = 0",
}


def _record(number: int, state: str, **more: int) -> UsageRecord:
    return UsageRecord(
        f"req_{number}", state, "acct_a", "key_a", "m", "up", "x", 200, True, _AT + number * 86_400_000, 1, 2,  # type: ignore[arg-type]  # tests name states as text
        5, 1, 2, 0, more.get("cost", 0), more.get("held", 0), 1,
    )  # fmt: skip


def test_every_rule_is_spoilt_here() -> None:
    """A rule that comes in must show that it sees something."""
    assert set(_SPOILT) == set(invariants.QUERIES) | set(invariants.DAYS)


@pytest.mark.parametrize("rule", _SPOILT)
async def test_rule_finds_books_that_are_spoilt(rule: str, tmp_path: Path) -> None:
    """Books in order break no rule; spoilt ones break this one, also when it is asked quickly if it can be."""
    store = await open_store(tmp_path / "t.db")
    await store.add_account(Account("acct_a", "a@example.com", "payg", 1000))
    records = [
        _record(1, "settled", cost=7),
        _record(2, "settled", cost=3),
        _record(3, "void"),
        _record(4, "open", held=5),
    ]
    await store.ledger.apply(_JOURNAL, 1, records)
    assert await store.ledger.check(["payg"]) == ()
    with contextlib.closing(sqlite3.connect(tmp_path / "t.db")) as database:
        database.execute(_SPOILT[rule])
        database.commit()
    for quick in (False, True):
        found = {violation.rule for violation in await store.ledger.check(["payg"], quick=quick)}
        assert (rule in found) is (not quick or rule in invariants.QUICK)
    await store.close()
