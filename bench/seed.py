"""Books of any size: a database with many settled requests, accounts and keys, as if they had been booked one by one.

    .venv/bin/python bench/seed.py FOLDER [--requests 10000000] [--accounts 10000] [--keys 100000]

SQL fills it, because `apply` would take an hour for ten million; a test holds the two to the same rows. Its shape:
traffic that triples in 400 days and has a peak a day, an account with much of all, keys that use some models more than
others, and no sessions: one request says nothing of the next, which is the worst case for rollups.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from techstone.adapters.storage import sqlite_booking
from techstone.adapters.storage.sqlite import open_store
from techstone.adapters.storage.usage import COUNTS
from techstone.core.ledger import BOOKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from techstone.core.ledger import Kind

MODELS, DAYS, OPEN = 20, 400, 20
JOURNALS = ("a" * 16, "b" * 16)
GRANTED = 10**15  # nano-dollars
HELD = 10**7
_DAY = 86_400


@dataclass(frozen=True)
class Shape:
    """How large the books are: settled requests (to a hundred of them there is one void), and who has them.

    `now` is the unix time up to which there are requests.
    """

    requests: int
    accounts: int
    keys_each: int
    now: int


def _draw(factor: int) -> str:
    """Return SQL of a number in [0, 1) that follows from `n`: a square modulo the prime 2^31 - 1, as good as random."""
    return f"((n * {factor} + 12345) % 2147483647 * ((n * {factor} + 12345) % 2147483647) % 2147483647 / 2147483647.0)"


_ACCOUNTS = f"""
WITH RECURSIVE counted (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counted WHERE n + 1 < :accounts)
INSERT INTO accounts (id, email, plan, granted_nano, suspended, created_at, changed, monthly_cap, topped_granted_nano)
SELECT 'acct_' || n, n || '@example.com', iif(n % 2, 'pay-as-you-go', 'pro'), {GRANTED}, 0, :begin, 0,
    iif(n % 4, NULL, {GRANTED}), {GRANTED}
FROM counted
"""  # noqa: S608 - constants
_KEYS = f"""
WITH RECURSIVE counted (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counted WHERE n + 1 < :accounts * :keys_each)
INSERT INTO keys (id, digest, account, name, hint, created_at, changed, daily_cap, monthly_cap)
SELECT 'key_' || n, CAST(printf('%032d', n) AS BLOB), 'acct_' || (n / :keys_each), 'default', 'ts_live_...', :begin, 0,
    iif(n % 2, NULL, {GRANTED}), iif(n % 3, NULL, {GRANTED})
FROM counted
"""  # noqa: S608 - constants
_GRANTS = """
INSERT INTO transfers (at, kind, debit, credit, account, nano, note)
SELECT created_at * 1000, kind, debit, credit, id, granted_nano, 'credit to begin with'
FROM accounts JOIN books ON kind = 'grant'
"""
# A day's requests. Their ids are as two gateways make them: a prefix a life, here of ten days, and a count.
_REQUESTS = f"""
WITH RECURSIVE counted (n) AS (SELECT :first UNION ALL SELECT n + 1 FROM counted WHERE n < :last),
drawn AS MATERIALIZED (
    SELECT n, (n - :first) / (:last - :first + 1.0) AS part,
        CAST(:accounts * pow({_draw(48271)}, 3) AS INT) AS account,
        CAST(:keys_each * pow({_draw(69621)}, 2) AS INT) AS key,
        CAST({MODELS} * pow({_draw(39373)}, 3) AS INT) AS model,
        CAST(20 + 6000 * pow({_draw(16807)}, 4) AS INT) AS prompt,
        CAST(1 + 1500 * pow({_draw(62089)}, 3) AS INT) AS completion,
        CASE WHEN n > :ended THEN 'open' WHEN n % 101 = 0 THEN 'void' ELSE 'settled' END AS state
    FROM counted
), named AS MATERIALIZED (
    SELECT *, account * :keys_each + key AS holder, (account * :keys_each + key) * 7 % {MODELS} AS likes,
        iif(state = 'void', 0, prompt) AS asked, iif(state = 'void', 0, completion) AS told
    FROM drawn
), priced AS MATERIALIZED (SELECT *, (model + likes) % {MODELS} AS price FROM named)
INSERT INTO requests (number, id, account, key, model, provider, upstream_model, state, stream, status, at, first_byte,
    duration, prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens, cost_nano, held_nano, price, attempts,
    error_code, journal)
SELECT n, printf('req_%08x%08x%08x', (:day / 10 * 2 + n % 2) * 48271 % 65521, n % 2, n), 'acct_' || account,
    'key_' || holder, 'm' || price, 'up', 'x' || price, state, n / 3 % 2, iif(state = 'void', 502, 200),
    CAST(iif(state = 'open', :now, :begin + {_DAY} * (:day + part + 0.127 * sin(6.2831853 * part))) * 1000 AS INT),
    200 * told, 200000 + 10000 * told, asked, iif(n % 3, 0, asked / 2), told, iif(price % 4, 0, told / 2),
    price * (asked * 100 + told * 400), iif(state = 'open', {HELD}, 0), price, 1,
    iif(state = 'void', 'upstream_error', NULL), iif(n % 2, '{JOURNALS[1]}', '{JOURNALS[0]}')
FROM priced
"""  # noqa: S608 - constants
# Of every tenth request a record came before its last one: it was held for, and that was given back.
_TWICE = "state <> 'open' AND stream AND number % 5 = 0"
_TRANSFERS = f"""
INSERT INTO transfers (at, kind, debit, credit, account, nano, request)
SELECT at, kind, debit, credit, account, iif(kind = 'charge', cost_nano, {HELD}), id
FROM requests JOIN books ON CASE kind WHEN 'charge' THEN state = 'settled' AND cost_nano > 0
    WHEN 'hold' THEN state = 'open' OR {_TWICE} WHEN 'release' THEN {_TWICE} END
WHERE number BETWEEN :first AND :last ORDER BY number, place
"""  # noqa: S608 - constants
_KEPT = ", ".join(COUNTS)
_ADDED = f"count(*), {', '.join(f'sum({name})' for name in COUNTS[1:])}"
_ROLLUPS = [
    f"""
INSERT INTO {table}_{size} ({names}, start, {_KEPT})
SELECT {values}, at / 1000 / {seconds} * {seconds} AS start, {_ADDED}
FROM requests WHERE number BETWEEN :first AND :last AND state = 'settled' GROUP BY {group}, start
ON CONFLICT {statement.partition("ON CONFLICT")[2]}
"""  # noqa: S608 - constants
    for size, seconds, groupings in (
        ("hourly", 3600, ("account",)),
        ("daily", _DAY, ("account", "key", "model")),
    )
    for table, names, values, group, statement in (
        ("rollups", "account, key, model", "account, key, model", "account, key, model", sqlite_booking.ROLL),
        ("totals", "grouping, name", "'all', ''", "1, 2", sqlite_booking.TOTAL),
        *(("totals", "grouping, name", f"'{name}', {name}", name, sqlite_booking.TOTAL) for name in groupings),
    )
]
_SUMS = """
UPDATE accounts SET spent_nano = spent, held_nano = held FROM (
    SELECT account, sum(nano * (kind = 'charge')) AS spent, sum(nano * ((kind = 'hold') - (kind = 'release'))) AS held
    FROM transfers GROUP BY account
) WHERE account = id
"""
_JOURNALS = f"""
INSERT INTO journals SELECT journal, count(*) + sum({_TWICE}), 0, :now FROM requests GROUP BY journal
"""  # noqa: S608 - constants


@contextlib.contextmanager
def opened(path: Path, shape: Shape) -> Iterator[sqlite3.Connection]:
    """Make a database with all accounts and keys, and give it open for much that need not be durable."""
    asyncio.run(_create(path))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        for pragma in ("journal_mode = MEMORY", "synchronous = OFF", "cache_size = -1000000"):
            database.execute(f"PRAGMA {pragma}")
        database.execute("CREATE TEMP TABLE books (place, kind, debit, credit)")
        order: tuple[Kind, ...] = ("grant", "hold", "release", "charge")
        rows = [(place, kind, *BOOKS[kind]) for place, kind in enumerate(order)]
        database.executemany("INSERT INTO books VALUES (?, ?, ?, ?)", rows)
        for statement in (_ACCOUNTS, _KEYS, _GRANTS):
            database.execute(statement, _name(shape))
        yield database


async def _create(path: Path) -> None:
    store = await open_store(path)
    await store.close()


def fill(path: Path, shape: Shape) -> None:
    """Make the database."""
    ended, last = shape.requests * 101 // 100, 0
    with opened(path, shape) as database:
        for day in range(DAYS):
            share = (day + 1) / DAYS
            first, last = last + 1, int(ended * (share + share * share) / 2)
            names = {"first": first, "last": last + OPEN * (share == 1), "ended": ended, "day": day}
            database.execute("BEGIN")
            for statement in (_REQUESTS, _TRANSFERS, *_ROLLUPS):
                database.execute(statement, _name(shape) | names)
            database.execute("COMMIT")
        database.execute(_SUMS)
        database.execute(_JOURNALS, _name(shape))


def _name(shape: Shape) -> dict[str, int]:
    """Return the shape as the statements name it."""
    begin = shape.now - DAYS * _DAY
    return {"accounts": shape.accounts, "keys_each": shape.keys_each, "now": shape.now, "begin": begin}


def main() -> None:
    """Fill a data folder; print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--requests", type=int, default=10_000_000)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--keys", type=int, default=100_000)
    wish = parser.parse_args()
    path = wish.folder / "techstone.db"
    if path.exists():
        raise SystemExit(f"seed: {path} is there already; nothing was changed")
    wish.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    began = time.monotonic()
    fill(path, Shape(wish.requests, wish.accounts, max(1, wish.keys // wish.accounts), int(time.time())))
    print(f"{path}: {path.stat().st_size / 1e9:.1f} GB in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
