"""Logs: every request of the account, newest first; what is looked for stands in the URL."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlencode

import msgspec
from litestar import Response, Router, get
from litestar.params import FromPath

from techstone.control.console.pages import Pages, seat_of, visitor_of
from techstone.control.console.remedies import advise_refusal, advise_request
from techstone.control.console.session import PageRequest, read_query
from techstone.control.console.shell import go
from techstone.control.ledger.records import RequestFilter, RequestPage, RequestShown
from techstone.control.reports.records import Refusal, RefusalFilter
from techstone.core.errors import InvalidRequest, RequestNotFound

if TYPE_CHECKING:
    from techstone.control.ledger.records import RequestDetail
    from techstone.control.transcripts.records import TranscriptShown

_ROWS = 50
_HOURS: dict[str, int] = {"1h": 1, "24h": 24, "7d": 7 * 24, "30d": 30 * 24, "90d": 90 * 24}
_REQUEST_ID = "req_"

Wanted = Literal["all", "ok", "failed", "refused"]
"""As `Outcome`, and those that were refused before they were admitted, which are failed ones, too."""


class Line(msgspec.Struct, frozen=True):
    """A row: a request that was admitted, or one that was refused. `at` is in unix milliseconds."""

    id: str
    at: int
    request: RequestShown | None = None
    refusal: Refusal | None = None


class Search(msgspec.Struct, forbid_unknown_fields=True):
    """What is looked for. `find` is a request's id; `slow` the least duration in ms; `before` where a page begins."""

    span: str = "24h"
    status: Wanted = "all"
    model: str = ""
    key: str = ""
    project: str = ""
    error: str = ""
    slow: Annotated[int, msgspec.Meta(ge=0, le=10**9)] | None = None
    find: str = ""
    before: str = ""

    def address(self, **changes: object) -> str:
        """Return the URL of this search, with some of it changed; what is as always is left out."""
        values = msgspec.structs.asdict(self) | {"before": ""} | changes
        usual = msgspec.structs.asdict(Search())
        query = urlencode({name: value for name, value in values.items() if value != usual[name] and value is not None})
        return "/console/logs" + (f"?{query}" if query else "")

    @property
    def tail(self) -> str:
        """The URL of the newest rows of this search."""
        return self.address().replace("/console/logs", "/console/logs/tail", 1)


def route_logs(pages: Pages) -> Router:
    """Return the routes under /console/logs."""
    services, shell = pages.services, pages.shell

    @get("/")
    async def show(request: PageRequest) -> Response[str]:
        seat = seat_of(request, "logs.read")
        search = _read(request)
        if search.find.startswith(_REQUEST_ID):
            return go(f"/console/logs/{search.find}")
        page, lines = await _find(pages, seat.account, search)
        keys = {key.id: key for key in await services.keys.list(seat.account)}
        models = await services.catalog.list_models()
        return shell.show(
            request,
            "logs/list.html",
            visitor_of(request),
            page=page,
            lines=lines,
            search=search,
            keys=keys,
            models=models,
            projects=await services.projects.list(seat.account),
            spans=tuple(_HOURS),
        )

    @get("/tail")
    async def follow(request: PageRequest) -> Response[str]:
        seat = seat_of(request, "logs.read")
        search = msgspec.structs.replace(_read(request), before="")
        _, lines = await _find(pages, seat.account, search)
        keys = {key.id: key for key in await services.keys.list(seat.account)}
        return shell.show(request, "logs/tail.html", visitor_of(request), lines=lines, keys=keys)

    @get("/{request_id:str}")
    async def show_one(request: PageRequest, request_id: FromPath[str]) -> Response[str]:
        seat = seat_of(request, "logs.read")
        found = await services.ledger.find_request(seat.account, request_id)
        refusal = await services.reports.find(seat.account, request_id) if found is None else None
        keys = {key.id: key for key in await services.keys.list(seat.account)}
        if found is not None:
            failed = found.state != "open" and (found.error_code or found.status >= 400)
            advice = advise_request(found) if failed else None
            key = keys.get(found.key)
            transcript = await services.transcripts.find(seat.account, request_id)
            return shell.show(
                request,
                "logs/one.html",
                visitor_of(request),
                found=found,
                key=key,
                advice=advice,
                curl=write_curl(shell.public_url, found, transcript),
                transcript=transcript,
                on_offer=services.catalog.has_model(found.model),
            )
        if refusal is None:
            raise RequestNotFound
        return shell.show(
            request,
            "logs/refusal.html",
            visitor_of(request),
            found=refusal,
            key=keys.get(refusal.key),
            advice=advise_refusal(refusal),
        )

    return Router("/console/logs", route_handlers=[show, follow, show_one])


async def _find(pages: Pages, account: str, search: Search) -> tuple[RequestPage[RequestShown], list[Line]]:
    """Return a page of requests, and its rows with the refusals of the same time among them, newest first."""
    services = pages.services
    page: RequestPage[RequestShown] = RequestPage(())
    wanted = _filter(search, services.now())
    if search.project:
        own = await services.ledger.list_project_keys(account, search.project)
        wanted = msgspec.structs.replace(wanted, keys=own)
    if search.status != "refused":
        page = await services.ledger.find_requests(account, wanted, search.before, _ROWS)
    lines = [Line(row.request_id, round(row.at * 1000), row) for row in page.rows]
    if search.status == "ok" or search.slow is not None:
        return page, lines
    oldest, newest = wanted.since, None
    if page.more:
        oldest = page.reached if page.partial else lines[-1].at
    if search.before and (before := await services.ledger.find_request(account, search.before)) is not None:
        newest = round(before.at * 1000)
    among = RefusalFilter(oldest, newest, model=wanted.model, key=wanted.key, code=wanted.error_code)
    refusals = await services.reports.list(account, among)
    lines += [
        Line(one.request_id, one.at, refusal=one) for one in refusals if wanted.keys is None or one.key in wanted.keys
    ]
    return page, sorted(lines, key=lambda line: line.at, reverse=True)


def write_curl(public_url: str, found: RequestDetail, transcript: TranscriptShown | None = None) -> str:
    """Return a command that asks as a request did: with its own body, else with its model and whether it streamed."""
    body: dict[str, object] = {"model": found.model, "messages": [{"role": "user", "content": "Hello!"}]}
    if found.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    # A name of a model comes from the configuration and may hold what a shell reads.
    whole = transcript.body if transcript is not None and not transcript.cut else msgspec.json.encode(body).decode()
    quoted = shlex.quote(whole)
    return (
        f"curl {'-N ' if found.stream else ''}{public_url}/v1/chat/completions \\\n"
        '  -H "Authorization: Bearer $TECHSTONE_API_KEY" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d {quoted}"
    )


def _read(request: PageRequest) -> Search:
    search = read_query(request, Search)
    if search.span not in _HOURS:
        raise InvalidRequest(f"span must be one of {', '.join(_HOURS)}.", param="span")
    return search


def _filter(search: Search, now: int) -> RequestFilter:
    return RequestFilter(
        since=(now - _HOURS[search.span] * 3600) * 1000,
        status="all" if search.status == "refused" else search.status,
        model=search.model or None,
        key=search.key or None,
        error_code=search.error or None,
        duration_ms=search.slow or 0,
    )
