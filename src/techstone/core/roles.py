"""What a member of an account may do in the Console, and to whom; pure."""

from __future__ import annotations

from typing import Literal, get_args

Role = Literal["owner", "admin", "member", "billing", "viewer"]
Permission = Literal[
    "keys.read",
    "keys.write",
    "admin_keys.write",
    "projects.write",
    "usage.read",
    "logs.read",
    "billing.read",
    "billing.write",
    "team.write",
    "audit.read",
]

_READS: frozenset[Permission] = frozenset(("keys.read", "usage.read"))
_ALLOWED: dict[Role, frozenset[Permission]] = {
    "owner": frozenset(get_args(Permission)),
    "admin": frozenset(get_args(Permission)) - {"billing.write"},
    "member": _READS | {"keys.write", "logs.read"},
    "billing": frozenset(("usage.read", "billing.read", "billing.write")),
    "viewer": _READS,
}


# As what an admin key acts.
KEY_ROLE: Role = "admin"
# Why a member was not changed; "changed": they were.
Verdict = Literal["changed", "no member", "not allowed", "an owner's", "last owner"]
# By which permission keys of a kind are made and changed. One that runs the cloud is the operators', not its account's.
KEY_PERMISSIONS: dict[str, Permission] = {"inference": "keys.write", "admin": "admin_keys.write"}


def may(role: Role, permission: Permission) -> bool:
    """Say whether the role holds the permission."""
    return permission in _ALLOWED[role]


def may_change_key(role: Role, kind: str) -> bool:
    """Say whether the role may make and change the account's keys of a kind; an admin key does what an admin may."""
    return kind in KEY_PERMISSIONS and may(role, KEY_PERMISSIONS[kind])


def may_make(role: Role | None, wanted: Role) -> bool:
    """Say whether who has this role (None: does not belong) may make somebody else that: only owners make owners."""
    return role is not None and may(role, "team.write") and (wanted != "owner" or role == "owner")


def judge(role: Role | None, found: Role | None, wanted: Role | None, owners: int) -> Verdict:
    """Say whether who has a role may give a member another one, or none: only owners change owners, and one stays."""
    if not may_make(role, wanted or "viewer"):
        return "not allowed"
    if found is None:
        return "no member"
    if found == "owner" and role != "owner":
        return "an owner's"
    if found == "owner" and wanted != "owner" and owners < 2:
        return "last owner"
    return "changed"
