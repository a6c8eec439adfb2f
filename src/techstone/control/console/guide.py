"""Every part of a page in every state: the style guide for who works here, and what pictures are taken of."""

from __future__ import annotations

import math

from litestar import Response, Router, get

from techstone.control.console.charts import Chart, Row, Span
from techstone.control.console.pages import Pages, require_operator, visitor_of
from techstone.control.console.session import PageRequest
from techstone.core.errors import InvalidRequest

_HOURS = 24
_START = 1_798_761_600  # the same always, so that pictures can be compared
_LONG = "a-name-that-is-as-long-as-names-may-be/production-eu-central-1-blue-2027"


def route_guide(pages: Pages) -> Router:
    """Return the route of /console/parts."""

    @get("/console/parts")
    async def show(request: PageRequest) -> Response[str]:
        require_operator(request)
        return pages.shell.show(
            request,
            "guide.html",
            visitor_of(request),
            wrong=InvalidRequest("an amount in USD is digits, such as 5.00.", param="wrong"),
            stack=_make("Tokens by the hour", ("gpt-4o", "claude-sonnet", _LONG), "stack"),
            line=_make("Requests in any 60 s", ("requests",), "line"),
            long=_LONG,
        )

    return Router("/", route_handlers=[show])


def _make(title: str, names: tuple[str, ...], kind: str) -> Chart:
    span = Span(_START, _START + (_HOURS - 1) * 3600)
    rows = [
        Row(
            start,
            span.write(start),
            tuple(f"{int(900 * (1 + math.sin(hour / 3 + place)) / (place + 1)):,}" for place, _ in enumerate(names)),
        )
        for hour, start in enumerate(span.list_starts())
    ]
    return Chart(title, names, tuple(rows), kind="stack" if kind == "stack" else "line")
