"""The rate-limit headers of every answer, and the refusals of whoever sends far too much.

With a key: where its account and itself stand, from the books that decided. Without a valid one: the address's window
of failed attempts. `X-RateLimit-Reset` is in whole seconds and equals `Retry-After` on a refusal; OpenAI's six have
durations as Go's time.ParseDuration reads them (go-openai), until the window is empty again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from techstone.core import refusals
from techstone.core.attempts import Attempts
from techstone.core.errors import ApiError, RateLimited
from techstone.core.flood import FACTOR
from techstone.core.limits import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.core.limits import Grant, Standing
    from techstone.core.view import Principal
    from techstone.gateway.exchange import Exchange
    from techstone.gateway.ports import LimitStore

_LINES = (
    b"x-ratelimit-remaining: %d\r\nx-ratelimit-reset: %d\r\nx-ratelimit-limit-requests: %d\r\n"
    b"x-ratelimit-remaining-requests: %d\r\nx-ratelimit-reset-requests: %b\r\nx-ratelimit-limit-tokens: %d\r\n"
    b"x-ratelimit-remaining-tokens: %d\r\nx-ratelimit-reset-tokens: %b\r\n"
)
# Right after an admission the window is full again in a minute.
_ADMITTED = (
    b"x-ratelimit-remaining: %d\r\nx-ratelimit-reset: 60\r\nx-ratelimit-limit-requests: %d\r\n"
    b"x-ratelimit-remaining-requests: %d\r\nx-ratelimit-reset-requests: 1m0s\r\nx-ratelimit-limit-tokens: %d\r\n"
    b"x-ratelimit-remaining-tokens: %d\r\nx-ratelimit-reset-tokens: 1m0s\r\n"
)
_STRANGER = b"x-ratelimit-remaining: %d\r\nx-ratelimit-reset: %d\r\n"
# Within half a millisecond of a minute, as right after an admission.
_FULL = 59.9995


class Quota:
    """Writes the headers. `clock` is monotonic."""

    def __init__(self, limits: LimitStore, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._attempts = Attempts()

    def describe(self, exchange: Exchange) -> bytes:
        """Return the header lines for an answer that no decision was made for."""
        if exchange.principal is not None:
            return self.write(exchange.principal)
        left, reset = self._attempts.standing(exchange.client, self._clock())
        return _STRANGER % (left, math.ceil(reset))

    def confirm(self, grant: Grant) -> bytes:
        """Return the header lines of a request that was admitted just now: as `write`, at half its cost."""
        principal = grant.claim.principal
        if principal.key_limited:
            return self.write(principal)
        limits, window = principal.limits, grant.account.window
        left = limits.rpm - window.requests
        return _ADMITTED % (left, limits.rpm, left, limits.tpm, limits.tpm - window.tokens)

    def write(self, principal: Principal, wait: float | None = None) -> bytes:
        """Return the header lines of a key; `wait` is what a refusal tells."""
        return write(self._limits.standing(principal), wait)

    def fail(self, exchange: Exchange) -> RateLimited | None:
        """Count a key that is none; the refusal if its address has sent too many."""
        wait = self._attempts.fail(exchange.client, self._clock())
        if not wait:
            return None
        seconds = math.ceil(wait)
        exchange.limits = _STRANGER % (0, seconds)
        return RateLimited(
            "Too many attempts with invalid API keys from your address. Please retry after "
            f"{seconds} second{'' if seconds == 1 else 's'}.",
            wait,
        )

    def flood(self, exchange: Exchange, principal: Principal) -> ApiError | None:
        """Let a request through to its body, or refuse it unread."""
        wait = self._limits.flood(principal)
        if not wait:
            return None
        exchange.limits = self.write(principal, wait)
        refusal = Refusal("flood", "account", principal.limits.rpm * FACTOR, 1, wait)
        self._limits.refused(principal, refusal, None)
        return refusals.explain(refusal)


def write(standing: Standing, wait: float | None = None) -> bytes:
    """Return the eight header lines."""
    reset = standing.reset
    full = _duration(reset)
    return _LINES % (
        standing.remaining_requests,
        math.ceil(reset if wait is None else wait),
        standing.limit_requests,
        standing.remaining_requests,
        full,
        standing.limit_tokens,
        standing.remaining_tokens,
        full,
    )


def _duration(seconds: float) -> bytes:
    if seconds > _FULL:
        return b"1m0s"
    milliseconds = math.ceil(seconds * 1000)
    if milliseconds < 1000:
        return b"%dms" % milliseconds
    return b"%d.%03ds" % divmod(milliseconds, 1000)
