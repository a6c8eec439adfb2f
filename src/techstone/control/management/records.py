"""What the management API takes and gives. Money is a USD string, a time unix seconds."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from techstone.control.keys.records import KeyKind, KeyState
from techstone.control.keys.service import LONGEST_OVERLAP
from techstone.control.keys.settings import LARGEST_LIMIT
from techstone.control.ledger.records import UsageShown
from techstone.control.projects.service import LONGEST_KEPT
from techstone.core.keys import SCOPES, Scope
from techstone.core.snapshot import Billing

# Said in the API's document; the keys' own rules judge, with better words.
_Limit = Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": LARGEST_LIMIT})]
_Cap = Annotated[str, Meta(extra_json_schema={"pattern": r"^[0-8]?[0-9]{1,9}(\.[0-9]{1,9})?$", "examples": ["25.00"]})]
_Lifetime = Annotated[str, Meta(extra_json_schema={"pattern": "^[1-9][0-9]{0,3}[smhdw]$", "examples": ["30d"]})]
_KeyName = Annotated[str, Meta(extra_json_schema={"pattern": "^[!-~]([ -~]{0,98}[!-~])?$", "examples": ["production"]})]
_Scopes = Annotated[tuple[str, ...], Meta(extra_json_schema={"items": {"type": "string", "enum": list(SCOPES)}})]
_Networks = Annotated[tuple[str, ...], Meta(extra_json_schema={"examples": [["192.0.2.0/24", "2001:db8::/32"]]})]
_ProjectId = Annotated[str, Meta(extra_json_schema={"pattern": "^proj_[0-9a-f]{20}$"})]
_Days = Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": LONGEST_KEPT})]
_Overlap = Annotated[int, Meta(extra_json_schema={"minimum": 0, "maximum": LONGEST_OVERLAP})]


class Balance(msgspec.Struct, frozen=True, tag_field="object", tag="balance"):
    """The account's money. `available` is what may still be spent, null where it is paid for afterwards."""

    account: str  # email
    plan: str
    billing: Billing
    granted: str
    spent: str
    held: str
    available: str | None
    spent_this_month: str
    monthly_cap: str | None
    currency: str = "USD"


class UsageList(msgspec.Struct, frozen=True, tag_field="object", tag="list"):
    """Sums of usage, a group each."""

    data: tuple[UsageShown, ...]


class RequestObject(msgspec.Struct, frozen=True):
    """One request: `request_id` is its answer's x-request-id, `at` when it was admitted."""

    request_id: str
    key: str
    model: str
    state: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cost: str
    at: float
    provider: str
    status: int
    stream: bool
    duration_ms: float
    first_byte_ms: float
    error_code: str | None


class RequestList(msgspec.Struct, frozen=True, tag_field="object", tag="list"):
    """Requests, oldest first. With more to come, ask for those after the last one."""

    data: tuple[RequestObject, ...]
    has_more: bool


class KeyObject(msgspec.Struct, frozen=True, tag_field="object", tag="key"):
    """A key as it can be shown at any time."""

    id: str
    kind: KeyKind
    name: str
    hint: str
    state: KeyState
    models: tuple[str, ...] | None
    rpm: int | None
    tpm: int | None
    concurrent: int | None
    daily_cap: str | None
    monthly_cap: str | None
    scopes: tuple[Scope, ...] | None
    ips: tuple[str, ...] | None
    project: str | None
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    disabled_at: int | None


class CreatedKeyObject(msgspec.Struct, frozen=True, tag_field="object", tag="key"):
    """A new key, the only time that it is seen; `replaces` is the id of the key that it takes over from."""

    id: str
    key: str
    kind: KeyKind
    name: str
    hint: str
    models: tuple[str, ...] | None
    rpm: int | None
    tpm: int | None
    concurrent: int | None
    daily_cap: str | None
    monthly_cap: str | None
    scopes: tuple[Scope, ...] | None
    ips: tuple[str, ...] | None
    project: str | None
    created_at: int
    expires_at: int | None
    replaces: str | None
    state: KeyState = "active"
    revoked_at: int | None = None
    disabled_at: int | None = None

    def __repr__(self) -> str:
        """Leave the key out: a traceback or a log line must not show it."""
        return f"CreatedKeyObject(id={self.id!r}, hint={self.hint!r})"

    __str__ = __repr__


class KeyList(msgspec.Struct, frozen=True, tag_field="object", tag="list"):
    """Keys, oldest first."""

    data: tuple[KeyObject, ...]


class KeyWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to be made. `expires` is a lifetime such as `30d`, `12h`, `45s`; what is left out is unlimited."""

    name: _KeyName = "default"
    kind: Literal["inference", "admin"] = "inference"
    models: tuple[str, ...] | None = None
    expires: _Lifetime | None = None
    rpm: _Limit | None = None
    tpm: _Limit | None = None
    concurrent: _Limit | None = None
    daily_cap: _Cap | None = None
    monthly_cap: _Cap | None = None
    scopes: _Scopes | None = None
    ips: _Networks | None = None
    project: _ProjectId | None = None


class KeyUpdate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be otherwise about a key; what is left out stays as it is, null takes a limit away.

    `expires` is a lifetime from now on.
    """

    name: _KeyName | UnsetType = UNSET
    models: tuple[str, ...] | UnsetType | None = UNSET
    expires: _Lifetime | UnsetType | None = UNSET
    rpm: _Limit | UnsetType | None = UNSET
    tpm: _Limit | UnsetType | None = UNSET
    concurrent: _Limit | UnsetType | None = UNSET
    daily_cap: _Cap | UnsetType | None = UNSET
    monthly_cap: _Cap | UnsetType | None = UNSET
    scopes: _Scopes | UnsetType | None = UNSET
    ips: _Networks | UnsetType | None = UNSET
    project: _ProjectId | UnsetType | None = UNSET


class Replacement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For how many seconds the old key stays good beside the new one."""

    overlap: _Overlap = 0


class ProjectObject(msgspec.Struct, frozen=True, tag_field="object", tag="project"):
    """A project: `keys` that have not ended, USD in this UTC month by all keys that belong to it now.

    `kept_days`: for how long prompts and answers of its keys are kept; null: they are not.
    """

    id: str
    name: str
    archived: bool
    keys: int
    spent_this_month: str
    created_at: int
    archived_at: int | None
    kept_days: int | None


class ProjectList(msgspec.Struct, frozen=True, tag_field="object", tag="list"):
    """Projects, oldest first."""

    data: tuple[ProjectObject, ...]


class ProjectWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A project to be made."""

    name: _KeyName


class ProjectUpdate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be otherwise about a project; what is left out stays as it is."""

    name: _KeyName | UnsetType = UNSET
    archived: bool | UnsetType = UNSET
    kept_days: _Days | UnsetType | None = UNSET
