"""Operator keys: admin keys that run the cloud over the management API. Made by an operator, shown once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath

from techstone.control.console.pages import Pages, require_operator, visitor_of
from techstone.control.console.session import Nothing, PageRequest, read_form
from techstone.control.console.shell import go
from techstone.control.keys.records import NewKey
from techstone.core.errors import ApiError, InvalidRequest, KeyNotFound

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from techstone.control.keys.records import CreatedKey

_PATH = "/console/operate/keys"


class KeyForm(msgspec.Struct, forbid_unknown_fields=True):
    """An operator key to be made; `expires` left out: without end."""

    name: str = ""
    expires: str | None = None


def route_operator_keys(pages: Pages) -> Router:
    """Return the routes under /console/operate/keys."""
    return Router(_PATH, route_handlers=_list_keys(pages))


def _list_keys(pages: Pages) -> list[HTTPRouteHandler]:
    keys = pages.services.keys

    async def show(
        request: PageRequest, form: KeyForm, problem: ApiError | None = None, made: CreatedKey | None = None
    ) -> Response[str]:
        found = await keys.list(kind="operator")
        return pages.shell.show(
            request,
            "operate/keys.html",
            visitor_of(request),
            keys=found[::-1],
            form=form,
            made=made,
            problem=problem,
        )

    @get("/")
    async def list_all(request: PageRequest) -> Response[str]:
        require_operator(request)
        return await show(request, KeyForm())

    @post("/")
    async def create(request: PageRequest) -> Response[str]:
        seat = require_operator(request).seat
        form = await read_form(request, KeyForm)
        try:
            if seat is None:
                raise InvalidRequest("A key belongs to an account, and you belong to none. Ask to be invited to one.")
            made = await keys.create(NewKey(seat.account, form.name, expires=form.expires, kind="operator"))
        except ApiError as problem:
            return await show(request, form, problem)
        return await show(request, KeyForm(), made=made)

    @post("/{key_id:str}/revoke")
    async def revoke(request: PageRequest, key_id: FromPath[str]) -> Response[Any]:
        require_operator(request)
        await read_form(request, Nothing)
        if (await keys.show(key_id)).kind != "operator":
            raise KeyNotFound
        await keys.revoke(key_id)
        return go(_PATH)

    return [list_all, create, revoke]
