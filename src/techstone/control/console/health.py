"""Health, for operators: gateways, routes, the database, the checks in the background."""

from __future__ import annotations

from litestar import Response, Router, get

from techstone.control.console.pages import Pages, require_operator, visitor_of
from techstone.control.console.session import PageRequest
from techstone.control.reports.judgement import span


def route_health(pages: Pages) -> Router:
    """Return the route of /console/operate/health."""
    services, shell = pages.services, pages.shell

    @get("/")
    async def show(request: PageRequest) -> Response[str]:
        require_operator(request)
        condition = await services.health.look()
        states = [one.state for one in condition.findings] + [one.state for one in condition.routes]
        states += [one.state for one in condition.replicas]
        return shell.show(
            request,
            "operate/health.html",
            visitor_of(request),
            condition=condition,
            wrong=sum(state in {"attention", "danger"} for state in states),
            span=span,
        )

    return Router("/console/operate/health", route_handlers=[show])
