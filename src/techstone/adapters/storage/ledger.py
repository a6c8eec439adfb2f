"""The ledger in SQLite: a batch of records is one transaction, with everything that follows from them.

Statements of the driver with many rows at once: SQLAlchemy's own way costs three times as much, and every request of
every gateway comes through here.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

import msgspec
from sqlalchemy import insert, select, update

from techstone.adapters.storage import invariants, usage
from techstone.adapters.storage.database import raise_revision
from techstone.adapters.storage.schema import ACCOUNTS, JOURNALS, REQUESTS, TRANSFERS
from techstone.adapters.storage.usage import COUNTS, DAY, HOUR
from techstone.control.ledger.records import Rating, Spending, Sums, Violation
from techstone.core import ledger, money
from techstone.core.credit import period_of
from techstone.core.ledger import BOOKS, Standing
from techstone.core.usage import UsageRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from techstone.adapters.storage.database import Database
    from techstone.control.ledger.records import Grouping

_K = TypeVar("_K")

_FIND = "SELECT id, state, held_nano FROM requests WHERE id IN (SELECT value FROM json_each(?))"
# In the order of a record's fields.
_COLUMNS = (
    "id, state, account, key, model, provider, upstream_model, status, stream, at, first_byte, duration, "
    "prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens, cost_nano, held_nano, price, error_code, "
    "attempts, journal"
)
_PUT = (
    f"INSERT INTO requests ({_COLUMNS}) VALUES ({', '.join('?' * 22)}) ON CONFLICT (id) DO UPDATE SET "  # noqa: S608 - constants
    "state = excluded.state, provider = excluded.provider, upstream_model = excluded.upstream_model, "
    "status = excluded.status, first_byte = excluded.first_byte, duration = excluded.duration, "
    "prompt_tokens = excluded.prompt_tokens, cached_tokens = excluded.cached_tokens, "
    "completion_tokens = excluded.completion_tokens, reasoning_tokens = excluded.reasoning_tokens, "
    "cost_nano = excluded.cost_nano, held_nano = excluded.held_nano, price = excluded.price, "
    "error_code = excluded.error_code, attempts = excluded.attempts WHERE requests.state = 'open'"
)
_MOVE = "INSERT INTO transfers (at, kind, debit, credit, account, nano, request) VALUES (?, ?, ?, ?, ?, ?, ?)"
_SPEND = "UPDATE accounts SET spent_nano = spent_nano + ?, held_nano = held_nano + ? WHERE id = ?"
_PLUS = ", ".join(f"{name} = {name} + excluded.{name}" for name in COUNTS)
_ROLL = (
    f"INSERT INTO {{table}} (account, key, model, start, {', '.join(COUNTS)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608 - constants
    f"ON CONFLICT (account, start, key, model) DO UPDATE SET {_PLUS}"
)
_TOTAL = (
    f"INSERT INTO {{table}} (grouping, name, start, {', '.join(COUNTS)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608 - constants
    f"ON CONFLICT (grouping, name, start) DO UPDATE SET {_PLUS}"
)
_FOLLOW = (
    "INSERT INTO journals (id, applied, gaps, heard_at) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
    "applied = excluded.applied, gaps = gaps + excluded.gaps, heard_at = excluded.heard_at"
)

_RERATE = (
    "UPDATE requests SET rated_nano = coalesce(rated_nano, cost_nano), cost_nano = ?, price = ? "
    "WHERE id = ? AND cost_nano = ? AND state = 'settled'"
)
_CORRECT = "UPDATE accounts SET granted_nano = granted_nano - ?, changed = ? WHERE id = ?"

# Account, key, model and the hour's first second.
_Bucket = tuple[str, str, str, int]


class SqliteLedger:
    """Implements `LedgerStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def apply(self, journal: str, first: int, records: Sequence[UsageRecord]) -> int:
        """Book what is new of a journal's records from number `first` on; return the number of the last one booked."""
        async with self._database.change() as connection:
            applied = int(await connection.scalar(select(JOURNALS.c.applied).where(JOURNALS.c.id == journal)) or 0)
            gap = max(0, first - applied - 1)
            fresh = records[max(0, applied + 1 - first) :]
            last = max(applied, first + len(records) - 1)
            if fresh:
                await self._book(connection, journal, fresh)
            await connection.exec_driver_sql(_FOLLOW, (journal, last, gap, int(time.time())))
        return last

    async def _book(self, connection: AsyncConnection, journal: str, records: Sequence[UsageRecord]) -> None:
        names = msgspec.json.encode([record.id for record in records]).decode()
        found = await connection.exec_driver_sql(_FIND, (names,))
        known = {row.id: Standing(row.state, row.held_nano) for row in found.all()}
        batch = _Batch(journal, known)
        for record in records:
            batch.take(record)
        if batch.rows:
            await connection.exec_driver_sql(_PUT, list(batch.rows.values()))
        if batch.moves:
            await connection.exec_driver_sql(_MOVE, batch.moves)
            sums = [(spent, held, account) for account, (spent, held) in batch.sums.items()]
            await connection.exec_driver_sql(_SPEND, sums)
        await _roll(connection, batch.sums_by_hour)

    async def grant(self, account: str, nano: int, note: str) -> bool:
        """Add credit; say whether the account can hold so much."""
        async with self._database.change() as connection:
            return await give(connection, account, nano, note)

    async def list_requests(
        self, account: str | None, since: int, after: str = "", limit: int | None = None
    ) -> tuple[tuple[UsageRecord, str], ...]:
        """Return requests since a unix time in milliseconds, oldest first, each with its account's email."""
        wanted = (
            select(REQUESTS, ACCOUNTS.c.email)
            .join(ACCOUNTS, ACCOUNTS.c.id == REQUESTS.c.account, isouter=True)
            .where(REQUESTS.c.at >= since, *_follow(after))
            .order_by(REQUESTS.c.at, REQUESTS.c.id)
            .limit(limit)
        )
        if account is not None:
            wanted = wanted.where(REQUESTS.c.account == account)
        async with self._database.look() as connection:
            rows = (await connection.execute(wanted)).all()
        return tuple((_read(row), row.email or row.account) for row in rows)

    async def sum_usage(self, account: str | None, since: int, by: Grouping) -> tuple[Sums, ...]:
        """Return sums of whole hours (of whole days by day) since a unix time in seconds."""
        async with self._database.look() as connection:
            return await usage.add_up(connection, account, since, by)

    async def read_spending(self, connection: AsyncConnection, now: int) -> Spending:
        """Return what the snapshot tells of spending, within its transaction."""
        period, month = period_of(now), _month_start(now)
        applied = (await connection.execute(select(JOURNALS.c.id, JOURNALS.c.applied))).all()
        return Spending(
            day=period.day,
            accounts_month=await usage.read_spent(connection, "account", month),
            keys_month=await usage.read_spent(connection, "key", month),
            keys_day=await usage.read_spent(connection, "key", period.day * DAY),
            applied={row.id: row.applied for row in applied},
        )

    async def check(self, prepaid: Sequence[str], *, quick: bool = False) -> tuple[Violation, ...]:
        """Return every invariant that does not hold; `prepaid` are the names of prepaid plans."""
        return await invariants.check(self._database, prepaid, quick=quick)

    async def read_settled(self, since: int, until: int, after: str, limit: int) -> tuple[UsageRecord, ...]:
        """Return settled requests admitted within [since, until) (unix ms), oldest first, at most so many."""
        span = (REQUESTS.c.at >= since, REQUESTS.c.at < until)
        wanted = (
            select(REQUESTS)
            .where(REQUESTS.c.state == "settled", *span, *_follow(after))
            .order_by(REQUESTS.c.at, REQUESTS.c.id)
            .limit(limit)
        )
        async with self._database.look() as connection:
            return tuple(_read(row) for row in (await connection.execute(wanted)).all())

    async def rerate(self, ratings: Sequence[Rating]) -> None:
        """Give settled requests other costs, with all that follows; one that has its cost already is left alone."""
        async with self._database.change() as connection:
            changed = await raise_revision(connection)
            now = int(time.time() * 1000)
            for rating in ratings:
                record, difference = rating.record, rating.cost - rating.record.cost
                done = await connection.exec_driver_sql(_RERATE, (rating.cost, rating.price, record.id, record.cost))
                if not done.rowcount or not difference:
                    continue
                kind: ledger.Kind = "surcharge" if difference > 0 else "refund"
                row = (now, kind, *BOOKS[kind], record.account, abs(difference), record.id)
                await connection.exec_driver_sql(_MOVE, row)
                await connection.exec_driver_sql(_CORRECT, (difference, changed, record.account))
                bucket = (record.account, record.key, record.model, record.at // 1000 // HOUR * HOUR)
                await _roll(connection, {bucket: [0, 0, 0, 0, 0, difference]})


class _Batch:
    """What a batch of records comes to, gathered before anything is written."""

    def __init__(self, journal: str, known: dict[str, Standing]) -> None:
        self._journal = journal
        self._known = known
        self.rows: dict[str, tuple[object, ...]] = {}
        self.moves: list[tuple[object, ...]] = []
        self.sums: dict[str, tuple[int, int]] = {}
        self.sums_by_hour: dict[_Bucket, list[int]] = {}

    def take(self, record: UsageRecord) -> None:
        """Take the next record, if it changes anything."""
        name = record.id
        going = ledger.advance(self._known.get(name), record)
        if going is None:
            return
        self._known[name], transfers = going
        self.rows[name] = (*_fields(record), self._journal)
        account = record.account
        for transfer in transfers:
            kind, nano = transfer.kind, transfer.nano
            debit, credit = BOOKS[kind]
            self.moves.append((record.at, kind, debit, credit, account, nano, name))
            spent, held = self.sums.get(account, (0, 0))
            if kind == "charge":
                self.sums[account] = spent + nano, held
            else:
                self.sums[account] = spent, held + (nano if kind == "hold" else -nano)
        if record.state == "settled":
            bucket = (account, record.key, record.model, record.at // 3_600_000 * HOUR)
            sums = self.sums_by_hour.get(bucket)
            if sums is None:
                sums = self.sums_by_hour[bucket] = [0] * 6
            sums[0] += 1
            sums[1] += record.prompt_tokens
            sums[2] += record.cached_tokens
            sums[3] += record.completion_tokens
            sums[4] += record.reasoning_tokens
            sums[5] += record.cost


_fields = msgspec.structs.astuple


async def _roll(connection: AsyncConnection, hours: dict[_Bucket, list[int]]) -> None:
    """Add the hours' sums to the rollups, and to the totals of these."""
    if not hours:
        return
    days: dict[_Bucket, list[int]] = {}
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
        for statement, name, sums in ((_ROLL, "rollups", rolled), (_TOTAL, "totals", totals)):
            rows = [(*bucket, *counts) for bucket, counts in sums.items()]
            await connection.exec_driver_sql(statement.format(table=f"{name}_{size}"), rows)


def _add(sums: dict[_K, list[int]], bucket: _K, counts: list[int]) -> None:
    known = sums.get(bucket)
    sums[bucket] = list(counts) if known is None else [a + b for a, b in zip(known, counts, strict=True)]


def _follow(after: str) -> tuple[ColumnElement[bool], ...]:
    """Return the condition of what comes after a request (its id; "": after none) by time of admission and id."""
    if not after:
        return ()
    at = select(REQUESTS.c.at).where(REQUESTS.c.id == after).scalar_subquery()
    return (REQUESTS.c.at >= at, (REQUESTS.c.at > at) | (REQUESTS.c.id > after))


async def give(connection: AsyncConnection, account: str, nano: int, note: str) -> bool:
    """Add credit within a transaction; say whether the account can hold so much."""
    granted = int(await connection.scalar(select(ACCOUNTS.c.granted_nano).where(ACCOUNTS.c.id == account)) or 0)
    if granted + nano > money.LARGEST:
        return False
    changed = await raise_revision(connection)
    topped = {"topped_granted_nano": granted + nano, "topped_spent_nano": ACCOUNTS.c.spent_nano}
    await connection.execute(
        update(ACCOUNTS).where(ACCOUNTS.c.id == account).values(granted_nano=granted + nano, changed=changed, **topped)
    )
    await note_grant(connection, account, nano, note)
    return True


async def note_grant(connection: AsyncConnection, account: str, nano: int, note: str) -> None:
    """Write the transfer of a grant."""
    debit, credit = BOOKS["grant"]
    row = {"at": int(time.time() * 1000), "kind": "grant", "debit": debit, "credit": credit}
    await connection.execute(insert(TRANSFERS).values({**row, "account": account, "nano": nano, "note": note}))


def _read(row: Row[tuple[object, ...]]) -> UsageRecord:
    found = row._mapping  # noqa: SLF001 - SQLAlchemy's documented way to columns by name
    return UsageRecord(
        found["id"],
        found["state"],
        found["account"],
        found["key"],
        found["model"],
        found["provider"],
        found["upstream_model"],
        found["status"],
        bool(found["stream"]),
        found["at"],
        found["first_byte"],
        found["duration"],
        found["prompt_tokens"],
        found["cached_tokens"],
        found["completion_tokens"],
        found["reasoning_tokens"],
        found["cost_nano"],
        found["held_nano"],
        found["price"],
        found["error_code"],
        found["attempts"],
    )


def _month_start(now: int) -> int:
    """Return the first second of the UTC month that a unix time lies in."""
    moment = time.gmtime(now)
    return (now // DAY - moment.tm_mday + 1) * DAY
