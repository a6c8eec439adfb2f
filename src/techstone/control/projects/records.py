"""Projects as they are stored and as they are shown. Times are unix seconds; None: never."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType


class Project(msgspec.Struct, frozen=True):
    """What some of an account's keys are for; its name is the account's once.

    `kept_days`: for how long prompts and answers of its keys are kept; None: they are not.
    """

    id: str
    account: str
    name: str
    created_at: int = 0
    archived_at: int | None = None
    kept_days: int | None = None


class NewProject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wish for a project; `account` is an email or id."""

    account: str
    name: str


class ProjectChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be otherwise about a project; what is left out stays as it is."""

    name: str | UnsetType = UNSET
    archived: bool | UnsetType = UNSET
    kept_days: int | UnsetType | None = UNSET


class ProjectShown(msgspec.Struct, frozen=True):
    """A project as people and scripts see it: `keys` that have not ended, USD in this UTC month by all keys of it."""

    id: str
    account: str  # email
    name: str
    archived: bool
    keys: int
    spent_this_month: str
    created_at: int
    archived_at: int | None
    kept_days: int | None = None
