"""People: who belongs to the account, and what it asks of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath

from techstone.control.acts import acting
from techstone.control.console.pages import Pages, seat_of, visitor_of
from techstone.control.console.session import Nothing, PageRequest, read_form
from techstone.control.console.shell import go
from techstone.control.identity.records import Inviter
from techstone.core.errors import ApiError, InvalidRequest
from techstone.core.roles import Role, may

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from techstone.control.identity.members import Members
    from techstone.control.identity.records import Seat


class Invitation(msgspec.Struct, forbid_unknown_fields=True):
    """Who is to join, as what."""

    email: str = ""
    role: Role = "member"


class RoleForm(msgspec.Struct, forbid_unknown_fields=True):
    """A member's role from now on."""

    role: Role


class TwoFactorForm(msgspec.Struct, forbid_unknown_fields=True):
    """Whether all members must have two-factor."""

    required: bool = False


def route_people(pages: Pages, members: Members) -> Router:
    """Return the routes of members."""
    return Router("/console/people", route_handlers=_list_members(pages, members))


def _list_members(pages: Pages, members: Members) -> list[HTTPRouteHandler]:
    async def show(
        request: PageRequest, form: Invitation, problem: ApiError | None = None, sent: str | None = None
    ) -> Response[str]:
        visitor = visitor_of(request)
        seat = seat_of(request, "usage.read")
        return pages.shell.show(
            request,
            "people/list.html",
            visitor,
            members=await members.list(seat.account),
            invitations=await members.list_invitations(seat.account) if may(seat.role, "team.write") else (),
            form=form,
            problem=problem,
            sent=sent,
        )

    @get("/")
    async def list_all(request: PageRequest) -> Response[str]:
        return await show(request, Invitation())

    @post("/")
    async def invite(request: PageRequest) -> Response[str]:
        seat = seat_of(request, "team.write")
        form = await read_form(request, Invitation)
        try:
            await members.invite(_name(request, seat), form.email, form.role)
        except ApiError as problem:
            return await show(request, form, problem)
        return await show(request, Invitation(), sent=form.email)

    @post("/{person:str}/role")
    async def set_role(request: PageRequest, person: FromPath[str]) -> Response[Any]:
        seat = seat_of(request, "team.write")
        role = (await read_form(request, RoleForm)).role
        await members.set_role(_name(request, seat), person, role)
        return go("/console/people")

    @post("/{person:str}/remove")
    async def remove(request: PageRequest, person: FromPath[str]) -> Response[Any]:
        seat = seat_of(request, "team.write")
        await read_form(request, Nothing)
        await members.remove(_name(request, seat), person)
        return go("/console/people")

    @post("/invitations/{name:str}/withdraw")
    async def withdraw(request: PageRequest, name: FromPath[str]) -> Response[Any]:
        seat = seat_of(request, "team.write")
        await read_form(request, Nothing)
        await members.withdraw(_name(request, seat), name)
        return go("/console/people")

    @post("/two-factor")
    async def require(request: PageRequest) -> Response[Any]:
        seat, visitor = seat_of(request, "team.write"), visitor_of(request)
        required = (await read_form(request, TwoFactorForm)).required
        if seat.role != "owner":
            raise InvalidRequest("Only an owner may change what the account asks of its members.")
        if required and not await pages.identity.factors.has(visitor.person.id):
            raise InvalidRequest("Set up two-factor for yourself first, under Log-in and sessions.")
        action = "account.require_two_factor" if required else "account.allow_without_two_factor"
        with acting(action, seat.account, seat.account):
            await pages.services.store.credentials.require(seat.account, required=required)
        return go("/console/people")

    return [list_all, invite, withdraw, set_role, remove, require]


def _name(request: PageRequest, seat: Seat) -> Inviter:
    person = visitor_of(request).person
    return Inviter(seat.account, seat.role, person.email, person.id)
