"""Charts: what is drawn over time, as the table that stands behind the drawing. Pure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Step = Literal["hour", "day"]
_SECONDS: dict[Step, int] = {"hour": 3600, "day": 86_400}
_FORMS: dict[Step, str] = {"hour": "%-d %b %H:00", "day": "%-d %b %Y"}
# As many lines as have a colour of their own; what is less than these is one line together.
MOST = 6
OTHERS = "all others"


class Row(msgspec.Struct, frozen=True):
    """An instant (unix seconds, and in words) and what each line has there, as it is shown."""

    at: int
    label: str
    values: tuple[str, ...]


class Chart(msgspec.Struct, frozen=True):
    """What `parts.chart` draws: a line for every name, or these stacked."""

    title: str
    names: tuple[str, ...]
    rows: tuple[Row, ...]
    unit: str = ""
    kind: Literal["line", "stack"] = "line"


class Span(msgspec.Struct, frozen=True):
    """The hours or days from one time to another (unix seconds), both included."""

    since: int
    until: int
    step: Step

    def list_starts(self) -> range:
        """Return the first second of each."""
        size = _SECONDS[self.step]
        return range(self.since // size * size, self.until + 1, size)

    def write(self, start: int) -> str:
        """Return one of them in words, UTC."""
        return time.strftime(_FORMS[self.step], time.gmtime(start))


def rank(sums: Mapping[str, int]) -> dict[str, str]:
    """Return the line of every name: its own for the greatest sums, the greatest first, and one for all others."""
    ranked = sorted(sums, key=lambda name: (-sums[name], name))
    own = ranked if len(ranked) <= MOST else ranked[: MOST - 1]
    return {name: name if name in own else OTHERS for name in ranked}


def tabulate(span: Span, names: Sequence[str], values: Mapping[tuple[int, str], int]) -> list[tuple[int, list[int]]]:
    """Return for every start of the span what each name has; 0 where it has nothing."""
    return [(start, [values.get((start, name), 0) for name in names]) for start in span.list_starts()]
