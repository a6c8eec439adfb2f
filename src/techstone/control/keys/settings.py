"""What a key may be bound to: how a wish becomes settings, and how settings are shown. Every refusal names the field.

A new key is a change of what has no bounds, so both are judged by the same rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec
from msgspec import UNSET, UnsetType

from techstone.control.keys.records import KeyChange, KeySettings, NewKey
from techstone.core import lifetime, money, networks
from techstone.core.errors import InvalidRequest
from techstone.core.keys import SCOPES
from techstone.core.networks import NetworkInvalid

if TYPE_CHECKING:
    from techstone.control.keys.records import KeyKind
    from techstone.control.ports import Offer
    from techstone.core.keys import Scope

_LONGEST_NAME = 100
LARGEST_LIMIT = 2**31 - 1
_OF_INFERENCE = (
    "models", "rpm", "tpm", "concurrent", "daily_cap", "monthly_cap", "scopes", "project",
)  # fmt: skip
_WISHES = tuple(name for name in KeyChange.__struct_fields__)


def list_wishes(wanted: NewKey) -> KeyChange:
    """Return what a new key is to have, all of it said."""
    return KeyChange(**{name: getattr(wanted, name) for name in _WISHES})


def check_kind(kind: KeyKind, change: KeyChange) -> None:
    """Raise InvalidRequest for what means nothing to a key of the kind."""
    if kind == "inference":
        return
    for field in _OF_INFERENCE:
        if getattr(change, field) not in {None, UNSET}:
            raise InvalidRequest(f"{field} means nothing to an admin key, which cannot infer.", param=field)


def check_name(name: str) -> str:
    """Return the name as it is kept; raise InvalidRequest."""
    name = name.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidRequest(f"name must be 1 to {_LONGEST_NAME} printable characters.", param="name")
    return name


def read_lifetime(text: str | None) -> int | None:
    """Return a lifetime in seconds; raise InvalidRequest."""
    try:
        return None if text is None else lifetime.parse(text)
    except ValueError as error:
        raise InvalidRequest(f"expires {error}.", param="expires") from error


def apply(settings: KeySettings, change: KeyChange, offer: Offer) -> KeySettings:
    """Return the settings after the change; raise InvalidRequest."""
    return KeySettings(
        models=settings.models if change.models is UNSET else _check_models(change.models, offer),
        rpm=_check_limit("rpm", change.rpm, settings.rpm),
        tpm=_check_limit("tpm", change.tpm, settings.tpm),
        concurrent=_check_limit("concurrent", change.concurrent, settings.concurrent),
        daily_cap=_check_cap("daily_cap", change.daily_cap, settings.daily_cap),
        monthly_cap=_check_cap("monthly_cap", change.monthly_cap, settings.monthly_cap),
        scopes=settings.scopes if change.scopes is UNSET else _check_scopes(change.scopes),
        ips=settings.ips if change.ips is UNSET else _check_ips(change.ips),
        project=settings.project if change.project is UNSET else change.project,
        lifetime=settings.lifetime if change.expires is UNSET else read_lifetime(change.expires),
    )


def show_settings(settings: KeySettings) -> dict[str, Any]:
    """Return the settings by name, caps in USD."""
    shown = msgspec.structs.asdict(settings)
    shown.pop("lifetime")
    for field in ("daily_cap", "monthly_cap"):
        shown[field] = None if shown[field] is None else money.show(shown[field])
    return shown


def _check_models(models: tuple[str, ...] | None, offer: Offer) -> tuple[str, ...] | None:
    if models is None:
        return None
    if not models:
        raise InvalidRequest("models must name at least one model, or be left out for all.", param="models")
    for place, model in enumerate(models):
        if not offer.has_model(model):
            raise InvalidRequest(f"models: there is no model `{model}`.", param=f"models[{place}]")
    return tuple(dict.fromkeys(models))


def _check_limit(field: str, wanted: int | UnsetType | None, now: int | None) -> int | None:
    if wanted is UNSET:
        return now
    if wanted is not None and not 1 <= wanted <= LARGEST_LIMIT:
        raise InvalidRequest(f"{field} must be a whole number from 1 to {LARGEST_LIMIT}.", param=field)
    return wanted


def _check_cap(field: str, wanted: str | UnsetType | None, now: int | None) -> int | None:
    if wanted is UNSET:
        return now
    try:
        return None if wanted is None else money.parse(wanted)
    except ValueError as error:
        raise InvalidRequest(f"{field}: {error}.", param=field) from error


def _check_scopes(scopes: tuple[str, ...] | None) -> tuple[Scope, ...] | None:
    if scopes is None:
        return None
    if not scopes:
        raise InvalidRequest("scopes must name at least one, or be left out for all.", param="scopes")
    for place, scope in enumerate(scopes):
        if scope not in SCOPES:
            raise InvalidRequest(
                f"scopes: there is no scope `{scope}`; there are {', '.join(SCOPES)}.", param=f"scopes[{place}]"
            )
    return tuple(dict.fromkeys(cast("tuple[Scope, ...]", scopes)))


def _check_ips(ips: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if ips is None:
        return None
    if not 1 <= len(ips) <= networks.MOST:
        raise InvalidRequest(f"ips must name 1 to {networks.MOST} addresses, or be left out for all.", param="ips")
    try:
        return networks.normalise(ips)
    except NetworkInvalid as error:
        named = ips[error.place][:50]
        raise InvalidRequest(
            f"ips: `{named}` is neither an address nor a network such as 192.0.2.0/24 or 2001:db8::/32.",
            param=f"ips[{error.place}]",
        ) from error
