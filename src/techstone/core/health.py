"""How a server does, by the checks that ask it: unknown, up, or down after 3 failed checks in a row.

A guess is never the last word: who is down is tried after all others, not never, and a breaker judges the requests.
"""

from __future__ import annotations

from typing import Literal

# One lost check is the network's, three in three seconds are the server's (HAProxy's `fall` is 3, too).
FAILURES = 3

State = Literal["unknown", "up", "down"]
STATES: tuple[State, ...] = ("unknown", "up", "down")


class Health:
    """The state of one server. It begins unknown, which counts as usable."""

    __slots__ = ("_failures", "state")

    def __init__(self) -> None:
        self._failures = 0
        self.state: State = "unknown"

    def succeed(self) -> bool:
        """Take a check that was answered; say whether the server was down before."""
        returned = self.state == "down"
        self._failures = 0
        self.state = "up"
        return returned

    def fail(self, *, alive: bool = False) -> None:
        """Take a check that failed. `alive`: a request was answered meanwhile, so that it is busy, not dead."""
        self._failures = 0 if alive else self._failures + 1
        if self.state != "down" or alive:
            self.state = "down" if self._failures >= FAILURES else "unknown"
