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
from techstone.control.identity.records import Membership
from techstone.core.errors import ApiError, InvalidRequest
from techstone.core.roles import Role

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from techstone.control.identity.links import Links
    from techstone.control.identity.ports import IdentityStore
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


def route_people(pages: Pages, store: IdentityStore, links: Links) -> Router:
    """Return the routes of members."""
    return Router("/console/people", route_handlers=_list_members(pages, store, links))


def _list_members(pages: Pages, store: IdentityStore, links: Links) -> list[HTTPRouteHandler]:
    async def show(
        request: PageRequest, form: Invitation, problem: ApiError | None = None, sent: str | None = None
    ) -> Response[str]:
        visitor = visitor_of(request)
        seat = seat_of(request, "usage.read")
        return pages.shell.show(
            request,
            "people/list.html",
            visitor,
            members=await store.list_members(seat.account),
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
            _check_role(seat, form.role)
            await links.invite(seat.account, form.email, form.role, visitor_of(request).person.email)
        except ApiError as problem:
            return await show(request, form, problem)
        return await show(request, Invitation(), sent=form.email)

    @post("/{person:str}/role")
    async def set_role(request: PageRequest, person: FromPath[str]) -> Response[Any]:
        seat = seat_of(request, "team.write")
        role = (await read_form(request, RoleForm)).role
        _check_role(seat, role)
        account = await _find_other(store, seat, person)
        with acting("person.set_role", person, account, role=role):
            await store.set_role(Membership(account, person, role, pages.services.now()))
        return go("/console/people")

    @post("/{person:str}/remove")
    async def remove(request: PageRequest, person: FromPath[str]) -> Response[Any]:
        seat = seat_of(request, "team.write")
        await read_form(request, Nothing)
        with acting("person.remove", person, seat.account):
            await store.remove_member(await _find_other(store, seat, person), person)
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

    return [list_all, invite, set_role, remove, require]


async def _find_other(store: IdentityStore, seat: Seat, person: str) -> str:
    """Return the account of a member that may be changed; raise InvalidRequest."""
    members = await store.list_members(seat.account)
    found = next((member for member in members if member.person == person), None)
    if found is None:
        raise InvalidRequest("There is no such member.")
    if found.role == "owner" and seat.role != "owner":
        raise InvalidRequest("Only an owner may change an owner.")
    if found.role == "owner" and sum(member.role == "owner" for member in members) == 1:
        raise InvalidRequest("An account needs an owner: make someone else one first.")
    return seat.account


def _check_role(seat: Seat, role: Role) -> None:
    if role == "owner" and seat.role != "owner":
        raise InvalidRequest("Only an owner may make an owner.", param="role")
