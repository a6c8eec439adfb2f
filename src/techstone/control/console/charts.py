"""Charts: what is drawn over time, as the table that stands behind the drawing. Pure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

import msgspec

from techstone.core import money

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from techstone.control.ledger.records import Bucket, Step

_HOUR = 3600
DAY = 86_400
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
    """From one time to another (unix seconds), in steps of so many seconds: hours that make a day, or days."""

    since: int
    until: int
    size: int = _HOUR

    @property
    def step(self) -> Step:
        """What the sums are asked by."""
        return "day" if self.size >= DAY else "hour"

    def find_start(self, at: int) -> int:
        """Return the first second of the step that a time lies in."""
        return at // self.size * self.size

    def list_starts(self) -> range:
        """Return the first second of each."""
        return range(self.find_start(self.since), self.until + 1, self.size)

    def write(self, start: int) -> str:
        """Return one of them in words, UTC."""
        return time.strftime("%-d %b %Y" if self.step == "day" else "%-d %b %H:00", time.gmtime(start))


def plot(buckets: Sequence[Bucket], span: Span, names: Mapping[str, str]) -> tuple[Chart, Chart]:
    """Return the tokens and the cost of keys or models over time, the largest first, by what `names` calls them."""
    sums: dict[str, int] = {}
    for bucket in buckets:
        sums[bucket.group] = sums.get(bucket.group, 0) + bucket.cost_nano + bucket.tokens
    lines = rank(sums)
    tokens: dict[tuple[int, str], int] = {}
    cost: dict[tuple[int, str], int] = {}
    for bucket in buckets:
        place = (span.find_start(bucket.start), lines[bucket.group])
        tokens[place] = tokens.get(place, 0) + bucket.tokens
        cost[place] = cost.get(place, 0) + bucket.cost_nano
    groups = tuple(dict.fromkeys(lines.values()))
    shown = tuple(names.get(group, group) for group in groups)
    return (
        Chart("Tokens", shown, _write(span, groups, tokens, "{:,}".format), kind="stack"),
        Chart("Cost", shown, _write(span, groups, cost, money.show), unit="USD", kind="stack"),
    )


def plot_total(buckets: Sequence[Bucket], span: Span) -> tuple[Chart, Chart]:
    """Return the requests and the cost over time, of everything together."""
    requests: dict[tuple[int, str], int] = {}
    cost: dict[tuple[int, str], int] = {}
    for bucket in buckets:
        place = (span.find_start(bucket.start), "")
        requests[place] = requests.get(place, 0) + bucket.requests
        cost[place] = cost.get(place, 0) + bucket.cost_nano
    return (
        Chart("Requests", ("Requests",), _write(span, ("",), requests, "{:,}".format)),
        Chart("Cost", ("Cost",), _write(span, ("",), cost, money.show), unit="USD"),
    )


def rank(sums: Mapping[str, int]) -> dict[str, str]:
    """Return the line of every name: its own for the greatest sums, the greatest first, and one for all others."""
    ranked = sorted(sums, key=lambda name: (-sums[name], name))
    own = ranked if len(ranked) <= MOST else ranked[: MOST - 1]
    return {name: name if name in own else OTHERS for name in ranked}


def _write(
    span: Span, names: Sequence[str], values: Mapping[tuple[int, str], int], form: Callable[[int], str]
) -> tuple[Row, ...]:
    """Return for every start of the span what each name has; 0 where it has nothing."""
    return tuple(
        Row(start, span.write(start), tuple(form(values.get((start, name), 0)) for name in names))
        for start in span.list_starts()
    )
