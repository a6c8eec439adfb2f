"""What moved on an account within a time, from sums: no query here reads the charges one by one.

A day's charges are what its requests cost now, less what was corrected since: each correction is a transfer that names
its request. So they come from the totals by day, and are the charges' own sum exactly (a property test holds the two
equal).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import case, func, select

from techstone.adapters.storage.schema import (
    CREDITED,
    INVOICES,
    REQUESTS,
    ROLLUPS_DAILY,
    TOTALS_DAILY,
    TRANSFERS,
)
from techstone.adapters.storage.usage import DAY
from techstone.control.invoicing import months
from techstone.control.invoicing.records import DaySum, Entry, Line, MonthUsage, Movements

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_DAY_MS = DAY * 1000
_SIGNED = case((TRANSFERS.c.kind == "surcharge", -TRANSFERS.c.nano), else_=TRANSFERS.c.nano)


async def read(connection: AsyncConnection, account: str, start: int, end: int) -> Movements:
    """Return what moved on an account within [start, end), whole days in unix seconds."""
    costs = await _read_costs(connection, account, end)
    corrected = await _read_corrections(connection, account)
    # What a day was charged: what it costs now, less surcharges, plus refunds, of its own requests.
    charges = {day: (requests, cost + corrected.get(day, 0)) for day, (requests, cost) in costs.items()}
    of_account = (TRANSFERS.c.account == account, CREDITED)
    added = int(
        await connection.scalar(
            select(func.coalesce(func.sum(_SIGNED), 0)).where(*of_account, TRANSFERS.c.at < start * 1000)
        )
        or 0
    )
    before = added - sum(cost for day, (_, cost) in charges.items() if day < start)
    within = (*of_account, TRANSFERS.c.at >= start * 1000, TRANSFERS.c.at < end * 1000)
    grants = select(TRANSFERS.c.at, TRANSFERS.c.nano, TRANSFERS.c.note).where(*within, TRANSFERS.c.kind == "grant")
    entries = [
        Entry(row.at // 1000, "grant", row.nano, row.note or "")
        for row in (await connection.execute(grants.order_by(TRANSFERS.c.at, TRANSFERS.c.number))).all()
    ]
    day = TRANSFERS.c.at.op("/")(_DAY_MS)
    corrections = (
        select(day.label("day"), TRANSFERS.c.kind, func.sum(TRANSFERS.c.nano).label("nano"))
        .where(*within, TRANSFERS.c.kind != "grant")
        .group_by(day, TRANSFERS.c.kind)
        .order_by(day, TRANSFERS.c.kind)
    )
    entries += [Entry(row.day * DAY, row.kind, int(row.nano)) for row in (await connection.execute(corrections)).all()]
    days = [DaySum(day, *charges[day]) for day in sorted(charges) if start <= day < end]
    return Movements(before, tuple(entries), tuple(days))


async def _read_costs(connection: AsyncConnection, account: str, end: int) -> dict[int, tuple[int, int]]:
    """Return requests and cost of the account's days before a time, as they are known now."""
    totals = TOTALS_DAILY.c
    wanted = select(totals.start, totals.requests, totals.cost_nano).where(
        totals.grouping == "account", totals.name == account, totals.start < end, totals.requests > 0
    )
    return {start: (requests, cost) for start, requests, cost in (await connection.execute(wanted)).all()}


async def _read_corrections(connection: AsyncConnection, account: str) -> dict[int, int]:
    """Return what was given back (more than 0) or charged besides, by the day on which the requests were admitted."""
    day = REQUESTS.c.at.op("/")(_DAY_MS)
    wanted = (
        select(day, func.sum(_SIGNED))
        .select_from(TRANSFERS)
        .join(REQUESTS, REQUESTS.c.id == TRANSFERS.c.request)
        .where(TRANSFERS.c.account == account, CREDITED, TRANSFERS.c.kind != "grant")
        .group_by(day)
    )
    return {int(number) * DAY: int(nano) for number, nano in (await connection.execute(wanted)).all()}


async def read_month(connection: AsyncConnection, account: str, month: str) -> MonthUsage:
    """Return what the invoice of a month is made of."""
    start, end = months.parse(month)
    rollups = ROLLUPS_DAILY.c
    by_model = (
        select(
            rollups.model,
            func.sum(rollups.cost_nano),
            func.sum(rollups.requests),
            func.sum(rollups.prompt_tokens),
            func.sum(rollups.completion_tokens),
        )
        .where(rollups.account == account, rollups.start >= start, rollups.start < end, rollups.requests > 0)
        .group_by(rollups.model)
        .order_by(rollups.model)
    )
    models = tuple(Line(row[0], *map(int, row[1:])) for row in (await connection.execute(by_model)).all())
    of_account = (INVOICES.c.account == account, INVOICES.c.kind == "invoice")
    before = {
        row.subject: row.nano
        for row in (await connection.execute(select(INVOICES.c.subject, INVOICES.c.nano).where(*of_account))).all()
        if row.subject != month
    }
    costs = await _read_costs(connection, account, end)
    granted = await connection.scalar(
        select(func.sum(TRANSFERS.c.nano)).where(TRANSFERS.c.account == account, CREDITED, TRANSFERS.c.kind == "grant")
    )
    return MonthUsage(
        models=models,
        through=sum(cost for _, cost in costs.values()),
        earlier=sum(cost for day, (_, cost) in costs.items() if months.name(day) in before),
        invoiced=sum(before.values()),
        granted=int(granted or 0),
    )
