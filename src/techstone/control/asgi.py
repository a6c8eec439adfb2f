"""The control plane's two applications: one for the gateways and the command line, one for the pages.

They listen on sockets of their own, so that a forwarded request can never reach the internal one; on the port for
gateways of other machines a pass tells them apart (`gate`). All print errors in the API's one form.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Litestar, Request, Response, Router, get
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException, ValidationException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.params import FromPath, FromQuery
from litestar.response import Stream

from techstone.control.accounts.api import route_accounts
from techstone.control.acts import Actor, act_as
from techstone.control.audit.api import route_audit
from techstone.control.billing.api import route_alerts, route_codes, route_prices
from techstone.control.catalog.api import route_catalog, route_entries, route_plans, route_providers
from techstone.control.identity.api import route_claims, route_identities
from techstone.control.keys.api import route_keys
from techstone.control.ledger.api import route_journals, route_ledger
from techstone.control.management.api import refuse_twice, route_management
from techstone.control.operations import Facts
from techstone.control.pages.site import Site, route_site
from techstone.control.ports import StoreError
from techstone.control.projects.api import route_projects
from techstone.control.publish import Wish
from techstone.control.reports.api import route_reports
from techstone.control.reports.health import list_findings
from techstone.control.switches.api import route_switches
from techstone.control.transcripts.api import route_transcripts
from techstone.core.errors import (
    ApiError,
    InvalidRequest,
    MethodNotAllowed,
    PayloadTooLarge,
    ServerError,
    ServiceUnavailable,
    UrlNotFound,
)
from techstone.core.keys import conceal
from techstone.core.stream import SnapshotError, choose_format
from techstone.wire.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from litestar.connection import ASGIConnection
    from litestar.handlers import BaseRouteHandler
    from litestar.types import ASGIApp, ControllerRouterHandler, Message, Middleware, Receive, Scope, Send

    from techstone.control.identity.members import Members
    from techstone.control.publish import Publisher
    from techstone.control.services import Services

# What Litestar calls a handler's body.
_BODY = "data"
_LOG = logging.getLogger("techstone.control")
# What the management API is sent at most: some kilobytes are usual.
_LARGEST_WISH = 1024 * 1024
# Of what says nothing else, errors first: it runs nothing, loads nothing and is framed by nobody.
_HTTPS = (b"strict-transport-security", b"max-age=31536000")
_PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}


def build_internal(services: Services, publisher: Publisher) -> Litestar:
    """Return the internal API of this machine: what the command line does, and what gateways do."""

    @get("/doctor")
    async def doctor() -> Facts:
        facts = await services.doctor()
        findings = list_findings(await services.health.look())
        return msgspec.structs.replace(facts, subscribers=publisher.subscribers, findings=findings)

    rooms = [
        route_accounts(services.accounts),
        route_keys(services.keys),
        route_catalog(services.catalog),
        route_providers(services.providers),
        route_entries(services.models),
        route_plans(services.plans),
        route_switches(services.switches),
        route_prices(services.prices),
        route_codes(services.codes),
        route_alerts(services.alerts),
        route_claims(services.claims),
        route_identities(services.people),
        route_audit(services.audit),
        route_projects(services.projects),
    ]
    commands = Router("/internal", route_handlers=[doctor, *rooms], middleware=[_publish(publisher)])
    # What is asked of the ledger changes nothing that gateways would have to be told.
    asked = Router("/internal", route_handlers=[route_ledger(services.ledger, services.reports.heard_at)])
    rooms_of_gateways = _route_seam(services, publisher)
    return _build([Router("/", route_handlers=[commands, asked, rooms_of_gateways], guards=[_act_as_operator])])


def build_seam(services: Services, publisher: Publisher) -> Litestar:
    """Return the part of the internal API that gateways on other machines reach, and no more of it."""
    return _build([_route_seam(services, publisher)])


def _route_seam(services: Services, publisher: Publisher) -> Router:
    """Return the snapshot stream, and what gateways send: it changes nothing that they would have to be told."""

    @get("/snapshot")
    async def follow(
        *, reads: FromQuery[int] = 1, since: FromQuery[int | None] = None, spending: FromQuery[bool] = True
    ) -> Stream:
        try:
            choose_format(reads)
        except SnapshotError as error:
            raise InvalidRequest(str(error), param="reads") from error
        return Stream(publisher.subscribe(Wish(reads, since, spending)), media_type="application/x-ndjson")

    @get("/figures/{account:str}")
    async def tell_figure(account: FromPath[str]) -> Figure:
        figure = await publisher.read_figure(account)
        if figure is None:
            raise NotFoundException
        return figure

    rooms = [
        route_journals(services.ledger),
        route_reports(services.reports),
        route_transcripts(services.transcripts),
    ]
    return Router("/internal", route_handlers=[follow, tell_figure, *rooms])


def _act_as_operator(_: ASGIConnection[Any, Any, Any, Any], __: BaseRouteHandler) -> None:
    """Only who may open the internal socket comes this way; a gateway changes nothing that is noted."""
    act_as(Actor("command line"))


def build_public(
    site: Site, console: list[Router], services: Services, members: Members, publisher: Publisher
) -> Litestar:
    """Return the documentation, the Console and the management API."""
    changing = [route_management(services, members), *_list_operated(services), *console]
    rooms = Router("/", route_handlers=changing, middleware=[_publish(publisher)], request_max_body_size=_LARGEST_WISH)
    return _build([route_site(site), rooms], _PAGE_HEADERS)


def _list_operated(services: Services) -> list[Router]:
    """Return the operators' part of the management API: the command line's rooms, behind an operator key."""

    async def identify(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        headers = connection.headers
        await services.management.identify_operator(headers.get("authorization"), headers.get("x-forwarded-for", ""))
        refuse_twice(connection)

    rooms = [
        route_accounts(services.accounts),
        route_codes(services.codes),
        route_providers(services.providers),
        route_entries(services.models),
        route_prices(services.prices),
        route_plans(services.plans),
        route_switches(services.switches),
        route_audit(services.audit),
    ]
    return [
        Router(
            "/api/v1/operate", route_handlers=rooms, guards=[identify], response_headers={"cache-control": "no-store"}
        )
    ]


def _publish(publisher: Publisher) -> Middleware:
    """Return what tells the gateways of a change before whoever made it is answered: a key is good when it is shown."""

    def wrap(app: ASGIApp) -> ASGIApp:
        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_after(message: Message) -> None:
                if message["type"] == "http.response.start" and message["status"] < 400:
                    revision = await publisher.publish()
                    message["headers"] = [*message["headers"], (b"x-techstone-revision", b"%d" % revision)]
                await send(message)

            changing = scope["type"] == ScopeType.HTTP and scope["method"] != "GET"
            await app(scope, receive, send_after if changing else send)

        return serve

    return wrap


def _build(handlers: list[ControllerRouterHandler], headers: dict[str, str] | None = None) -> Litestar:
    return Litestar(
        handlers,
        openapi_config=None,
        logging_config=None,
        exception_handlers={Exception: _print},
        before_send=[] if headers is None else [_add(headers)],
        debug=False,
    )


def _add(headers: dict[str, str]) -> Callable[[Message, Scope], Awaitable[None]]:
    """Return what puts the headers on every answer; `after_request` would leave out the errors."""
    fields = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def add(message: Message, scope: Scope) -> None:
        if message["type"] == "http.response.start":
            given = {name for name, _ in message["headers"]}
            more = [*fields, _HTTPS] if (b"x-forwarded-proto", b"https") in scope["headers"] else fields
            message["headers"] = [*message["headers"], *(field for field in more if field[0] not in given)]

    return add


def _print(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Print any failure in the one form; the only place that catches everything."""
    known = _translate(request, error)
    if isinstance(error, StoreError):
        # Its line says all: where the code stood when the database went tells nobody anything.
        _LOG.error("%s %s: %s", request.method, conceal(request.url.path), error)
        known = ServiceUnavailable("The database cannot be used at the moment. Try again in a moment.")
    if known is None:
        _LOG.error("%s %s failed", request.method, conceal(request.url.path), exc_info=error)
        known = ServerError()
    headers = {name.decode(): value.decode() for name, value in known.headers()}
    return Response(known.body(), status_code=known.status, headers=headers, media_type="application/json")


def _translate(request: Request[Any, Any, Any], error: Exception) -> ApiError | None:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, NotFoundException):
        return UrlNotFound(request.method, request.url.path)
    if isinstance(error, MethodNotAllowedException):
        allowed = (error.headers or {}).get("allow", "GET")
        methods = (method.strip() for method in allowed.split(","))
        # Litestar adds OPTIONS; for the gateway there are no preflights: browsers are not to call the API.
        return MethodNotAllowed(request.method, tuple(method for method in methods if method != "OPTIONS"))
    if isinstance(error, ValidationException):
        return _explain(error)
    if isinstance(error, HTTPException) and error.status_code < 500:
        large = isinstance(error, RequestEntityTooLarge)
        limit = request.route_handler.resolve_request_max_body_size() if large else None
        return PayloadTooLarge(limit) if limit is not None else InvalidRequest(error.detail)
    return None


def _explain(error: ValidationException) -> InvalidRequest:
    """Return what was wrong, by field, without what was sent: it may hold a key."""
    if not isinstance(error.extra, list):
        return InvalidRequest(error.detail)
    found = [(str(entry.get("key", _BODY)), str(entry.get("message", "invalid"))) for entry in error.extra]
    # For a body that is not there at all Litestar gives the name of its own parameter as the message.
    if (_BODY, repr(_BODY)) in found:
        return InvalidRequest("The request needs a JSON body.")
    lines = "; ".join(message if field == _BODY else f"{field}: {message}" for field, message in found)
    return InvalidRequest(f"{lines}.", param=next((field for field, _ in found if field != _BODY), None))
