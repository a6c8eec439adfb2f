"""All routes of the Console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Response, Router

from techstone.control.console.audit import route_audit
from techstone.control.console.billing import route_billing
from techstone.control.console.catalog import route_catalog
from techstone.control.console.documents import route_documents
from techstone.control.console.doors import route_doors
from techstone.control.console.federation import route_federation
from techstone.control.console.guide import route_guide
from techstone.control.console.health import route_health
from techstone.control.console.keys import route_keys
from techstone.control.console.limits import route_limits
from techstone.control.console.logs import route_logs
from techstone.control.console.me import route_me
from techstone.control.console.operate import route_operate
from techstone.control.console.operator_keys import route_operator_keys
from techstone.control.console.overview import route_overview
from techstone.control.console.palette import route_palette
from techstone.control.console.people import route_people
from techstone.control.console.playground import route_playground
from techstone.control.console.projects import route_projects
from techstone.control.console.providers import route_providers
from techstone.control.console.session import LARGEST_FORM
from techstone.control.console.terms import route_terms
from techstone.control.console.usage import route_usage

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection
    from litestar.handlers import BaseRouteHandler

    from techstone.control.console.pages import Pages
    from techstone.control.console.session import PageRequest
    from techstone.control.identity.federation import Federation
    from techstone.control.identity.foreigners import Foreigners
    from techstone.control.identity.links import Links
    from techstone.control.identity.members import Members
    from techstone.control.invoicing.ports import Printer


def route_console(
    pages: Pages, members: Members, links: Links, providers: Federation, foreigners: Foreigners, printer: Printer
) -> list[Router]:
    """Return the routes under /console."""
    inner = [
        route_overview(pages),
        route_keys(pages),
        route_projects(pages),
        route_usage(pages),
        route_limits(pages),
        route_logs(pages),
        route_billing(pages),
        route_documents(pages, printer),
        route_operate(pages, links),
        route_providers(pages),
        route_catalog(pages),
        route_terms(pages),
        route_operator_keys(pages),
        route_health(pages),
        route_people(pages, members),
        route_audit(pages),
        route_playground(pages),
        route_palette(pages),
        route_guide(pages),
        route_me(pages, providers, foreigners),
    ]
    outer = [
        route_doors(pages.shell, pages.identity, links, providers.terms),
        route_federation(pages.shell, pages.identity, providers, foreigners),
    ]

    # Functions, since Litestar copies what it is given, to its depth.
    def refuse(request: PageRequest, error: Exception) -> Response[Any]:
        return pages.shell.refuse(request, error)

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        await pages.admit(connection)

    async def follow(_: ASGIConnection[Any, Any, Any, Any], __: BaseRouteHandler) -> None:
        await pages.services.follow()

    common: dict[str, Any] = {"exception_handlers": {Exception: refuse}, "request_max_body_size": LARGEST_FORM}
    return [
        Router("/", route_handlers=outer, guards=[follow], **common),
        Router("/", route_handlers=inner, guards=[guard], **common),
    ]
