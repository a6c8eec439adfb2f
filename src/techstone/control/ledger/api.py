"""The ledger over the internal API: gateways ship their journals here, the command line asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Request, Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from techstone.control.ledger.records import (
    PAGE,
    Applied,
    Following,
    Grouping,
    RatingSpan,
    RequestShown,
    Rerating,
    UsageShown,
    Violation,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.control.ledger.service import Ledger

# One segment of a journal is 16 MiB, and a batch is never more than one.
_LARGEST_BATCH = 64 * 1024 * 1024


def route_journals(ledger: Ledger) -> Router:
    """Return the route that gateways ship their journals to."""

    @post("/journal", request_max_body_size=_LARGEST_BATCH, status_code=200)
    async def book(
        request: Request[Any, Any, Any],
        journal: FromQuery[str],
        first: FromQuery[int],
        base: FromQuery[int | None] = None,
    ) -> Applied:
        return await ledger.book(journal, first, await request.body(), base)

    return Router("/", route_handlers=[book])


def route_ledger(ledger: Ledger, reported: Callable[[str], float | None]) -> Router:
    """Return the routes of usage and checks.

    `reported` says when (unix seconds) the gateway of a journal reported last: it does so without any usage, too.
    """

    @get("/usage/requests")
    async def list_requests(
        since: FromQuery[int], account: FromQuery[str | None] = None, after: FromQuery[str] = ""
    ) -> list[RequestShown]:
        return list(await ledger.list_requests(account, since, after, PAGE))

    @get("/usage")
    async def sum_usage(
        since: FromQuery[int],
        by: FromQuery[Grouping],
        account: FromQuery[str | None] = None,
        project: FromQuery[str | None] = None,
    ) -> list[UsageShown]:
        return list(await ledger.sum_usage(account, since, by, project))

    @get("/ledger/journals/{journal:str}")
    async def find_journal(journal: FromPath[str]) -> Following:
        found = await ledger.find_journal(journal)
        heard = [at for at in (found.heard_at, reported(journal)) if at is not None]
        return Following(found.applied, max(heard, default=None))

    @get("/ledger/violations")
    async def check() -> list[Violation]:
        return list(await ledger.check())

    @post("/ledger/ratings", status_code=200)
    async def rerate(data: JSONBody[RatingSpan]) -> Rerating:
        return await ledger.rerate(data)

    return Router("/", route_handlers=[list_requests, sum_usage, find_journal, check, rerate])
