"""Whether the snapshot that a gateway serves by is still what the database says, and for how long it serves if not.

Who loses the control plane serves on. Who hears from it that it cannot reach the database does so for a minute
(docs/decisions/0023): another control plane may reach that database, and revoke keys there without our hearing of it.
"""

from __future__ import annotations

import asyncio
from typing import Literal

import msgspec


class Bounds(msgspec.Struct, frozen=True):
    """For how many seconds known keys are served; None: for as long as it lasts."""

    without_database: float | None = 60.0
    without_control: float | None = None


class Confirmation:
    """Kept by who follows the control plane, on the event loop's clock."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._confirmed_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.missing: Literal["database", "control"] | None = None
        """What is away. The database is, once a control plane has said so, until one says otherwise."""
        self.expired = False
        """Whether nobody is served any more."""

    def is_fresh(self, longest: float) -> bool:
        """Say whether nothing is away, and the last confirmation at most so many seconds old."""
        return self.missing is None and self._confirmed_at is not None and _now() - self._confirmed_at <= longest

    def confirm(self) -> None:
        """Hear that the snapshot is what the database says."""
        self._confirmed_at = _now()
        self.missing = None
        self.expired = False
        self.close()

    def miss_database(self, away: float) -> None:
        """Hear from a control plane that it has not reached the database for so many seconds."""
        if self.missing != "database":
            self.missing = "database"
            # Another one may have said since then what the database says.
            self._limit(self._bounds.without_database, min(away, self._past(away)))

    def miss_control(self) -> None:
        """Hear that no control plane says anything."""
        if self.missing is None:
            self.missing = "control"
            self._limit(self._bounds.without_control, self._past(0.0))

    def _past(self, never: float) -> float:
        """Return how long ago it was confirmed last."""
        return never if self._confirmed_at is None else _now() - self._confirmed_at

    def _limit(self, longest: float | None, past: float) -> None:
        self.close()
        if longest is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, longest - past), self._expire)

    def _expire(self) -> None:
        self.expired = True

    def close(self) -> None:
        """Keep no more time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _now() -> float:
    return asyncio.get_running_loop().time()
