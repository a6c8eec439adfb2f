"""UTC months by name, such as `2026-11`; pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])", re.ASCII)


def parse(month: str) -> tuple[int, int]:
    """Return the month's first unix second, and that of the next; raise ValueError."""
    found = _MONTH.fullmatch(month)
    if found is None:
        raise ValueError("month must be a year and a month such as 2026-11")
    year, number = int(found[1]), int(found[2])
    after = (year + 1, 1) if number == 12 else (year, number + 1)
    return _begin(year, number), _begin(*after)


def name(seconds: int) -> str:
    """Return the month that a unix time lies in."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m")


def step(month: str, by: int = 1) -> str:
    """Return the month after it (1) or before it (-1)."""
    begin, end = parse(month)
    return name(end) if by > 0 else name(begin - 1)


def _begin(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp())
