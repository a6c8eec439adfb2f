"""Who may: from the head of a request to a principal, from the principal and the request to what it is granted.

Order of the checks: key (401) before body, model exists (404) before permission (403), then limits (429). One
function decides who asks; a key anywhere but in `Authorization: Bearer` is no key (row A-5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.core import keys, pricing, refusals
from techstone.core.errors import (
    AccountSuspended,
    AddressForbidden,
    ApiError,
    InferenceKeyRequired,
    KeyDisabled,
    KeyInvalid,
    KeyMissing,
    KeyUnconfirmed,
    ModelForbidden,
    ModelNotFound,
    NotReady,
    ScopeMissing,
)
from techstone.core.limits import Claim, Refusal
from techstone.core.pricing import Price
from techstone.core.reservation import Reservation, reserve
from techstone.core.snapshot import Model
from techstone.core.view import Principal, View

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.core.chat import ChatRequest
    from techstone.core.keys import Scope
    from techstone.core.limits import Grant
    from techstone.gateway.exchange import Exchange
    from techstone.gateway.ports import LimitStore, Snapshots
    from techstone.gateway.quota import Quota


# Headers with good keys only, so that nobody can fill it: as many as a process sees accounts in a day.
_REMEMBERED = 10_000


class Candidate(msgspec.Struct, gc=False):
    """Who asks for which model, by which view of the snapshot, at which price and with what to reserve."""

    principal: Principal
    model: Model
    view: View
    price: Price
    reservation: Reservation


class Doorkeeper:
    """Knows the snapshot, the limits and the time of day (unix seconds, for keys that expire and prices)."""

    def __init__(self, snapshots: Snapshots, limits: LimitStore, quota: Quota, wall_clock: Callable[[], float]) -> None:
        self._snapshots = snapshots
        self._limits = limits
        self._quota = quota
        self._wall_clock = wall_clock
        self._view: View | None = None
        self._known: dict[bytes, Principal] = {}

    def check(self, exchange: Exchange, scope: Scope) -> ApiError | None:
        """Put the principal into the exchange, or return why there is none that may do this from there."""
        authorization = exchange.headers.get(b"authorization")
        if self._snapshots.expired:
            return KeyUnconfirmed()
        known = self._known.get(authorization) if authorization is not None else None
        try:
            # Known: this very header was judged by this very view (saves 2 of 3 µs); time alone can have changed that.
            if known is not None and self._view is self._snapshots.view and known.key.expires_at is None:
                exchange.principal = known
            else:
                exchange.principal = self._look(exchange, authorization, scope)
        except KeyInvalid as error:
            return self._quota.fail(exchange) or error
        except ApiError as error:
            return error
        return None

    def check_completion(self, exchange: Exchange, scope: Scope) -> ApiError | None:
        """Do as `check`, and refuse who floods before the body is read."""
        refusal = self.check(exchange, scope)
        if refusal is None and exchange.principal is not None:
            return self._quota.flood(exchange, exchange.principal)
        return refusal

    def _look(self, exchange: Exchange, authorization: bytes | None, scope: Scope) -> Principal:
        """Return who asks; raise what `identify` raises, AddressForbidden or ScopeMissing."""
        principal = self.identify(authorization)
        if not principal.fenced:
            return self._remember(authorization, principal)
        # Never remembered: the next request of the header may come from elsewhere, for something else.
        if principal.networks is not None and not principal.networks.admit(exchange.client):
            raise AddressForbidden(exchange.client)
        scopes = principal.key.scopes
        if scopes is not None and scope not in scopes:
            raise ScopeMissing(scope)
        return principal

    def _remember(self, authorization: bytes | None, principal: Principal) -> Principal:
        if self._view is not self._snapshots.view or len(self._known) >= _REMEMBERED:
            self._view = self._snapshots.view
            self._known = {}
        if authorization is not None:
            self._known[authorization] = principal
        return principal

    def identify(self, authorization: bytes | None) -> Principal:
        """Return who asks; raise KeyMissing, KeyInvalid, KeyUnconfirmed, KeyDisabled, AccountSuspended or NotReady."""
        view = self._snapshots.view
        if view is None:
            raise NotReady
        scheme, _, rest = authorization.partition(b" ") if authorization else (b"", b"", b"")
        if scheme != b"Bearer" and scheme.lower() != b"bearer":
            raise KeyMissing
        key = rest.strip(b" ")
        well_formed = keys.well_formed(key)
        principal = view.principals.get(keys.digest(key)) if well_formed else None
        if principal is None:
            if keys.is_admin(key):
                raise InferenceKeyRequired
            if well_formed and not self._snapshots.is_fresh():
                raise KeyUnconfirmed
            raise KeyInvalid(keys.redact(key))
        expires_at = principal.key.expires_at
        if expires_at is not None and self._wall_clock() >= expires_at:
            raise KeyInvalid(keys.redact(key))
        if principal.key.disabled:
            raise KeyDisabled
        if principal.account.suspended:
            raise AccountSuspended
        return principal

    def judge(self, exchange: Exchange, request: ChatRequest) -> Candidate:
        """Return what the request would be admitted to; raise ModelNotFound or ModelForbidden."""
        name = request.model
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
        prices = model.prices
        price = prices[0] if len(prices) == 1 else pricing.in_force(prices, self._wall_clock())
        return Candidate(principal, model, view, price, reserve(request, model, price, principal.limits))

    async def admit(self, exchange: Exchange, candidate: Candidate) -> Grant:
        """Take what the request reserves; raise RateLimited, QuotaExceeded or LedgerUnavailable.

        The limits' headers are of this very decision.
        """
        reservation, principal = candidate.reservation, candidate.principal
        claim = Claim(exchange.request_id, principal, reservation.tokens, reservation.nano)
        decision = await self._limits.admit(claim)
        if isinstance(decision, Refusal):
            error = refusals.explain(decision)
            exchange.limits = self._quota.write(principal, error.retry_after)
            self._limits.refused(principal, decision, candidate.model.name)
            raise error
        exchange.limits = self._quota.confirm(decision)
        return decision
