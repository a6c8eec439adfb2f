"""Usage: tokens and money together, by model, key, project, hour or day; the ledger's figures, to the last digit."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, get_args

import msgspec
from litestar import Response, Router, get
from litestar.params import FromQuery

from techstone.control.console import table
from techstone.control.console.charts import Chart, Span, plot
from techstone.control.console.pages import Pages, seat_of, visitor_of
from techstone.control.console.session import PageRequest
from techstone.control.ledger.records import NO_PROJECT
from techstone.core import money

if TYPE_CHECKING:
    from collections.abc import Sequence

    from techstone.control.ledger.records import Line, UsageShown

Range = Literal["24h", "7d", "30d", "90d"]
Group = Literal["model", "key", "project", "hour", "day"]
_SECONDS: dict[Range, int] = {"24h": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400, "90d": 90 * 86_400}


# Seconds of a point of what is drawn: 24, 28, 30, 90 of them.
_STEPS: dict[Range, int] = {"24h": 3600, "7d": 6 * 3600, "30d": 86_400, "90d": 86_400}
_NOT_IN_ANY = {NO_PROJECT: "No project"}
_FORMS: dict[Group, str] = {"hour": "%Y-%m-%d %H:00", "day": "%Y-%m-%d"}


class Total(msgspec.Struct, frozen=True):
    """What a table comes to."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: str


def route_usage(pages: Pages) -> Router:
    """Return the routes under /console/usage."""
    services, shell = pages.services, pages.shell

    async def ask(request: PageRequest, span: Range, by: Group, project: str) -> tuple[UsageShown, ...]:
        seat = seat_of(request, "usage.read")
        since = services.now() - _SECONDS[span]
        found = await services.ledger.sum_usage(seat.account, since, by, project or None)
        if by == "key":
            names = {key.id: f"{key.name} ({key.hint})" for key in await services.keys.list(seat.account)}
            return _sort([msgspec.structs.replace(one, group=names.get(one.group, one.group)) for one in found])
        if by == "model":
            return _sort(found)
        if by == "project":
            names = {one.id: one.name for one in await services.projects.list(seat.account)} | _NOT_IN_ANY
            return _sort([msgspec.structs.replace(one, group=names.get(one.group, one.group)) for one in found])
        if by in _FORMS:
            return tuple(msgspec.structs.replace(one, group=_write_start(one.group, by)) for one in found)
        return found

    async def draw(account: str, span: Range, by: Group, project: str) -> tuple[Chart, ...]:
        line: Line = "key" if by == "key" or project else "model"
        over = Span(services.now() - _SECONDS[span] + _STEPS[span], services.now(), _STEPS[span])
        buckets = await services.ledger.sum_over_time(account, over.since, line, over.step)
        if project:  # of its keys alone, so by key
            own = await services.ledger.list_project_keys(account, project)
            buckets = tuple(bucket for bucket in buckets if bucket.group in own)
        names = {key.id: f"{key.name} ({key.hint})" for key in await services.keys.list(account)}
        return plot(buckets, over, names) if buckets else ()

    @get("/")
    async def show(
        request: PageRequest,
        span: FromQuery[Range] = "24h",
        by: FromQuery[Group] = "model",
        project: FromQuery[str] = "",
    ) -> Response[str]:
        rows = await ask(request, span, by, project)
        return shell.show(
            request,
            "usage.html",
            visitor_of(request),
            rows=rows,
            charts=await draw(seat_of(request, "usage.read").account, span, by, project),
            total=add(rows),
            span=span,
            by=by,
            project=project,
            projects=await services.projects.list(seat_of(request, "usage.read").account),
            spans=get_args(Range),
            groups=get_args(Group),
        )

    @get("/usage.csv")
    async def export(
        request: PageRequest,
        span: FromQuery[Range] = "24h",
        by: FromQuery[Group] = "model",
        project: FromQuery[str] = "",
    ) -> Response[str]:
        rows = await ask(request, span, by, project)
        return table.send(write_csv(rows, by), f"usage-{span}-by-{by}")

    return Router("/console/usage", route_handlers=[show, export])


def _sort(rows: Sequence[UsageShown]) -> tuple[UsageShown, ...]:
    """Return what cost most first."""
    return tuple(sorted(rows, key=lambda row: (-money.parse(row.cost), row.group)))


def _write_start(seconds: str, by: Group) -> str:
    """Return the beginning of an hour or day, UTC, as people read it."""
    return time.strftime(_FORMS[by], time.gmtime(int(seconds)))


def add(rows: Sequence[UsageShown]) -> Total:
    """Return the sums of the rows; money exactly."""
    return Total(
        sum(row.requests for row in rows),
        sum(row.prompt_tokens for row in rows),
        sum(row.completion_tokens for row in rows),
        money.show(sum(money.parse(row.cost) for row in rows)),
    )


def write_csv(rows: Sequence[UsageShown], by: str) -> str:
    """Return the rows as CSV."""
    names = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "cost")
    return table.write(
        [by, *names[:-1], "cost_usd"], ([row.group, *(getattr(row, name) for name in names)] for row in rows)
    )
