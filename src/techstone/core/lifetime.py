"""Lifetimes as people write them: `45s`, `15m`, `12h`, `30d`, `2w`."""

from __future__ import annotations

import re

LONGEST = 100 * 365 * 86_400

_LIFETIME = re.compile(r"(\d{1,9})([smhdw])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse(text: str) -> int:
    """Return seconds; raise ValueError on what is no lifetime of 1 second to 100 years."""
    found = _LIFETIME.fullmatch(text.strip())
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not 0 < seconds <= LONGEST:
        raise ValueError("must be a lifetime such as 45s, 15m, 12h, 30d or 2w, at most 100 years")
    return seconds
