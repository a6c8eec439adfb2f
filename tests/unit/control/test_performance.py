"""How models do, told by their requests."""

from __future__ import annotations

from techstone.control.ledger.performance import measure, rank
from techstone.control.ledger.records import Performance, Timing


def test_only_what_failed_here_makes_a_model_unavailable() -> None:
    """A 5xx and an answer that broke off; not a limit, a wrong request or a hang-up."""
    went = [(200, None), (200, "upstream_error"), (503, "x"), (429, "rate_limited"), (400, "x"), (499, "client_closed")]
    found = measure([Timing("m", status, code, False, 1000, 1000) for status, code in went])
    assert found["m"].requests == 6
    assert round(found["m"].available, 6) == round(4 / 6, 6)


def test_times_are_of_what_went_well() -> None:
    """The first byte of streams alone; the nearest rank of each."""
    streams = [Timing("m", 200, None, True, place * 1000, place * 2000) for place in range(1, 101)]
    others = [Timing("m", 500, "x", True, 10**9, 10**9), Timing("m", 200, None, False, 10**9, 5000)]
    assert measure([*streams, *others])["m"] == Performance(102, 1 - 1 / 102, 50.0, 95.0, 100.0, 190.0)


def test_what_was_not_asked_has_no_times() -> None:
    """Neither a model without requests nor one whose requests all failed."""
    assert measure([]) == {}
    assert measure([Timing("m", 503, "x", True, 0, 10)])["m"] == Performance(1, 0.0)


def test_rank_is_a_value_that_was_measured() -> None:
    """Of one value it is that one."""
    assert [rank(values, 0.95) for values in ([], [7], [1, 2], list(range(100)))] == [None, 7, 2, 94]
