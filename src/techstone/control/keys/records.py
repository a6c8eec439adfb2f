"""API keys as they are stored and as they are shown.

The key itself stands in `CreatedKey` alone, which is returned once and never stored.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from techstone.core.keys import Scope

KeyState = Literal["active", "disabled", "expired", "revoked"]
KeyKind = Literal["inference", "admin", "operator"]
"""`operator`: an admin key that may run the cloud, too; made by an operator alone."""


class KeySettings(msgspec.Struct, frozen=True):
    """What the holder of a key may do; a rotated key hands them on. None: no limit but the plan's.

    `ips` are addresses and networks, normalised; `project` is the project's id, `lifetime` the seconds that were asked
    for when the key's end was set.
    """

    models: tuple[str, ...] | None = None
    rpm: int | None = None
    tpm: int | None = None
    concurrent: int | None = None
    daily_cap: int | None = None  # nano-dollars a UTC day
    monthly_cap: int | None = None  # nano-dollars a UTC month
    scopes: tuple[Scope, ...] | None = None
    ips: tuple[str, ...] | None = None
    project: str | None = None
    lifetime: int | None = None


class Key(msgspec.Struct, frozen=True):
    """A stored key: the SHA-256 digest of it (32 bytes), never the key. Times are unix seconds; None: never.

    `disabled_at` is None again once it is enabled.
    """

    id: str
    digest: bytes
    account: str
    name: str
    hint: str
    settings: KeySettings = KeySettings()
    created_at: int = 0
    expires_at: int | None = None
    revoked_at: int | None = None
    kind: KeyKind = "inference"
    disabled_at: int | None = None


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wish for a key; caps are in USD.

    `account` is an email or id, `expires` a lifetime such as `30d`, `12h`, `45s` (None: never), `project` an id. An
    admin or operator key is for the management API alone, so that limits, models, scopes and a project mean nothing
    to it.
    """

    account: str
    name: str = "default"
    models: tuple[str, ...] | None = None
    expires: str | None = None
    rpm: int | None = None
    tpm: int | None = None
    concurrent: int | None = None
    live: bool = True
    daily_cap: str | None = None
    monthly_cap: str | None = None
    kind: KeyKind = "inference"
    scopes: tuple[str, ...] | None = None
    ips: tuple[str, ...] | None = None
    project: str | None = None


class KeyChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be otherwise about a key; what is left out stays as it is, None takes a limit away.

    `expires` counts from now on. Caps are in USD.
    """

    name: str | UnsetType = UNSET
    models: tuple[str, ...] | UnsetType | None = UNSET
    expires: str | UnsetType | None = UNSET
    rpm: int | UnsetType | None = UNSET
    tpm: int | UnsetType | None = UNSET
    concurrent: int | UnsetType | None = UNSET
    daily_cap: str | UnsetType | None = UNSET
    monthly_cap: str | UnsetType | None = UNSET
    scopes: tuple[str, ...] | UnsetType | None = UNSET
    ips: tuple[str, ...] | UnsetType | None = UNSET
    project: str | UnsetType | None = UNSET


class KeyChosen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key, by its id or by the key itself (for a key that was found where it should not be)."""

    key: str


class Alteration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key, and what is to be otherwise about it."""

    key: str
    change: KeyChange


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to replace, and for how many seconds the old one stays good beside the new one."""

    key: str
    overlap: int = 0


class KeyShown(msgspec.Struct, frozen=True):
    """A key as it can be shown at any time."""

    id: str
    account: str  # email
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


class CreatedKey(msgspec.Struct, frozen=True):
    """A new key, the only time that it is seen; `replaces` is the id of the key that it takes over from."""

    id: str
    key: str
    account: str  # email
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
    replaces: str | None = None

    def __repr__(self) -> str:
        """Leave the key out: a traceback or a log line must not show it."""
        return f"CreatedKey(id={self.id!r}, hint={self.hint!r}, account={self.account!r})"

    __str__ = __repr__
