"""Requests of an account as they are looked for: page by page, newest first, and never all of them.

The index of accounts has no more than the time, so a search reads each request that it passes. It is given a span of
the index with so many requests as may be read (`_find_bound` counts them in the index alone), and the page says where
it goes on. Failed requests have an index of their own: looked for among these, the others are not passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import column, func, select

from techstone.adapters.storage.dialect import list_values, walk
from techstone.adapters.storage.schema import FAILED, REQUESTS
from techstone.control.ledger.records import SEARCHED, RequestPage, Timing
from techstone.core.usage import UsageRecord

if TYPE_CHECKING:
    from sqlalchemy import ColumnClause, ColumnElement, Row, TextClause
    from sqlalchemy.ext.asyncio import AsyncConnection

    from techstone.control.ledger.records import RequestFilter

    _Conditions = tuple[ColumnElement[bool] | TextClause, ...]

# By name alone, so that a statement is free to say which index of the table it walks.
_c: dict[str, ColumnClause[Any]] = {name: column(name) for name in REQUESTS.c.keys()}  # noqa: SIM118 - no dict


class _Search(NamedTuple):
    """What is read: a span of an index; and what else is asked of each request there."""

    along: str
    span: _Conditions
    wishes: _Conditions


async def find(
    connection: AsyncConnection, account: str, filters: RequestFilter, before: str, limit: int
) -> RequestPage[UsageRecord] | None:
    """Return a page of the account's requests before one of them; None where the account has no such request."""
    last = None
    if before:
        last = await find_one(connection, account, before)
        if last is None:
            return None
    search = _plan(account, filters, last)
    bound = await _find_bound(connection, search) if search.wishes else None
    source = walk(connection, search.along)
    wanted = select(*_c.values()).select_from(source).where(*search.span, *search.wishes).limit(limit + 1)
    if bound is not None:
        wanted = wanted.where(_c["at"] >= bound)
    found = await connection.execute(wanted.order_by(_c["at"].desc(), _c["id"].desc()))
    rows = tuple(map(read_row, found.all()))
    if len(rows) > limit:
        return RequestPage(rows[:limit], rows[limit - 1].id, reached=rows[limit - 1].at)
    if bound is None:
        return RequestPage(rows)
    # Of the bound's millisecond all were looked at, so the next page begins below the least of their ids.
    least = select(func.min(REQUESTS.c.id)).where(REQUESTS.c.account == account, REQUESTS.c.at == bound)
    return RequestPage(rows, str(await connection.scalar(least)), partial=True, reached=bound)


def _plan(account: str, filters: RequestFilter, last: UsageRecord | None) -> _Search:
    at = _c["at"]
    span: list[ColumnElement[bool] | TextClause] = [_c["account"] == account]
    if last is not None:
        span += [at <= last.at, (at < last.at) | (_c["id"] < last.id)]
    if filters.until is not None:
        span.append(at < filters.until)
    if filters.since is not None:
        span.append(at >= filters.since)
    along = "ix_requests_account"
    if filters.status == "failed" or filters.error_code is not None:
        span.append(FAILED)
        along = "ix_requests_failed"
    wishes: list[ColumnElement[bool]] = []
    if filters.status == "ok":
        wishes += [_c["state"] == "settled", _c["status"] < 400, _c["error_code"].is_(None)]
    for name in ("model", "key", "error_code"):
        value = getattr(filters, name)
        if value is not None:
            wishes.append(_c[name] == value)
    if filters.keys is not None:
        wishes.append(_c["key"].in_(select(list_values(filters.keys).c.value)))
    if filters.duration_ms:
        wishes.append(_c["duration"] >= filters.duration_ms * 1000)
    return _Search(along, tuple(span), tuple(wishes))


async def _find_bound(connection: AsyncConnection, search: _Search) -> int | None:
    """Return the time of the last request that may be looked at; None where all may."""
    at = _c["at"]
    passed = select(at).select_from(walk(connection, search.along)).where(*search.span).order_by(at.desc())
    found: int | None = await connection.scalar(passed.limit(1).offset(SEARCHED - 1))
    return found


async def find_one(connection: AsyncConnection, account: str, request_id: str) -> UsageRecord | None:
    """Return the account's request of that id."""
    wanted = select(REQUESTS).where(REQUESTS.c.id == request_id, REQUESTS.c.account == account)
    row = (await connection.execute(wanted)).one_or_none()
    return None if row is None else read_row(row)


async def list_timings(connection: AsyncConnection, since: int, limit: int) -> tuple[Timing, ...]:
    """Return how the newest requests went that were admitted since a unix time in milliseconds, newest first.

    The index is named: among failures alone SQLite might think itself quicker.
    """
    names = ("model", "status", "error_code", "stream", "first_byte", "duration", "state")
    wanted = (
        select(*(_c[name] for name in names))
        .select_from(walk(connection, "ix_requests_at"))
        .where(_c["at"] >= since)
        .order_by(_c["at"].desc())
        .limit(limit)
    )
    rows = (await connection.execute(wanted)).all()
    return tuple(
        Timing(row.model, row.status, row.error_code, bool(row.stream), row.first_byte, row.duration)
        for row in rows
        if row.state != "open"
    )


def read_row(row: Row[tuple[object, ...]]) -> UsageRecord:
    """Return what the row of a request says."""
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
