"""The part of /openapi.json that tells of members, audit log, alerts, codes, the cap and one request in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from techstone.control.billing.records import Redeemed
from techstone.control.management import account

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPES = (
    account.MemberObject,
    account.MemberList,
    account.InvitationWish,
    account.Invited,
    account.RoleUpdate,
    account.AuditList,
    account.AlertList,
    account.CodeWish,
    account.CapUpdate,
    account.RequestDetailObject,
    Redeemed,
)


def list_paths(manage: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Return the paths; `manage` makes an operation of the management API."""
    person, request = _name("person"), _name("request_id")
    kind = _query("action", "Of this kind only: `key`, or `key.revoke`.", {"type": "string"})
    before = _query("before", "Those before the entry of this number.", {"type": "integer", "minimum": 1})
    limit = _query("limit", "At most so many.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100})
    invitation = ("InvitationWish", {"email": "ann@example.com", "role": "viewer"})
    return {
        "/api/v1/members": {
            "get": manage("listMembers", "List who belongs to the account", "MemberList"),
            "post": manage("inviteMember", "Ask somebody by letter to join", "Invited", body=invitation),
        },
        "/api/v1/members/{person}": {
            "patch": manage(
                "updateMember",
                "Give a member another role",
                "MemberObject",
                [person],
                404,
                body=("RoleUpdate", {"role": "viewer"}),
                status=200,
            ),
            "delete": manage("removeMember", "End a membership", "MemberObject", [person], 404),
        },
        "/api/v1/audit": {
            "get": manage(
                "listOwnAudit", "List changes of the account, newest first", "AuditList", [kind, before, limit]
            )
        },
        "/api/v1/alerts": {"get": manage("listAlerts", "List alerts of credit and caps", "AlertList")},
        "/api/v1/codes/redeem": {
            "post": manage(
                "redeemOwnCode",
                "Turn a top-up code into credit",
                "Redeemed",
                body=("CodeWish", {"code": "ts_code_x"}),
                status=200,
            )
        },
        "/api/v1/requests/{request_id}": {
            "get": manage("retrieveRequest", "Show a request in full", "RequestDetailObject", [request], 404)
        },
    }


def _name(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query(name: str, text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": text, "required": False, "schema": schema}
