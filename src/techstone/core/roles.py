"""What a member of an account may do in the Console; pure."""

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


def may(role: Role, permission: Permission) -> bool:
    """Say whether the role holds the permission."""
    return permission in _ALLOWED[role]


# By which permission keys of a kind are made and changed. One that runs the cloud is the operators', not its account's.
KEY_PERMISSIONS: dict[str, Permission] = {"inference": "keys.write", "admin": "admin_keys.write"}


def may_change_key(role: Role, kind: str) -> bool:
    """Say whether the role may make and change the account's keys of a kind; an admin key does what an admin may."""
    return kind in KEY_PERMISSIONS and may(role, KEY_PERMISSIONS[kind])
