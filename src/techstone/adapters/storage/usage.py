"""Sums of usage, from rollups (by account, key and model) and from totals of them, where everybody is asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, cast, func, select, union_all

from techstone.adapters.storage.dialect import list_values
from techstone.adapters.storage.schema import KEYS, REQUESTS, ROLLUPS_DAILY, ROLLUPS_HOURLY, TOTALS_DAILY, TOTALS_HOURLY
from techstone.control.ledger.records import NEWEST, Bucket, HourSums, Sums

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Column, ColumnElement, CompoundSelect, Select, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from techstone.control.ledger.records import Line, Step, StoredGrouping

    _Part = Select[tuple[str | int, ...]]

HOUR = 3600
DAY = 86_400
COUNTS = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "cost_nano")


async def add_up(
    connection: AsyncConnection,
    account: str | None,
    since: int,
    by: StoredGrouping,
    keys: Collection[str] | None = None,
) -> tuple[Sums, ...]:
    """Return sums of whole hours since a unix time in seconds; by day, of whole days; of all, or of these keys."""
    since = since // HOUR * HOUR
    parts = _divide(account, since, by) if account is None or keys is None else _pick(account, since, by, keys)
    wanted = _sum(union_all(*parts))
    rows = (await connection.execute(wanted.order_by(wanted.selected_columns["group"]))).all()
    return tuple(Sums(str(row[0]), *map(int, row[1:])) for row in rows)


def _divide(account: str | None, since: int, by: StoredGrouping) -> tuple[_Part, ...]:
    """Return where the sums lie: of the day that `since` cuts in hours, of whole days in days."""
    if by in {"day", "hour"}:
        table, start = (TOTALS_DAILY, since // DAY * DAY) if by == "day" else (TOTALS_HOURLY, since)
        grouping, name = ("all", "") if account is None else ("account", account)
        where = (table.c.grouping == grouping, table.c.name == name, table.c.start >= start)
        return (_take(table, table.c.start, *where),)
    midnight = -(-since // DAY) * DAY
    hours = (ROLLUPS_HOURLY.c.start >= since, ROLLUPS_HOURLY.c.start < midnight)
    if account is None:
        days = (TOTALS_DAILY.c.grouping == by, TOTALS_DAILY.c.start >= midnight)
        # Totals lie in the order of their names: summed by themselves they need not be sorted, which takes the longest.
        return (
            _take(ROLLUPS_HOURLY, ROLLUPS_HOURLY.c[by], *hours),
            _sum(_take(TOTALS_DAILY, TOTALS_DAILY.c.name, *days)),
        )
    whole = (ROLLUPS_DAILY.c.account == account, ROLLUPS_DAILY.c.start >= midnight)
    return (
        _take(ROLLUPS_HOURLY, ROLLUPS_HOURLY.c[by], ROLLUPS_HOURLY.c.account == account, *hours),
        _take(ROLLUPS_DAILY, ROLLUPS_DAILY.c[by], *whole),
    )


def _pick(account: str, since: int, by: StoredGrouping, keys: Collection[str]) -> tuple[_Part, ...]:
    """Return where the sums of some keys lie: totals are of all of them, so in the rollups alone."""
    hours, days = ROLLUPS_HOURLY.c, ROLLUPS_DAILY.c
    chosen = select(list_values(keys).c.value)
    if by == "hour":
        where = (hours.account == account, hours.key.in_(chosen), hours.start >= since)
        return (_take(ROLLUPS_HOURLY, hours.start, *where),)
    if by == "day":
        where = (days.account == account, days.key.in_(chosen), days.start >= since // DAY * DAY)
        return (_take(ROLLUPS_DAILY, days.start, *where),)
    midnight = -(-since // DAY) * DAY
    within = (hours.start >= since, hours.start < midnight)
    return (
        _take(ROLLUPS_HOURLY, hours[by], hours.account == account, hours.key.in_(chosen), *within),
        _take(ROLLUPS_DAILY, days[by], days.account == account, days.key.in_(chosen), days.start >= midnight),
    )


def _take(table: Table, group: Column[str] | Column[int], *where: ColumnElement[bool]) -> _Part:
    return select(group.label("group"), *(table.c[name] for name in COUNTS)).where(*where)


def _sum(rows: _Part | CompoundSelect[tuple[str | int, ...]]) -> _Part:
    found = rows.subquery()
    group = found.c["group"]
    return select(group, *(func.sum(found.c[name]).label(name) for name in COUNTS)).group_by(group)


async def read_spent(
    connection: AsyncConnection, grouping: StoredGrouping, since: int, names: Collection[str] | None = None
) -> dict[str, int]:
    """Return the cost in nano-dollars since a day's first second, by account or key; of those of the names, or all."""
    if names is not None and not names:
        return {}
    wanted = (
        select(TOTALS_DAILY.c.name, func.sum(TOTALS_DAILY.c.cost_nano))
        .where(TOTALS_DAILY.c.grouping == grouping, TOTALS_DAILY.c.start >= since)
        .group_by(TOTALS_DAILY.c.name)
    )
    if names is not None:
        wanted = wanted.where(TOTALS_DAILY.c.name.in_(select(list_values(names).c.value)))
    return {name: int(nano) for name, nano in (await connection.execute(wanted)).all()}


async def sum_by_hour(
    connection: AsyncConnection, account: str, since: int, keys: Collection[str] | None
) -> tuple[HourSums, ...]:
    """Return what the account's keys, or these of them, used by the hour since a unix time in seconds."""
    rollups = ROLLUPS_HOURLY.c
    wanted = (
        select(rollups.key, rollups.start, func.sum(rollups.requests), func.sum(rollups.cost_nano))
        .where(rollups.account == account, rollups.start >= since // HOUR * HOUR)
        .group_by(rollups.key, rollups.start)
        .order_by(rollups.key, rollups.start)
    )
    if keys is not None:
        wanted = wanted.where(rollups.key.in_(select(list_values(keys).c.value)))
    return tuple(
        HourSums(key, start, int(times), int(nano))
        for key, start, times, nano in (await connection.execute(wanted)).all()
    )


async def sum_over_time(
    connection: AsyncConnection, account: str, since: int, line: Line, step: Step
) -> tuple[Bucket, ...]:
    """Return what the account's keys or models used by the hour or day since a unix time in seconds."""
    table, size = (ROLLUPS_HOURLY, HOUR) if step == "hour" else (ROLLUPS_DAILY, DAY)
    group, tokens = table.c[line], table.c.prompt_tokens + table.c.completion_tokens
    wanted = (
        select(group, table.c.start, func.sum(table.c.requests), func.sum(tokens), func.sum(table.c.cost_nano))
        .where(table.c.account == account, table.c.start >= since // size * size)
        .group_by(group, table.c.start)
        .order_by(group, table.c.start)
    )
    return tuple(
        Bucket(name, start, *map(int, sums)) for name, start, *sums in (await connection.execute(wanted)).all()
    )


async def read_last_used(connection: AsyncConnection, account: str) -> dict[str, int]:
    """Return when the account's keys were used last (unix ms): exactly, or to the hour of the last settled request."""
    newest = (
        select(REQUESTS.c.key, REQUESTS.c.at)
        .where(REQUESTS.c.account == account)
        .order_by(REQUESTS.c.at.desc())
        .limit(NEWEST)
        .subquery()
    )
    exact = select(newest.c.key, func.max(newest.c.at)).group_by(newest.c.key)
    used = {key: int(at) for key, at in (await connection.execute(exact)).all()}
    day = (
        select(func.max(TOTALS_DAILY.c.start))
        .where(TOTALS_DAILY.c.grouping == "key", KEYS.c.id == TOTALS_DAILY.c.name)
        .scalar_subquery()
    )
    days = (await connection.execute(select(KEYS.c.id, day).where(KEYS.c.account == account))).all()
    others = {start for key, start in days if start is not None and key not in used}
    return {**await _read_last_hours(connection, account, others), **used} if others else used


async def _read_last_hours(connection: AsyncConnection, account: str, days: Collection[int]) -> dict[str, int]:
    """Return the last hour (unix ms) of each key that settled anything on one of the days."""
    hours, listed = ROLLUPS_HOURLY.c, list_values(days)
    day = cast(listed.c.value, BigInteger)
    wanted = (
        select(hours.key, func.max(hours.start))
        .join(listed, (hours.start >= day) & (hours.start < day + DAY))
        .where(hours.account == account)
        .group_by(hours.key)
    )
    return {key: int(start) * 1000 for key, start in (await connection.execute(wanted)).all()}
