"""What must always be true of the ledger, as SQL: each query returns the rows where it is not.

Run after tests, by `techstone ledger check`, and on a timer in production.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from techstone.control.ledger.records import Violation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

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
    SELECT request, sum(kind = 'charge') AS times, sum(CASE kind WHEN 'refund' THEN -nano ELSE nano END) AS nano
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
    SELECT account, sum(held_nano) AS held FROM requests WHERE state = 'open' GROUP BY account
) AS open ON open.account = accounts.id WHERE held_nano <> coalesce(held, 0)
"""
_OVERDUE = """
SELECT 'request ' || requests.id, 'ended within 60 s of its last record', 'open since ' || requests.at
FROM requests JOIN journals ON journals.id = requests.journal
WHERE requests.state = 'open' AND requests.at / 1000 + requests.duration / 1000000 + 60 < journals.heard_at
"""
_ROLLUPS = """
WITH sums AS (
    SELECT account, key, model, at / 1000 / {size} * {size} AS start, count(*) AS requests,
        sum(prompt_tokens + completion_tokens) AS tokens, sum(cost_nano) AS cost
    FROM requests WHERE state = 'settled' GROUP BY 1, 2, 3, 4
), kept AS (
    SELECT account, key, model, start, requests, prompt_tokens + completion_tokens AS tokens, cost_nano AS cost
    FROM {table} WHERE requests > 0
)
SELECT '{table} ' || account || ' ' || key || ' ' || model || ' ' || start, 'equal sums',
    requests || ' requests, ' || tokens || ' tokens, ' || cost || ' nano in one of the two only'
FROM (SELECT * FROM sums EXCEPT SELECT * FROM kept) UNION ALL
SELECT '{table} ' || account || ' ' || key || ' ' || model || ' ' || start, 'equal sums',
    requests || ' requests, ' || tokens || ' tokens, ' || cost || ' nano in one of the two only'
FROM (SELECT * FROM kept EXCEPT SELECT * FROM sums)
"""
_GAPS = "SELECT 'journal ' || id, '0 records missing', gaps || ' records missing' FROM journals WHERE gaps > 0"
_OVERDRAFT = """
SELECT 'account ' || accounts.id, 'at least 0', granted_nano - spent_nano - held_nano FROM accounts
WHERE plan IN (SELECT value FROM json_each(:prepaid)) AND granted_nano - spent_nano - held_nano < 0
"""

QUERIES = {
    "cached sums equal the transfers": _BALANCES,
    "a settled request has one charge of its cost, others none": _CHARGES,
    "every charge is a request's": _ORPHANS,
    "what is held is held for open requests": _HOLDS,
    "no open request is overdue": _OVERDUE,
    "hourly rollups equal the settled requests": _ROLLUPS.format(table="rollups_hourly", size=3600),
    "daily rollups equal the settled requests": _ROLLUPS.format(table="rollups_daily", size=86_400),
    "no journal has gaps": _GAPS,
    "prepaid credit is never below zero": _OVERDRAFT,
}
# What can be asked every minute of a ledger of any size: no query of these reads all requests or transfers.
QUICK = (
    "what is held is held for open requests",
    "no open request is overdue",
    "no journal has gaps",
    "prepaid credit is never below zero",
)
_LONGEST = 100


async def check(connection: AsyncConnection, prepaid: Sequence[str], *, quick: bool = False) -> tuple[Violation, ...]:
    """Return what does not hold, at most 100 rows a rule."""
    names = "[" + ",".join(f'"{name}"' for name in prepaid) + "]"
    found: list[Violation] = []
    for rule, query in QUERIES.items():
        if quick and rule not in QUICK:
            continue
        rows = await connection.execute(text(query), {"prepaid": names} if ":prepaid" in query else {})
        found += [Violation(rule, *map(str, row)) for row in rows.fetchmany(_LONGEST)]
    return tuple(found)
