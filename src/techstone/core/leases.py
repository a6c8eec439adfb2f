"""Slots for requests at a time, held as leases: a slot whose holder vanished comes back by itself within 30 s.

Who holds one renews it every 10 s. The clock comes in.
"""

from __future__ import annotations

SECONDS = 30.0
RENEWAL_SECONDS = 10.0


class Leases:
    """The slots in use of one account or key, by request id."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[bytes, float] = {}

    def room(self, now: float, limit: int) -> bool:
        """Say whether one more slot stays within the limit."""
        held = self._held
        if len(held) < limit:
            return True
        for request in [request for request, ends in held.items() if ends <= now]:
            del held[request]
        return len(held) < limit

    def take(self, request: bytes, now: float) -> None:
        """Hold a slot from now on, or renew it."""
        self._held[request] = now + SECONDS

    def give(self, request: bytes) -> None:
        """Give the slot back; nothing if it is not held."""
        self._held.pop(request, None)

    def count(self, now: float) -> int:
        """Return how many are held."""
        return sum(ends > now for ends in self._held.values())
