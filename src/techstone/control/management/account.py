"""What else an admin key may do for its account: members, audit log, alerts, codes, the cap, one request in full.

An admin key acts as an admin of the account does: it makes and changes no owner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from litestar import Request, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from techstone.control.audit.records import AuditFilter, EntryShown
from techstone.control.billing.records import AlertShown, Redeemed, Redemption
from techstone.control.identity.records import Inviter
from techstone.control.management.records import Balance, RequestObject
from techstone.control.transcripts.records import TranscriptShown  # noqa: TC001 - a field of a struct that has one above it
from techstone.core.errors import InvalidRequest, RequestNotFound
from techstone.core.roles import KEY_ROLE, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar.handlers import HTTPRouteHandler

    from techstone.control.accounts.records import Account
    from techstone.control.identity.members import Members
    from techstone.control.identity.records import Member
    from techstone.control.services import Services

    Holder = Callable[[Request[Any, Any, Any]], Account]

_Request = Request[Any, Any, Any]
_LARGEST_PAGE = 1000
_Email = Annotated[str, Meta(extra_json_schema={"format": "email", "examples": ["ann@example.com"]})]
_Code = Annotated[str, Meta(extra_json_schema={"examples": ["ts_code_..."]})]
_Usd = Annotated[str, Meta(extra_json_schema={"pattern": r"^[0-8]?[0-9]{1,9}(\.[0-9]{1,9})?$", "examples": ["25.00"]})]


class MemberObject(msgspec.Struct, frozen=True, tag_field="object", tag="member"):
    """Somebody who belongs to the account; `person` is their id."""

    person: str
    email: str
    role: Role
    created_at: int


class MemberList(msgspec.Struct, frozen=True, tag_field="object", tag="list"):
    """Members, oldest first."""

    data: tuple[MemberObject, ...]


class InvitationWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is to join, as what."""

    email: _Email
    role: Role = "member"


class Invited(msgspec.Struct, frozen=True, tag_field="object", tag="invitation"):
    """An invitation that is on its way by letter; its link is good for seven days."""

    email: str
    role: Role


class RoleUpdate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A member's role from now on."""

    role: Role


class AuditList(msgspec.Struct, frozen=True, tag_field="object", tag="list"):
    """Changes of the account, newest first. With more to come, ask for those before the last one's number."""

    data: tuple[EntryShown, ...]
    has_more: bool


class AlertList(msgspec.Struct, frozen=True, tag_field="object", tag="list"):
    """Alerts, oldest first: who had used 80 % and 100 % of credit or cap, and when."""

    data: tuple[AlertShown, ...]


class CodeWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A top-up code to be turned into credit."""

    code: _Code


class CapUpdate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The most that a UTC month may cost, in USD: where there is a cap already, a lower one."""

    monthly_cap: _Usd


class RequestDetailObject(RequestObject, frozen=True):
    """One request in full; `transcript` null: what it asked and was answered is not kept."""

    upstream_model: str
    attempts: int
    price: int
    transcript: TranscriptShown | None


def list_account_routes(services: Services, members: Members, holder: Holder) -> list[HTTPRouteHandler]:
    """Return the routes, to stand under /api/v1; `holder` gives whose admin key a request has."""
    return [*_list_people(members, holder), *_list_money(services, holder), *_list_history(services, holder)]


def _list_people(members: Members, holder: Holder) -> list[HTTPRouteHandler]:
    def act(account: Account) -> Inviter:
        return Inviter(account.id, KEY_ROLE, account.email)

    @get("/members")
    async def list_members(request: _Request) -> MemberList:
        return MemberList(tuple(map(_show, await members.list(holder(request).id))))

    @post("/members")
    async def invite(request: _Request, data: JSONBody[InvitationWish]) -> Invited:
        return Invited(await members.invite(act(holder(request)), data.email, data.role), data.role)

    @patch("/members/{person:str}")
    async def set_role(request: _Request, person: FromPath[str], data: JSONBody[RoleUpdate]) -> MemberObject:
        return _show(await members.set_role(act(holder(request)), person, data.role))

    @delete("/members/{person:str}", status_code=200)
    async def remove(request: _Request, person: FromPath[str]) -> MemberObject:
        return _show(await members.remove(act(holder(request)), person))

    return [list_members, invite, set_role, remove]


def _list_money(services: Services, holder: Holder) -> list[HTTPRouteHandler]:
    @post("/codes/redeem", status_code=200)
    async def redeem(request: _Request, data: JSONBody[CodeWish]) -> Redeemed:
        return await services.codes.redeem(Redemption(data.code, holder(request).id))

    @patch("/balance")
    async def set_cap(request: _Request, data: JSONBody[CapUpdate]) -> Balance:
        account = holder(request)
        await services.accounts.lower_cap(account.id, data.monthly_cap)
        return await services.management.balance(await services.accounts.find(account.id))

    @get("/alerts")
    async def list_alerts(request: _Request) -> AlertList:
        return AlertList(await services.alerts.list(holder(request).id))

    return [redeem, set_cap, list_alerts]


def _list_history(services: Services, holder: Holder) -> list[HTTPRouteHandler]:
    @get("/audit")
    async def list_audit(
        request: _Request,
        action: FromQuery[str | None] = None,
        before: FromQuery[str | None] = None,
        limit: FromQuery[str] = "100",
    ) -> AuditList:
        most = _read_number("limit", limit, _LARGEST_PAGE)
        until = None if before is None else _read_number("before", before, 2**53)
        found = await services.audit.list(AuditFilter(holder(request).id, None, action), until, most + 1)
        return AuditList(found[:most], len(found) > most)

    @get("/requests/{request_id:str}")
    async def show_request(request: _Request, request_id: FromPath[str]) -> RequestDetailObject:
        account = holder(request)
        found = await services.ledger.find_request(account.id, request_id)
        if found is None:
            raise RequestNotFound
        told = {name: getattr(found, name) for name in found.__struct_fields__ if name != "account"}
        return RequestDetailObject(**told, transcript=await services.transcripts.find(account.id, request_id))

    return [list_audit, show_request]


def _read_number(name: str, text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 17 and 1 <= int(text) <= most):
        raise InvalidRequest(f"{name} must be a whole number from 1 to {most}.", param=name)
    return int(text)


def _show(member: Member) -> MemberObject:
    return MemberObject(member.person, member.email, member.role, member.created_at)
