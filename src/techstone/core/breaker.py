"""The breaker of one route: opens after 5 consecutive failures, lets one probe through after 10 s, closes on success.

Time comes in as seconds of any monotonic clock. While it is open the route is not tried at all, so that a dead upstream
costs a request nothing (row F-5: recovery within 35 s).
"""

from __future__ import annotations

from typing import Literal

FAILURES = 5
OPEN_SECONDS = 10.0

State = Literal["closed", "open", "half-open"]


class Breaker:
    """The state of one route."""

    __slots__ = ("_failures", "_opened", "_probing", "error", "failed_at")

    def __init__(self) -> None:
        self._failures = 0
        self._opened: float | None = None
        self._probing = False
        self.error = ""
        """What went wrong last, in a word or two, and `failed_at` when; for people, also where it does not count."""
        self.failed_at = 0.0

    @property
    def closed(self) -> bool:
        """Whether calls may be made without asking the clock."""
        return self._opened is None

    def allows(self, now: float) -> bool:
        """Return whether a call may be made now. True in the half-open state means: this call is the probe."""
        if self._opened is None:
            return True
        if self._probing or now - self._opened < OPEN_SECONDS:
            return False
        self._probing = True
        return True

    def succeed(self) -> None:
        """Take a call that worked."""
        self._failures = 0
        self._opened = None
        self._probing = False

    def fail(self, now: float) -> None:
        """Take a call that did not."""
        self._failures += 1
        if self._probing or self._failures >= FAILURES:
            self._opened = now
        self._probing = False

    def remember(self, error: str, now: float) -> None:
        """Keep what went wrong."""
        self.error = error
        self.failed_at = now

    def abandon(self) -> None:
        """Take a call of which nothing is known, because the client hung up: the next one may be the probe."""
        self._probing = False

    def hasten(self, now: float) -> None:
        """Hear that the upstream is there again: the next call may be the probe at once."""
        if self._opened is not None:
            self._opened = min(self._opened, now - OPEN_SECONDS)

    def wait(self, now: float) -> float:
        """Return the seconds until a call may be made, 0.0 if now."""
        if self._opened is None:
            return 0.0
        return max(0.0, self._opened + OPEN_SECONDS - now)

    def state(self, now: float) -> State:
        """Return the state, for people and metrics."""
        if self._opened is None:
            return "closed"
        return "half-open" if now - self._opened >= OPEN_SECONDS else "open"
