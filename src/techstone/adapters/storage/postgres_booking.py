"""Booking in PostgreSQL: a batch of records, or a re-rating, is one transaction on the driver itself.

Every request of every gateway comes through here. A batch goes over as arrays, one a column, so that it takes seven
turns to the server whatever its size; what follows from its rows (an account's sums, the rollups, their totals) is
added up there.

One transaction books at a time, whichever control plane began it: it takes a lock before it reads anything. They would
wait for each other in any case, at the totals of everybody. So they do it at the door: each finds what the ones before
it wrote, and no two wait for each other in a circle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.adapters.storage.batch import COLUMNS, REPLACE, Batch
from techstone.adapters.storage.usage import COUNTS, DAY, HOUR
from techstone.core.ledger import BOOKS, Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asyncpg import Connection

    from techstone.adapters.storage.batch import Bucket
    from techstone.control.ledger.records import Rating, Run
    from techstone.core.ledger import Kind

# Keys of advisory locks: any numbers, but the same ones in every version. CHANGES is taken before BOOKING, never after.
CHANGES, BOOKING = 7_348_001, 7_348_002

_BEGIN = f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({BOOKING})"
_BEGIN_CHANGE = (
    f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({CHANGES}); "
    f"SELECT pg_advisory_xact_lock({BOOKING})"
)
_TEXTS = {"id", "state", "account", "key", "model", "provider", "upstream_model", "error_code", "journal"}
_TYPES = ["text" if name in _TEXTS else "boolean" if name == "stream" else "bigint" for name in COLUMNS]


def _arrays(types: Iterable[str], first: int = 1) -> str:
    return ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(types, first))


# The journal's last number, as the row without an id, and how the batch's requests stand.
_FIND = (
    "SELECT '' AS id, '' AS state, applied AS nano FROM journals WHERE id = $1 "
    "UNION ALL SELECT id, state, held_nano FROM requests WHERE id = ANY($2::text[])"
)
_PUT = f"INSERT INTO requests ({', '.join(COLUMNS)}) SELECT * FROM unnest({_arrays(_TYPES)}) {REPLACE}"  # noqa: S608 - constants
_MOVES = f"""
    INSERT INTO transfers (at, kind, debit, credit, account, nano, request)
    SELECT at, kind, debit, credit, account, nano, request
    FROM unnest({_arrays(("bigint", "text", "text", "text", "text", "bigint", "text"))}) WITH ORDINALITY
    AS moves (at, kind, debit, credit, account, nano, request, place) ORDER BY place
    RETURNING account, kind, nano
"""  # noqa: S608 - constants
_SPEND = f"""
WITH moved AS ({_MOVES}), sums AS (
    SELECT account, sum(CASE kind WHEN 'charge' THEN nano ELSE 0 END)::bigint AS spent,
        sum(CASE kind WHEN 'hold' THEN nano WHEN 'release' THEN -nano ELSE 0 END)::bigint AS held
    FROM moved GROUP BY account
)
UPDATE accounts SET spent_nano = spent_nano + sums.spent, held_nano = held_nano + sums.held
FROM sums WHERE accounts.id = sums.account
"""  # noqa: S608 - constants
_CORRECT = f"""
WITH moved AS ({_MOVES}), sums AS (
    SELECT account, sum(CASE kind WHEN 'refund' THEN nano ELSE -nano END)::bigint AS granted FROM moved GROUP BY account
)
UPDATE accounts SET granted_nano = granted_nano + sums.granted, changed = (SELECT number FROM revision)
FROM sums WHERE accounts.id = sums.account
"""  # noqa: S608 - constants
_NAMES = ", ".join(COUNTS)
_SUMS = ", ".join(f"sum({name})::bigint AS {name}" for name in COUNTS)


def _add_to(table: str) -> str:
    return "DO UPDATE SET " + ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in COUNTS)


def _roll_up(table: str, source: str) -> str:
    return (
        f"INSERT INTO {table} (account, key, model, start, {_NAMES}) "  # noqa: S608 - constants
        f"SELECT account, key, model, start, {_NAMES} FROM {source} "
        f"ON CONFLICT (account, start, key, model) {_add_to(table)}"
    )


def _total(table: str, source: str, *groupings: str) -> str:
    parts = [f"SELECT 'all', '', start, {_SUMS} FROM {source} GROUP BY start"]  # noqa: S608 - constants
    parts += [
        f"SELECT '{name}', {name}, start, {_SUMS} FROM {source} GROUP BY {name}, start"  # noqa: S608 - constants
        for name in groupings
    ]
    return (
        f"INSERT INTO {table} (grouping, name, start, {_NAMES}) {' UNION ALL '.join(parts)} "
        f"ON CONFLICT (grouping, name, start) {_add_to(table)}"
    )


_ROLL = f"""
WITH hours AS (
    SELECT * FROM unnest({_arrays(["text"] * 3 + ["bigint"] * 7)}) AS hours (account, key, model, start, {_NAMES})
), days AS (
    SELECT account, key, model, start / {DAY} * {DAY} AS start, {_SUMS} FROM hours GROUP BY 1, 2, 3, 4
), by_hour AS ({_roll_up("rollups_hourly", "hours")}), by_day AS ({_roll_up("rollups_daily", "days")}),
totals AS ({_total("totals_hourly", "hours", "account")})
{_total("totals_daily", "days", "account", "key", "model")}
"""  # noqa: S608 - constants
_FOLLOW = (
    "INSERT INTO journals (id, applied, gaps, heard_at) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO UPDATE SET "
    "applied = excluded.applied, gaps = journals.gaps + excluded.gaps, heard_at = excluded.heard_at"
)
_RAISE = "UPDATE revision SET number = number + 1"
_RERATE = """
UPDATE requests SET rated_nano = coalesce(rated_nano, cost_nano), cost_nano = ratings.cost, price = ratings.price
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) AS ratings (id, before, cost, price)
WHERE requests.id = ratings.id AND requests.cost_nano = ratings.before AND requests.state = 'settled'
RETURNING requests.id
"""


async def apply(connection: Connection, journal: str, run: Run, now: int) -> int:
    """Book what is new of a run of a journal's records; return the number of the last one booked.

    Nothing is booked where the sender still has what is missing before it. `now` is in unix seconds.
    """
    await connection.execute(_BEGIN)
    try:
        last = await _apply(connection, journal, run, now)
    except BaseException:
        await _undo(connection)
        raise
    await connection.execute("COMMIT")
    return last


async def _apply(connection: Connection, journal: str, run: Run, now: int) -> int:
    first, records = run.first, run.records
    applied, known = 0, {}
    for name, state, nano in await connection.fetch(_FIND, journal, [record.id for record in records]):
        if name:
            known[name] = Standing(state, nano)
        else:
            applied = nano
    gap = max(0, first - applied - 1)
    if gap and run.base < first:
        return applied
    fresh = records[max(0, applied + 1 - first) :]
    last = max(applied, first + len(records) - 1)
    if fresh:
        batch = Batch(journal, known)
        for record in fresh:
            batch.take(record)
        await _write(connection, batch)
    await connection.execute(_FOLLOW, journal, last, gap, now)
    return last


async def _write(connection: Connection, batch: Batch) -> None:
    if batch.rows:
        await connection.execute(_PUT, *zip(*batch.rows.values(), strict=True))
    if batch.moves:
        await connection.execute(_SPEND, *zip(*batch.moves, strict=True))
    await _roll(connection, batch.sums_by_hour)


async def _roll(connection: Connection, hours: dict[Bucket, list[int]]) -> None:
    """Add the hours' sums to the rollups, and to the totals of these."""
    if hours:
        await connection.execute(_ROLL, *zip(*((*bucket, *sums) for bucket, sums in hours.items()), strict=True))


async def rerate(connection: Connection, ratings: Sequence[Rating], now: int) -> None:
    """Give settled requests other costs, with all that follows; one that has its cost already is left alone.

    `now` is in unix milliseconds.
    """
    await connection.execute(_BEGIN_CHANGE)
    try:
        await _rerate(connection, {rating.record.id: rating for rating in ratings}, now)
    except BaseException:
        await _undo(connection)
        raise
    await connection.execute("COMMIT")


async def _rerate(connection: Connection, ratings: dict[str, Rating], now: int) -> None:
    await connection.execute(_RAISE)
    rows = [(name, rating.record.cost, rating.cost, rating.price) for name, rating in ratings.items()]
    changed = {name for (name,) in await connection.fetch(_RERATE, *zip(*rows, strict=True))} if rows else set()
    moves: list[tuple[object, ...]] = []
    hours: dict[Bucket, list[int]] = {}
    for name, rating in ratings.items():
        record, difference = rating.record, rating.cost - rating.record.cost
        if name not in changed or not difference:
            continue
        kind: Kind = "surcharge" if difference > 0 else "refund"
        moves.append((now, kind, *BOOKS[kind], record.account, abs(difference), name))
        bucket = (record.account, record.key, record.model, record.at // 3_600_000 * HOUR)
        hours.setdefault(bucket, [0] * 6)[5] += difference
    if moves:
        await connection.execute(_CORRECT, *zip(*moves, strict=True))
    await _roll(connection, hours)


async def _undo(connection: Connection) -> None:
    """Roll back, unless the connection is gone: then the server has done so."""
    if not connection.is_closed():
        await connection.execute("ROLLBACK")
