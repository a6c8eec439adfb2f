"""What must always be true of the ledger, as SQL: each query returns the rows where it is not.

Run after tests, by `techstone ledger check`, and on a timer in production.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, BindParameter, String, bindparam, text

from techstone.adapters.storage.usage import DAY
from techstone.control.ledger.records import Violation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import TextClause

    from techstone.adapters.storage.database import Database

_BALANCES = """
WITH sums AS (
    SELECT account,
        sum(CASE kind WHEN 'grant' THEN nano WHEN 'refund' THEN nano WHEN 'surcharge' THEN -nano ELSE 0 END) AS granted,
        sum(CASE kind WHEN 'charge' THEN nano ELSE 0 END) AS spent,
        sum(CASE kind WHEN 'hold' THEN nano WHEN 'release' THEN -nano ELSE 0 END) AS held
    FROM transfers GROUP BY account
)
SELECT 'account ' || id, coalesce(granted, 0) || '/' || coalesce(spent, 0) || '/' || coalesce(held, 0),
    granted_nano || '/' || spent_nano || '/' || held_nano
FROM accounts LEFT JOIN sums ON sums.account = accounts.id
WHERE granted_nano <> coalesce(granted, 0) OR spent_nano <> coalesce(spent, 0) OR held_nano <> coalesce(held, 0)
"""
_CHARGES = """
WITH sums AS (
    SELECT request, sum(CASE kind WHEN 'charge' THEN 1 ELSE 0 END) AS times,
        sum(CASE kind WHEN 'refund' THEN -nano ELSE nano END) AS nano
    FROM transfers WHERE kind IN ('charge', 'refund', 'surcharge') GROUP BY request
)
SELECT 'request ' || id, CASE WHEN state = 'settled' THEN cost_nano ELSE 0 END,
    coalesce(nano, 0) || ' in ' || coalesce(times, 0) || ' charges'
FROM requests LEFT JOIN sums ON sums.request = requests.id
WHERE coalesce(nano, 0) <> CASE WHEN state = 'settled' THEN cost_nano ELSE 0 END
    OR coalesce(times, 0) > 1
"""
_ORPHANS = """
SELECT 'charge ' || transfers.number, 'a request', transfers.request FROM transfers
LEFT JOIN requests ON requests.id = transfers.request WHERE transfers.kind = 'charge' AND requests.id IS NULL
"""
_HOLDS = """
SELECT 'account ' || accounts.id, coalesce(held, 0), held_nano FROM accounts LEFT JOIN (
    -- An expression is not found in the index of accounts, which has every request: ix_requests_open is read instead.
    SELECT account || '' AS account, sum(held_nano) AS held FROM requests WHERE state = 'open' GROUP BY 1
) AS open ON open.account = accounts.id WHERE held_nano <> coalesce(held, 0)
"""
_OVERDUE = """
SELECT 'request ' || requests.id, 'ended within 60 s of its last record', 'open since ' || requests.at
FROM requests JOIN journals ON journals.id = requests.journal
WHERE requests.state = 'open' AND requests.at / 1000 + requests.duration / 1000000 + 60 < journals.heard_at
"""
_DIFFERENCE = """
SELECT '{table} ' || {names}, 'equal sums',
    requests || ' requests, ' || tokens || ' tokens, ' || cost || ' nano in one of the two only'
FROM (SELECT * FROM sums EXCEPT SELECT * FROM kept) AS more UNION ALL
SELECT '{table} ' || {names}, 'equal sums',
    requests || ' requests, ' || tokens || ' tokens, ' || cost || ' nano in one of the two only'
FROM (SELECT * FROM kept EXCEPT SELECT * FROM sums) AS fewer
"""
_SUMS = "sum(requests) AS requests, sum(prompt_tokens + completion_tokens) AS tokens, sum(cost_nano) AS cost"
_KEPT = "requests, prompt_tokens + completion_tokens AS tokens, cost_nano AS cost"
_BUCKET = "account || ' ' || key || ' ' || model || ' ' || start"
_HOURS = f"""
WITH sums AS (
    SELECT account, key, model, at / 1000 / 3600 * 3600 AS start, count(*) AS requests,
        sum(prompt_tokens + completion_tokens) AS tokens, sum(cost_nano) AS cost
    FROM requests WHERE at >= :start * 1000 AND at < :end * 1000 AND state = 'settled' GROUP BY 1, 2, 3, 4
), kept AS (
    SELECT account, key, model, start, {_KEPT} FROM rollups_hourly
    WHERE start >= :start AND start < :end AND requests > 0
)
{_DIFFERENCE.format(table="rollups_hourly", names=_BUCKET)}
"""  # noqa: S608 - constants
_DAYS = f"""
WITH sums AS (
    SELECT account, key, model, start / 86400 * 86400 AS start, {_SUMS} FROM rollups_hourly
    WHERE start >= :start AND start < :end AND requests > 0 GROUP BY 1, 2, 3, 4
), kept AS (
    SELECT account, key, model, start, {_KEPT} FROM rollups_daily
    WHERE start >= :start AND start < :end AND requests > 0
)
{_DIFFERENCE.format(table="rollups_daily", names=_BUCKET)}
"""  # noqa: S608 - constants
_GAPS = "SELECT 'journal ' || id, '0 records missing', gaps || ' records missing' FROM journals WHERE gaps > 0"
_OVERDRAFT = """
SELECT 'account ' || accounts.id, 'at least 0', granted_nano - spent_nano - held_nano FROM accounts
WHERE plan IN :prepaid AND granted_nano - spent_nano - held_nano < 0
"""


def _compare_totals(size: str, *groupings: str) -> str:
    groups = [
        f"SELECT '{grouping}' AS grouping, {name} AS name, start, {_SUMS} FROM rollups_{size} "  # noqa: S608 - constants
        "WHERE requests > 0 GROUP BY 2, 3"
        for grouping, name in (("all", "''"), *zip(groupings, groupings, strict=True))
    ]
    kept = f"SELECT grouping, name, start, {_KEPT} FROM totals_{size} WHERE requests > 0"  # noqa: S608 - constants
    difference = _DIFFERENCE.format(table=f"totals_{size}", names="grouping || ' ' || name || ' ' || start")
    return f"WITH sums AS ({' UNION ALL '.join(groups)}), kept AS ({kept}) {difference}"


QUERIES = {
    "cached sums equal the transfers": _BALANCES,
    "a settled request has one charge of its cost, others none": _CHARGES,
    "every charge is a request's": _ORPHANS,
    "what is held is held for open requests": _HOLDS,
    "no open request is overdue": _OVERDUE,
    "hourly totals equal the rollups": _compare_totals("hourly", "account"),
    "daily totals equal the rollups": _compare_totals("daily", "account", "key", "model"),
    "no journal has gaps": _GAPS,
    "prepaid credit is never below zero": _OVERDRAFT,
}
# Asked of each day by itself.
DAYS = {
    "hourly rollups equal the settled requests": _HOURS,
    "daily rollups equal the hourly ones": _DAYS,
}
# The first day from :start on that has anything.
_NEXT_DAY = """
SELECT min(second) / 86400 * 86400 FROM (
    SELECT min(at) / 1000 AS second FROM requests WHERE at >= :start * 1000
    UNION ALL SELECT min(start) FROM rollups_hourly WHERE start >= :start
    UNION ALL SELECT min(start) FROM rollups_daily WHERE start >= :start
) AS found
"""
# What can be asked every minute of a ledger of any size: no query of these reads all requests or transfers.
QUICK = (
    "what is held is held for open requests",
    "no open request is overdue",
    "no journal has gaps",
    "prepaid credit is never below zero",
)
_LONGEST = 100


async def check(database: Database, prepaid: Sequence[str], *, quick: bool = False) -> tuple[Violation, ...]:
    """Return what does not hold, at most 100 rows a rule.

    Each query reads the state of a moment of its own: of 10 million requests all of them take minutes, and as long as
    one moment is read, SQLite's log of changes only grows.
    """
    found: list[Violation] = []
    for rule, query in QUERIES.items():
        if rule in QUICK or not quick:
            found += await _ask(database, rule, query, {"prepaid": list(prepaid)} if ":prepaid" in query else {})
    if not quick:
        found += await _check_days(database)
    return tuple(found)


async def _check_days(database: Database) -> list[Violation]:
    found: dict[str, list[Violation]] = {rule: [] for rule in DAYS}
    start = 0
    while True:
        async with database.look(patient=True) as connection:
            day = await connection.scalar(_phrase(_NEXT_DAY), {"start": start})
        if day is None:
            return [violation for rule in DAYS for violation in found[rule][:_LONGEST]]
        start = int(day) + DAY
        for rule, query in DAYS.items():
            found[rule] += await _ask(database, rule, query, {"start": day, "end": start})


async def _ask(database: Database, rule: str, query: str, values: dict[str, object]) -> list[Violation]:
    async with database.look(patient=True) as connection:
        rows = await connection.execute(_phrase(query), values)
        return [Violation(rule, *map(str, row)) for row in rows.fetchmany(_LONGEST)]


def _phrase(query: str) -> TextClause:
    """Return the query with the types of its values: in milliseconds a time is no 32-bit number."""
    values: list[BindParameter[Any]] = [
        bindparam(name, type_=BigInteger) for name in ("start", "end") if f":{name}" in query
    ]
    if ":prepaid" in query:
        values.append(bindparam("prepaid", type_=String, expanding=True))
    return text(query).bindparams(*values)
