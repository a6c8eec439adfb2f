"""Failed attempts to authenticate, by the client's address: a guard against guessing keys.

Valid keys are never held up by it, also from an address that many others share. Bounded: an address beyond the bound
takes the place of the one that failed longest ago. The clock comes in.
"""

from __future__ import annotations

import ipaddress

from techstone.core.window import Window

# Guesses in any 60 s (row A-2). A key has 238 random bits; this is against noise and cost, not against luck.
LIMIT = 20
_ADDRESSES = 10_000


class Attempts:
    """The windows of all addresses."""

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}

    def fail(self, address: str, now: float) -> float:
        """Count a failed attempt and return 0.0, or return the seconds until the next one would be counted."""
        name = name_network(address)
        window = self._windows.pop(name, None)
        if window is None:
            if len(self._windows) >= _ADDRESSES:
                del self._windows[next(iter(self._windows))]
            window = Window()
        self._windows[name] = window  # the youngest is last
        window.expire(now)
        wait = window.wait_for_request(now, LIMIT)
        if not wait:
            window.add(now, 1, 0)
        return wait

    def standing(self, address: str, now: float) -> tuple[int, float]:
        """Return how many attempts are left, and the seconds until all are."""
        window = self._windows.get(name_network(address)) if self._windows else None
        if window is None:
            return LIMIT, 0.0
        window.expire(now)
        return LIMIT - window.requests, window.reset(now)


def name_network(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 that an IPv6 host is given (RFC 6177)."""
    if ":" not in address:
        return address
    try:
        ip = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(int(ip) >> 64)
