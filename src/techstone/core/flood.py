"""The flood guard: a limit far above the plan, so cheap that it can be asked before a body is read.

Only a client gone wild meets it. GCRA (ATM Forum TM 4.0, "virtual scheduling"): one number an account. It lets bursts
through that the plan would not; what the plan allows is decided by `core.window`.
"""

from __future__ import annotations

# So many times the plan's requests a minute.
FACTOR = 10


class Flood:
    """One account's guard. The clock comes in."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due = 0.0  # the theoretical arrival time of the next request

    def wait(self, now: float, per_minute: int) -> float:
        """Let one request through and return 0.0, or return the seconds until the next one would be."""
        interval = 60.0 / (per_minute * FACTOR)
        due = max(self._due, now) + interval
        late = due - now - 60.0
        if late > 0:
            return late
        self._due = due
        return 0.0
