"""Accounts as they are stored and as they are shown.

Money is whole nano-dollars in storage and a USD string to people; a float never holds it.
"""

from __future__ import annotations

import msgspec


class Account(msgspec.Struct, frozen=True):
    """Who pays. `email` is lower-case and unique; times are unix seconds."""

    id: str
    email: str
    plan: str
    credit_nano: int = 0
    suspended: bool = False
    created_at: int = 0


class NewAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wish for an account. `plan` None: the first of the catalog. `credit` is in USD, up to 9 decimals."""

    email: str
    plan: str | None = None
    credit: str = "0"


class PlanChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The plan that an account is to have from now on."""

    plan: str


class CreditAdded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Credit to add, in USD, up to 9 decimals."""

    usd: str


class Suspension(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether an account is to be served."""

    suspended: bool


class AccountShown(msgspec.Struct, frozen=True):
    """An account as people and scripts see it; `credit` is a USD string."""

    id: str
    email: str
    plan: str
    credit: str
    suspended: bool
    created_at: int
