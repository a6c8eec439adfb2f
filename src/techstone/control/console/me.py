"""Oneself: password, sessions, and the other ways to log in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath

from techstone.control.console.pages import Pages, visitor_of
from techstone.control.console.session import Nothing, PageRequest, keep, read_form
from techstone.control.console.shell import go
from techstone.control.console.two_factor import Proof, list_two_factor
from techstone.control.identity import federation
from techstone.core.errors import ApiError, NotFound

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from techstone.control.identity.federation import Federation
    from techstone.control.identity.foreigners import Foreigners
    from techstone.control.identity.ports import Terms


class PasswordForm(msgspec.Struct, forbid_unknown_fields=True):
    """The password that is known, and the one to be."""

    known: str = ""
    password: str = ""


class Chosen(msgspec.Struct, forbid_unknown_fields=True):
    """The account to look at."""

    account: str = ""


class OwnPage:
    """The page of oneself, with what was done, or what was wrong."""

    def __init__(self, pages: Pages, providers: Federation, foreigners: Foreigners) -> None:
        self._pages = pages
        self._providers = providers
        self._foreigners = foreigners

    async def show(self, request: PageRequest, problem: ApiError | None = None, done: str = "") -> Response[str]:
        """Return the page."""
        visitor = visitor_of(request)
        person, factors = visitor.person.id, self._pages.identity.factors
        return self._pages.shell.show(
            request,
            "people/me.html",
            visitor,
            sessions=await self._pages.identity.list_sessions(visitor),
            factor=await factors.has(person),
            codes=await factors.count_codes(person),
            providers=self._providers.terms,
            foreign=await self._foreigners.list(visitor),
            problem=problem,
            done=done,
        )


def route_me(pages: Pages, providers: Federation, foreigners: Foreigners) -> Router:
    """Return the routes of oneself."""
    own = OwnPage(pages, providers, foreigners)

    async def show(request: PageRequest, problem: ApiError | None = None, done: str = "") -> Response[str]:
        return await own.show(request, problem, done)

    @get("/me")
    async def show_own(request: PageRequest) -> Response[str]:
        return await show(request)

    handlers = [
        show_own,
        *_list_own(pages, own),
        *list_two_factor(pages, show),
        *_list_connections(pages, own, providers, foreigners),
    ]
    return Router("/console", route_handlers=handlers)


def _list_own(pages: Pages, own: OwnPage) -> list[HTTPRouteHandler]:
    identity = pages.identity

    @post("/me/password")
    async def change_password(request: PageRequest) -> Response[str]:
        form = await read_form(request, PasswordForm)
        try:
            await identity.change_password(visitor_of(request), form.known, form.password)
        except ApiError as problem:
            return await own.show(request, problem)
        return await own.show(request, done="Your password is changed. Every other session has ended.")

    @post("/me/sessions/{name:str}/end")
    async def end_session(request: PageRequest, name: FromPath[str]) -> Response[Any]:
        await read_form(request, Nothing)
        await identity.log_out(visitor_of(request), name)
        return go("/console/me")

    @post("/me/sessions/end-others")
    async def end_others(request: PageRequest) -> Response[Any]:
        await read_form(request, Nothing)
        await identity.log_out_others(visitor_of(request))
        return go("/console/me")

    @post("/look-at")
    async def look_at(request: PageRequest) -> Response[Any]:
        account = (await read_form(request, Chosen)).account
        await identity.look_at(visitor_of(request), account)
        return go("/console")

    return [change_password, end_session, end_others, look_at]


def _list_connections(
    pages: Pages, own: OwnPage, providers: Federation, foreigners: Foreigners
) -> list[HTTPRouteHandler]:
    def find(slug: str) -> Terms:
        for terms in providers.terms:
            if terms.slug == slug:
                return terms
        raise NotFound("There is no such provider of log-ins.")

    @post("/me/oidc/{slug:str}/connect")
    async def connect(request: PageRequest, slug: FromPath[str]) -> Response[str]:
        """Answer with a page and no redirect: the policy lets a form lead to no other origin, also not by a detour."""
        visitor, proof = visitor_of(request), (await read_form(request, Proof)).proof
        terms = find(slug)
        try:
            # Whoever finds a session open must not make themselves a way in that outlasts it.
            await pages.identity.prove(visitor, proof, f"proof-{slug}")
            url, sealed = await providers.depart(slug, visitor.person.id)
        except ApiError as problem:
            return await own.show(request, problem)
        answer = pages.shell.show(request, "people/connect.html", visitor, terms=terms, url=url)
        keep(answer, request, "journey", sealed, federation.LASTS)
        return answer

    @post("/me/oidc/{slug:str}/disconnect")
    async def disconnect(request: PageRequest, slug: FromPath[str]) -> Response[Any]:
        await read_form(request, Nothing)
        await foreigners.disconnect(find(slug), visitor_of(request))
        return go("/console/me")

    return [connect, disconnect]
