"""The first page: how the account stands, and for who has nothing yet, the way to a first request."""

from __future__ import annotations

from litestar import Response, Router, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from techstone.control.console.charts import Span, plot_total
from techstone.control.console.pages import Pages, visitor_of
from techstone.control.console.session import PageRequest
from techstone.control.console.usage import Range, add
from techstone.core.roles import may

_DAY = 86_400


def route_overview(pages: Pages) -> Router:
    """Return the route of /console."""
    services, shell = pages.services, pages.shell

    @get("/console")
    async def show(request: PageRequest) -> Response[str]:
        visitor = visitor_of(request)
        if visitor.seat is None:
            return shell.show(request, "nowhere.html", visitor)
        account = await services.accounts.find(visitor.seat.account)
        balance = await services.management.balance(account) if may(visitor.seat.role, "billing.read") else None
        day = await services.ledger.sum_usage(account.id, services.now() - _DAY, "model")
        span: Range = "7d" if request.query_params.get("span") == "7d" else "24h"
        over = Span(services.now() - (6 * _DAY if span == "7d" else 23 * 3600), services.now())
        buckets = await services.ledger.sum_over_time(account.id, over.since, "model", "hour")
        keys = await services.keys.list(account.id) if may(visitor.seat.role, "keys.read") else ()
        return shell.show(
            request,
            "overview.html",
            visitor,
            account=account,
            plan=services.catalog.find_plan(account.plan),
            balance=balance,
            day=add(day),
            models=day,
            span=span,
            charts=plot_total(buckets, over) if buckets else (),
            keys=sum(key.state == "active" for key in keys),
        )

    @get("/console/{path:path}")
    async def miss(path: FromPath[str]) -> Response[str]:
        raise NotFoundException(path)

    return Router("/", route_handlers=[show, miss])
