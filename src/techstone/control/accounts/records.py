"""Accounts as they are stored and as they are shown.

Money is whole nano-dollars in storage and a USD string to people; a float never holds it.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType


class Account(msgspec.Struct, frozen=True):
    """Who pays. `email` is lower-case and unique; times are unix seconds.

    Of all that was granted, `spent_nano` is spent and `held_nano` held for requests that run. `rpm`, `tpm` and
    `concurrent` are custom numbers in place of the plan's.
    """

    id: str
    email: str
    plan: str
    granted_nano: int = 0
    suspended: bool = False
    created_at: int = 0
    spent_nano: int = 0
    held_nano: int = 0
    rpm: int | None = None
    tpm: int | None = None
    concurrent: int | None = None
    monthly_cap: int | None = None


class Terms(msgspec.Struct, frozen=True):
    """What an account is to be served by: its plan, numbers in place of the plan's, a cap in nano-dollars a month.

    What is not given stays as it is, also where somebody else changes it at the same time.
    """

    plan: str | UnsetType = UNSET
    rpm: int | UnsetType | None = UNSET
    tpm: int | UnsetType | None = UNSET
    concurrent: int | UnsetType | None = UNSET
    monthly_cap: int | UnsetType | None = UNSET

    @property
    def given(self) -> dict[str, str | int | None]:
        """What is to change, by its name in an account."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not UNSET}


class NewAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wish for an account. `plan` None: the first of the catalog. Money is in USD, up to 9 decimals."""

    email: str
    plan: str | None = None
    credit: str = "0"
    monthly_cap: str | None = None


class PlanChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The plan that an account is to have from now on.

    `rpm`, `tpm` and `concurrent` are custom numbers in place of the plan's. `monthly_cap` is in USD a UTC month;
    "none": no cap, None: as it is.
    """

    plan: str
    rpm: int | None = None
    tpm: int | None = None
    concurrent: int | None = None
    monthly_cap: str | None = None


class CreditAdded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Credit to add, in USD, up to 9 decimals."""

    usd: str


class CapChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The most that a UTC month may cost an account, in USD; "none": no cap."""

    monthly_cap: str


class Suspension(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether an account is to be served."""

    suspended: bool


class AccountShown(msgspec.Struct, frozen=True):
    """An account as people and scripts see it; money is in USD. `credit` is net of what was spent and is held."""

    id: str
    email: str
    plan: str
    credit: str
    granted: str
    spent: str
    held: str
    monthly_cap: str | None
    rpm: int | None
    tpm: int | None
    concurrent: int | None
    suspended: bool
    created_at: int


class AccountPage(msgspec.Struct, frozen=True):
    """Accounts, newest first. `next` is where to go on from (an account's id), "" where none follows."""

    rows: tuple[AccountShown, ...]
    next: str = ""
