"""The flood guard: it lets whatever the plan allows through, and never twenty times as much."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from techstone.core.flood import FACTOR, Flood
from techstone.core.window import Window

_PAUSES = st.lists(st.sampled_from([0.0, 0.0, 0.1, 1.0]) | st.floats(0, 90), min_size=1, max_size=80)
_PLANS = st.integers(1, 2)


@given(_PAUSES, _PLANS)
def test_any_minute_holds_twenty_times_the_plan_at_most(pauses: list[float], plan: int) -> None:
    """Ten times the plan at once, and from then on ten times its pace."""
    flood, now, passed = Flood(), 0.0, list[float]()
    for pause in pauses:
        now += pause
        if not flood.wait(now, plan):
            passed.append(now)
    assert max(sum(first <= at < first + 60 for at in passed) for first in passed) <= 2 * FACTOR * plan
    for place, last in enumerate(passed):
        for before, first in enumerate(passed[:place]):
            assert place - before + 1 <= FACTOR * plan * (1 + (last - first) / 60) + 1e-9


@given(_PAUSES, _PLANS)
def test_who_waits_what_he_was_told_passes(pauses: list[float], plan: int) -> None:
    """The wait is that until the next request, which is one interval at most; not half of it is enough."""
    flood, now = Flood(), 1000.0
    for pause in pauses:
        now += pause
        wait = flood.wait(now, plan)
        if wait:
            assert wait <= 60 / (FACTOR * plan) + 1e-9
            assert flood.wait(now + wait * 0.5, plan) or wait < 1e-9
            now += math.ceil(wait * 1000) / 1000 + 1e-9  # as `retry-after-ms` tells it, rounding aside
            assert flood.wait(now, plan) == 0.0


@given(_PAUSES, _PLANS)
def test_who_keeps_to_the_plan_never_meets_it(pauses: list[float], plan: int) -> None:
    """Whatever `core.window` admits, the guard lets through."""
    flood, window, now = Flood(), Window(), 0.0
    for pause in pauses:
        now += pause
        window.expire(now)
        if not window.wait_for_request(now, plan):
            window.add(now, 1, 0)
            assert flood.wait(now, plan) == 0.0


def test_refused_requests_do_not_lengthen_the_wait() -> None:
    """Only what passes counts, so that a client gone wild is not locked out."""
    flood = Flood()
    waits = [flood.wait(0.0, 1) for _ in range(100)]
    assert waits == [0.0] * 10 + [6.0] * 90
    assert flood.wait(5.5, 1) == 0.5
    assert flood.wait(6.0, 1) == 0.0
