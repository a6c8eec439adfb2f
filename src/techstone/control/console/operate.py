"""The operator's pages: every account, its plan, credit and suspension; top-up codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath

from techstone.control.accounts.records import NewAccount, PlanChange
from techstone.control.billing.records import CreatedCode, NewCodes
from techstone.control.console.pages import Pages, require_operator, visitor_of
from techstone.control.console.session import Nothing, PageRequest, read_form, read_query
from techstone.control.console.shell import go
from techstone.control.identity.records import Inviter
from techstone.core.errors import ApiError, InvalidRequest

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from techstone.control.identity.links import Links


class AccountForm(msgspec.Struct, forbid_unknown_fields=True):
    """An account to be opened; its owner is invited by letter where `invite` is ticked."""

    email: str = ""
    plan: str | None = None
    credit: str = "0"
    invite: bool = False


class Search(msgspec.Struct, forbid_unknown_fields=True):
    """What is looked for: accounts whose e-mail or id holds a text; those before one."""

    find: Annotated[str, msgspec.Meta(max_length=254)] = ""
    before: Annotated[str, msgspec.Meta(max_length=40)] = ""

    def address(self, before: str = "") -> str:
        """Return the URL of this search, from one account on."""
        query = urlencode({name: value for name, value in (("find", self.find), ("before", before)) if value})
        return "/console/operate/accounts" + (f"?{query}" if query else "")


class TermsForm(msgspec.Struct, forbid_unknown_fields=True):
    """What an account is served by; what is left out is the plan's."""

    plan: str = ""
    rpm: int | None = None
    tpm: int | None = None
    concurrent: int | None = None
    monthly_cap: str = "none"


class Amount(msgspec.Struct, forbid_unknown_fields=True):
    """USD to be added."""

    usd: str = ""


class CodesForm(msgspec.Struct, forbid_unknown_fields=True):
    """Codes to be made."""

    usd: str = ""
    count: int = 1
    expires: str | None = None


def route_operate(pages: Pages, links: Links) -> Router:
    """Return the routes under /console/operate."""
    handlers = [*_list_accounts(pages, links), *_list_changes(pages), *_list_codes(pages)]
    return Router("/console/operate", route_handlers=handlers)


def _list_accounts(pages: Pages, links: Links) -> list[HTTPRouteHandler]:
    services, shell = pages.services, pages.shell

    async def show(request: PageRequest, form: AccountForm, problem: ApiError | None = None) -> Response[str]:
        search = read_query(request, Search)
        return shell.show(
            request,
            "operate/accounts.html",
            visitor_of(request),
            page=await services.accounts.search(search.find, search.before),
            search=search,
            plans=services.catalog.catalog.plans,
            form=form,
            problem=problem,
        )

    @get("/accounts")
    async def list_all(request: PageRequest) -> Response[str]:
        require_operator(request)
        return await show(request, AccountForm())

    @post("/accounts")
    async def create(request: PageRequest) -> Response[Any]:
        visitor = require_operator(request)
        form = await read_form(request, AccountForm)
        try:
            made = await services.accounts.create(NewAccount(form.email, form.plan, form.credit))
            if form.invite:
                by = Inviter(made.id, "owner", visitor.person.email, visitor.person.id)
                await links.invite(by, made.email, "owner")
        except ApiError as problem:
            return await show(request, form, problem)
        return go(f"/console/operate/accounts/{made.id}")

    return [list_all, create]


def _list_changes(pages: Pages) -> list[HTTPRouteHandler]:
    accounts = pages.services.accounts

    async def show(request: PageRequest, account: str, problem: ApiError | None = None) -> Response[str]:
        found = await accounts.show(account)
        return pages.shell.show(
            request,
            "operate/account.html",
            visitor_of(request),
            account=found,
            plans=pages.services.catalog.catalog.plans,
            plan=pages.services.catalog.find_plan(found.plan),
            keys=len(await pages.services.keys.list(found.id)),
            members=await pages.services.store.identity.list_members(found.id),
            problem=problem,
        )

    @get("/accounts/{account:str}")
    async def show_one(request: PageRequest, account: FromPath[str]) -> Response[str]:
        require_operator(request)
        return await show(request, account)

    @post("/accounts/{account:str}/terms")
    async def set_terms(request: PageRequest, account: FromPath[str]) -> Response[Any]:
        require_operator(request)
        form = await read_form(request, TermsForm)
        try:
            change = PlanChange(form.plan, form.rpm, form.tpm, form.concurrent, form.monthly_cap)
            await accounts.set_plan(account, change)
        except InvalidRequest as problem:
            return await show(request, account, problem)
        return go(f"/console/operate/accounts/{account}")

    @post("/accounts/{account:str}/credit")
    async def add_credit(request: PageRequest, account: FromPath[str]) -> Response[Any]:
        require_operator(request)
        usd = (await read_form(request, Amount)).usd
        try:
            await accounts.add_credit(account, usd)
        except InvalidRequest as problem:
            return await show(request, account, problem)
        return go(f"/console/operate/accounts/{account}")

    @post("/accounts/{account:str}/{step:str}")
    async def suspend(request: PageRequest, account: FromPath[str], step: FromPath[str]) -> Response[Any]:
        require_operator(request)
        await read_form(request, Nothing)
        if step not in {"suspend", "resume"}:
            raise InvalidRequest("An account can be suspended and resumed.")
        await accounts.suspend(account, suspended=step == "suspend")
        return go(f"/console/operate/accounts/{account}")

    return [show_one, set_terms, add_credit, suspend]


def _list_codes(pages: Pages) -> list[HTTPRouteHandler]:
    codes, shell = pages.services.codes, pages.shell

    async def show(
        request: PageRequest, form: CodesForm, problem: ApiError | None = None, made: tuple[CreatedCode, ...] = ()
    ) -> Response[str]:
        return shell.show(
            request,
            "operate/codes.html",
            visitor_of(request),
            codes=(await codes.list())[::-1],
            form=form,
            problem=problem,
            made=made,
        )

    @get("/codes")
    async def list_all(request: PageRequest) -> Response[str]:
        require_operator(request)
        return await show(request, CodesForm())

    @post("/codes")
    async def create(request: PageRequest) -> Response[str]:
        require_operator(request)
        form = await read_form(request, CodesForm)
        try:
            made = await codes.create(NewCodes(form.usd, form.count, form.expires))
        except ApiError as problem:
            return await show(request, form, problem)
        return await show(request, CodesForm(), made=made)

    @post("/codes/{code:str}/revoke")
    async def revoke(request: PageRequest, code: FromPath[str]) -> Response[Any]:
        require_operator(request)
        await read_form(request, Nothing)
        await codes.revoke(code)
        return go("/console/operate/codes")

    return [list_all, create, revoke]
