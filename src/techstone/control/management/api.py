"""The management API over HTTP, under /api/v1. Every route asks for an admin key first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Request, Router, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from techstone.control.invoicing.records import InvoiceList, InvoiceShown, Statement
from techstone.control.ledger.records import Grouping
from techstone.control.management.account import list_account_routes
from techstone.control.management.records import (
    Balance,
    CreatedKeyObject,
    KeyList,
    KeyObject,
    KeyUpdate,
    KeyWish,
    ProjectList,
    ProjectObject,
    ProjectUpdate,
    ProjectWish,
    Replacement,
    RequestList,
    UsageList,
)
from techstone.core.errors import InvalidRequest

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection
    from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

    from techstone.control.accounts.records import Account
    from techstone.control.identity.members import Members
    from techstone.control.invoicing.service import Invoices
    from techstone.control.invoicing.statements import Statements
    from techstone.control.management.service import Management
    from techstone.control.services import Services

_Request = Request[Any, Any, Any]
_HOLDER = "holder"
_HEADERS = {"cache-control": "no-store"}


def route_management(services: Services, members: Members) -> Router:
    """Return the routes under /api/v1."""
    management = services.management

    async def identify(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        # A guard runs before anything else of the request is read: a stranger learns nothing of what it should hold.
        connection.scope["state"][_HOLDER] = await management.identify(
            connection.headers.get("authorization"), connection.headers.get("x-forwarded-for", "")
        )
        refuse_twice(connection)

    @get("/balance")
    async def balance(request: _Request) -> Balance:
        return await management.balance(_holder(request))

    @get("/usage")
    async def sum_usage(
        request: _Request,
        since: FromQuery[str | None] = None,
        by: FromQuery[Grouping] = "model",
        project: FromQuery[str | None] = None,
    ) -> UsageList:
        return await management.sum_usage(_holder(request), since, by, project)

    @get("/requests")
    async def list_requests(
        request: _Request,
        since: FromQuery[str | None] = None,
        after: FromQuery[str] = "",
        limit: FromQuery[int] = 100,
    ) -> RequestList:
        return await management.list_requests(_holder(request), since, after, limit)

    handlers = [balance, sum_usage, list_requests, *_list_keys(management), *_list_projects(management)]
    handlers += _list_documents(services.invoices, services.statements)
    handlers += list_account_routes(services, members, _holder)
    return Router("/api/v1", route_handlers=handlers, guards=[identify], response_headers=_HEADERS)


def _list_keys(management: Management) -> list[HTTPRouteHandler]:
    @get("/keys")
    async def list_keys(request: _Request) -> KeyList:
        return await management.list_keys(_holder(request))

    @get("/keys/{key_id:str}")
    async def show_key(request: _Request, key_id: FromPath[str]) -> KeyObject:
        return await management.show_key(_holder(request), key_id)

    @post("/keys")
    async def create_key(request: _Request, data: JSONBody[KeyWish]) -> CreatedKeyObject:
        return await management.create_key(_holder(request), data)

    @patch("/keys/{key_id:str}")
    async def change_key(request: _Request, key_id: FromPath[str], data: JSONBody[KeyUpdate]) -> KeyObject:
        return await management.change_key(_holder(request), key_id, data)

    @post("/keys/{key_id:str}/disable", status_code=200)
    async def disable_key(request: _Request, key_id: FromPath[str]) -> KeyObject:
        return await management.disable_key(_holder(request), key_id)

    @post("/keys/{key_id:str}/enable", status_code=200)
    async def enable_key(request: _Request, key_id: FromPath[str]) -> KeyObject:
        return await management.enable_key(_holder(request), key_id)

    @post("/keys/{key_id:str}/revoke", status_code=200)
    async def revoke_key(request: _Request, key_id: FromPath[str]) -> KeyObject:
        return await management.revoke_key(_holder(request), key_id)

    @post("/keys/{key_id:str}/rotate")
    async def rotate_key(request: _Request, key_id: FromPath[str], data: JSONBody[Replacement]) -> CreatedKeyObject:
        return await management.rotate_key(_holder(request), key_id, data.overlap)

    return [list_keys, show_key, create_key, change_key, disable_key, enable_key, revoke_key, rotate_key]


def _list_projects(management: Management) -> list[HTTPRouteHandler]:
    @get("/projects")
    async def list_projects(request: _Request) -> ProjectList:
        return await management.list_projects(_holder(request))

    @get("/projects/{project_id:str}")
    async def show_project(request: _Request, project_id: FromPath[str]) -> ProjectObject:
        return await management.show_project(_holder(request), project_id)

    @post("/projects")
    async def create_project(request: _Request, data: JSONBody[ProjectWish]) -> ProjectObject:
        return await management.create_project(_holder(request), data)

    @patch("/projects/{project_id:str}")
    async def change_project(
        request: _Request, project_id: FromPath[str], data: JSONBody[ProjectUpdate]
    ) -> ProjectObject:
        return await management.change_project(_holder(request), project_id, data)

    return [list_projects, show_project, create_project, change_project]


def refuse_twice(connection: ASGIConnection[Any, Any, Any, Any]) -> None:
    """Raise InvalidRequest for a query parameter that is given more than once."""
    names = [name for name, _ in connection.query_params.multi_items()]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidRequest(f"{twice} is given more than once.", param=twice)


def _list_documents(invoices: Invoices, statements: Statements) -> list[HTTPRouteHandler]:
    @get("/invoices")
    async def list_invoices(request: _Request, limit: FromQuery[str | None] = None) -> InvoiceList:
        return await invoices.list_shown(_holder(request).id, limit)

    @get("/invoices/{number:str}")
    async def show_invoice(request: _Request, number: FromPath[str]) -> InvoiceShown:
        return await invoices.show(number, _holder(request).id)

    @get("/statements")
    async def show_statement(request: _Request, month: FromQuery[str | None] = None) -> Statement:
        return await statements.show(_holder(request), month)

    return [list_invoices, show_invoice, show_statement]


def _holder(request: _Request) -> Account:
    found: Account = request.scope["state"][_HOLDER]
    return found
