"""What the forms of keys hold: of a new one and of one that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.control.keys.records import KeyChange, NewKey
from techstone.core.errors import InvalidRequest
from techstone.core.keys import SCOPES

if TYPE_CHECKING:
    from techstone.control.keys.records import KeyShown

# Of a key that is there: its end stays as it is.
KEEP = "keep"


class KeyForm(msgspec.Struct, forbid_unknown_fields=True):
    """A key's name and bounds. `models` and `ips` are lists, separated by commas or spaces; no scope ticked: all."""

    name: str = ""
    kind: str = "inference"
    expires: str = ""
    project: str = ""
    models: str = ""
    ips: str = ""
    scope_chat: bool = False
    scope_models: bool = False
    scope_limits: bool = False
    scope_estimate: bool = False
    rpm: int | None = None
    tpm: int | None = None
    concurrent: int | None = None
    daily_cap: str | None = None
    monthly_cap: str | None = None

    @property
    def scopes(self) -> tuple[str, ...] | None:
        """Return what is ticked; None: nothing is, so that all is allowed."""
        return tuple(scope for scope in SCOPES if getattr(self, f"scope_{scope}")) or None


def fill(key: KeyShown) -> KeyForm:
    """Return the form of a key as it is."""
    return KeyForm(
        name=key.name,
        kind=key.kind,
        expires=KEEP,
        project=key.project or "",
        models=", ".join(key.models or ()),
        ips=", ".join(key.ips or ()),
        **{f"scope_{scope}": scope in (key.scopes or ()) for scope in SCOPES},
        rpm=key.rpm,
        tpm=key.tpm,
        concurrent=key.concurrent,
        daily_cap=key.daily_cap,
        monthly_cap=key.monthly_cap,
    )


def wish(account: str, form: KeyForm) -> NewKey:
    """Return the key that a form asks for; raise InvalidRequest."""
    if form.kind not in {"inference", "admin"}:
        raise InvalidRequest("kind must be inference or admin.", param="kind")
    return NewKey(
        account,
        name=form.name or "default",
        models=_split(form.models),
        expires=form.expires or None,
        rpm=form.rpm,
        tpm=form.tpm,
        concurrent=form.concurrent,
        daily_cap=form.daily_cap,
        monthly_cap=form.monthly_cap,
        kind="admin" if form.kind == "admin" else "inference",
        scopes=form.scopes,
        ips=_split(form.ips),
        project=form.project or None,
    )


def change(form: KeyForm) -> KeyChange:
    """Return what a form has a key be from now on: all of it, but its end where that is to stay."""
    asked = KeyChange(
        name=form.name,
        models=_split(form.models),
        rpm=form.rpm,
        tpm=form.tpm,
        concurrent=form.concurrent,
        daily_cap=form.daily_cap,
        monthly_cap=form.monthly_cap,
        scopes=form.scopes,
        ips=_split(form.ips),
        project=form.project or None,
    )
    return asked if form.expires == KEEP else msgspec.structs.replace(asked, expires=form.expires or None)


def _split(words: str) -> tuple[str, ...] | None:
    return tuple(words.replace(",", " ").split()) or None
