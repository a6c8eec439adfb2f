"""The rooms behind the doors: what a page needs of them, and who may see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from techstone.control.acts import Actor, act_as
from techstone.control.console.session import SET_UP, VISITOR, LogInFirst, PageRequest, SetUpFirst, recognise
from techstone.core.errors import Forbidden
from techstone.core.roles import Permission, may

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection

    from techstone.control.console.shell import Shell
    from techstone.control.identity.records import Seat, Visitor
    from techstone.control.identity.service import Identity
    from techstone.control.services import Services
    from techstone.control.switches.records import SwitchName


class Pages:
    """What the pages share. `view_secret` signs the tickets by which a page asks the gateway for limits."""

    def __init__(self, shell: Shell, services: Services, identity: Identity, view_secret: bytes) -> None:
        self.shell = shell
        self.services = services
        self.identity = identity
        self.view_secret = view_secret

    async def admit(self, connection: ASGIConnection[Any, Any, Any, Any]) -> None:
        """Let in who is logged in; a guard runs before anything else of the request is read."""
        await self.services.follow()
        visitor = await recognise(self.identity, connection)  # type: ignore[arg-type]  # a request
        if visitor is None:
            raise LogInFirst
        if visitor.held and connection.url.path != SET_UP:
            raise SetUpFirst
        connection.scope["state"][VISITOR] = visitor
        act_as(Actor("person", visitor.person.email, connection.headers.get("x-forwarded-for", "")))

    def is_on(self, switch: SwitchName) -> bool:
        """Say whether a feature is on now."""
        return self.services.switches.is_on(switch)


def visitor_of(request: PageRequest) -> Visitor:
    """Return who asks."""
    found: Visitor = request.scope["state"][VISITOR]
    return found


def require_operator(request: PageRequest) -> Visitor:
    """Return who asks; raise Forbidden where they do not run the cloud."""
    visitor = visitor_of(request)
    if not visitor.person.operator:
        raise Forbidden("This page is for who runs the cloud.")
    return visitor


def seat_of(request: PageRequest, permission: Permission) -> Seat:
    """Return the account that is looked at; raise Forbidden where the role does not hold the permission."""
    seat = visitor_of(request).seat
    if seat is None:
        raise Forbidden("You belong to no account. Ask to be invited to one.")
    if not may(seat.role, permission):
        raise Forbidden(f"Your role in {seat.email}, {seat.role}, does not allow this. Ask an owner or admin.")
    return seat
