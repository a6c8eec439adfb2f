"""Booking in SQLite: a batch of records, or a re-rating, is one transaction on the driver itself.

Every request of every gateway comes through here. The driver's statements with many rows at once cost a third of
SQLAlchemy's own way, and a thread that runs them all is asked once: by its asynchronous way every statement is three
turns of two threads, 1.5 ms of CPU and ten of them for a batch of one record as of a thousand (measured, 2026-11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from techstone.adapters.storage.batch import COLUMNS, REPLACE, Batch
from techstone.adapters.storage.usage import COUNTS, DAY, HOUR
from techstone.core.ledger import BOOKS, Standing

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from techstone.adapters.storage.batch import Bucket
    from techstone.control.ledger.records import Rating, Run
    from techstone.core.ledger import Kind
    from techstone.core.usage import UsageRecord

_K = TypeVar("_K")

_APPLIED = "SELECT applied FROM journals WHERE id = ?"
_FIND = "SELECT id, state, held_nano FROM requests WHERE id IN (SELECT value FROM json_each(?))"
_PUT = f"INSERT INTO requests ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * 22)}) {REPLACE}"  # noqa: S608 - constants
_MOVE = "INSERT INTO transfers (at, kind, debit, credit, account, nano, request) VALUES (?, ?, ?, ?, ?, ?, ?)"
_SPEND = "UPDATE accounts SET spent_nano = spent_nano + ?, held_nano = held_nano + ? WHERE id = ?"
_PLUS = ", ".join(f"{name} = {name} + excluded.{name}" for name in COUNTS)
ROLL = (
    f"INSERT INTO {{table}} (account, key, model, start, {', '.join(COUNTS)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608 - constants
    f"ON CONFLICT (account, start, key, model) DO UPDATE SET {_PLUS}"
)
TOTAL = (
    f"INSERT INTO {{table}} (grouping, name, start, {', '.join(COUNTS)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608 - constants
    f"ON CONFLICT (grouping, name, start) DO UPDATE SET {_PLUS}"
)
_FOLLOW = (
    "INSERT INTO journals (id, applied, gaps, heard_at) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
    "applied = excluded.applied, gaps = gaps + excluded.gaps, heard_at = excluded.heard_at"
)

_RAISE = "UPDATE revision SET number = number + 1"
_REVISION = "SELECT number FROM revision"
_RERATE = (
    "UPDATE requests SET rated_nano = coalesce(rated_nano, cost_nano), cost_nano = ?, price = ? "
    "WHERE id = ? AND cost_nano = ? AND state = 'settled'"
)
_CORRECT = "UPDATE accounts SET granted_nano = granted_nano - ?, changed = ? WHERE id = ?"


def apply(connection: sqlite3.Connection, journal: str, run: Run, now: int) -> int:
    """Book what is new of a run of a journal's records; return the number of the last one booked.

    Nothing is booked where the sender still has what is missing before it. `now` is in unix seconds.
    """
    first, records = run.first, run.records
    found = connection.execute(_APPLIED, (journal,)).fetchone()
    applied = int(found[0]) if found else 0
    gap = max(0, first - applied - 1)
    if gap and run.base < first:
        return applied
    fresh = records[max(0, applied + 1 - first) :]
    last = max(applied, first + len(records) - 1)
    if fresh:
        _book(connection, journal, fresh)
    connection.execute(_FOLLOW, (journal, last, gap, now))
    return last


def _book(connection: sqlite3.Connection, journal: str, records: Sequence[UsageRecord]) -> None:
    names = msgspec.json.encode([record.id for record in records]).decode()
    batch = Batch(journal, {name: Standing(state, held) for name, state, held in connection.execute(_FIND, (names,))})
    for record in records:
        batch.take(record)
    connection.executemany(_PUT, batch.rows.values())
    if batch.moves:
        connection.executemany(_MOVE, batch.moves)
        sums = [(spent, held, account) for account, (spent, held) in batch.sums.items()]
        connection.executemany(_SPEND, sums)
    _roll(connection, batch.sums_by_hour)


def rerate(connection: sqlite3.Connection, ratings: Sequence[Rating], now: int) -> None:
    """Give settled requests other costs, with all that follows; one that has its cost already is left alone.

    `now` is in unix milliseconds.
    """
    connection.execute(_RAISE)
    (changed,) = connection.execute(_REVISION).fetchone()
    for rating in ratings:
        record, difference = rating.record, rating.cost - rating.record.cost
        done = connection.execute(_RERATE, (rating.cost, rating.price, record.id, record.cost))
        if not done.rowcount or not difference:
            continue
        kind: Kind = "surcharge" if difference > 0 else "refund"
        connection.execute(_MOVE, (now, kind, *BOOKS[kind], record.account, abs(difference), record.id))
        connection.execute(_CORRECT, (difference, changed, record.account))
        bucket = (record.account, record.key, record.model, record.at // 3_600_000 * HOUR)
        _roll(connection, {bucket: [0, 0, 0, 0, 0, difference]})


def _roll(connection: sqlite3.Connection, hours: dict[Bucket, list[int]]) -> None:
    """Add the hours' sums to the rollups, and to the totals of these."""
    days: dict[Bucket, list[int]] = {}
    for (account, key, model, start), counts in hours.items():
        _add(days, (account, key, model, start // DAY * DAY), counts)
    for size, rolled in (("hourly", hours), ("daily", days)):
        totals: dict[tuple[str, str, int], list[int]] = {}
        for (account, key, model, start), counts in rolled.items():
            _add(totals, ("all", "", start), counts)
            _add(totals, ("account", account, start), counts)
            if size == "daily":
                _add(totals, ("key", key, start), counts)
                _add(totals, ("model", model, start), counts)
        for statement, name, sums in ((ROLL, "rollups", rolled), (TOTAL, "totals", totals)):
            rows = [(*bucket, *counts) for bucket, counts in sums.items()]
            connection.executemany(statement.format(table=f"{name}_{size}"), rows)


def _add(sums: dict[_K, list[int]], bucket: _K, counts: list[int]) -> None:
    known = sums.get(bucket)
    sums[bucket] = list(counts) if known is None else [a + b for a, b in zip(known, counts, strict=True)]
