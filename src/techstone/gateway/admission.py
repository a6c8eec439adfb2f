"""Who may: from the head of a request to a principal, from the principal and the model to an admission.

Order of the checks: key (401) before body, model exists (404) before permission (403). One function decides who asks;
a key anywhere but in `Authorization: Bearer` is no key (row A-5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.core import keys
from techstone.core.errors import (
    AccountSuspended,
    ApiError,
    KeyInvalid,
    KeyMissing,
    ModelForbidden,
    ModelNotFound,
    NotReady,
)
from techstone.core.snapshot import Model, Principal, View

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.gateway.exchange import Exchange
    from techstone.gateway.ports import Snapshots


class Admission(msgspec.Struct, gc=False):
    """What was admitted: who, which model, by which view of the snapshot."""

    principal: Principal
    model: Model
    view: View


class Doorkeeper:
    """Knows the snapshot and the time of day (unix seconds, for keys that expire)."""

    def __init__(self, snapshots: Snapshots, wall_clock: Callable[[], float]) -> None:
        self._snapshots = snapshots
        self._wall_clock = wall_clock

    def check(self, exchange: Exchange) -> ApiError | None:
        """Put the principal into the exchange, or return why there is none."""
        try:
            exchange.principal = self.identify(exchange.headers.get(b"authorization"))
        except ApiError as error:
            return error
        return None

    def identify(self, authorization: bytes | None) -> Principal:
        """Return who asks; raise KeyMissing, KeyInvalid, AccountSuspended or NotReady."""
        view = self._snapshots.view
        if view is None:
            raise NotReady
        scheme, _, rest = authorization.partition(b" ") if authorization else (b"", b"", b"")
        if scheme != b"Bearer" and scheme.lower() != b"bearer":
            raise KeyMissing
        key = rest.strip(b" ")
        principal = view.principals.get(keys.digest(key)) if keys.well_formed(key) else None
        if principal is None:
            raise KeyInvalid(_shown(key))
        expires_at = principal.key.expires_at
        if expires_at is not None and self._wall_clock() >= expires_at:
            raise KeyInvalid(_shown(key))
        if principal.account.suspended:
            raise AccountSuspended
        return principal

    def admit(self, exchange: Exchange, name: str) -> Admission:
        """Return the admission to a model; raise ModelNotFound or ModelForbidden."""
        view = self._snapshots.view
        principal = exchange.principal
        if view is None or principal is None:
            raise NotReady
        model = view.models.get(name)
        if model is None:
            raise ModelNotFound(name[:200])
        allowed = principal.key.models
        if allowed is not None and name not in allowed:
            raise ModelForbidden(name)
        return Admission(principal, model, view)


def _shown(key: bytes) -> str:
    """Return a key as it may be shown: never the whole of it, and no byte that is not visible ASCII."""
    text = key.decode("latin-1")
    if len(text) < 24 or not text.isascii() or not text.isprintable():
        return "***"
    return f"{text[:8]}***{text[-4:]}"
