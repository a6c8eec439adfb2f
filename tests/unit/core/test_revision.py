"""Eras of the revision: what leads from one number to another, and what does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from techstone.core.revision import begin_era, follows

_TIMES = st.integers(1_600_000_000, 7_258_000_000)
_CHANGES = st.integers(0, 10**6)


@given(_CHANGES, _CHANGES, _TIMES)
def test_nothing_follows_over_a_restore(told: int, more: int, now: int) -> None:
    """However far gateways had come, and however many changes came since."""
    era = begin_era(told, now)
    assert not follows(told, era + more)
    assert follows(era, era + more)
    assert not follows(era + more + 1, era + more)


@given(_CHANGES, _CHANGES, _TIMES, st.integers(60, 10**6))
def test_each_restore_begins_an_era_of_its_own(told: int, changes: int, now: int, later: int) -> None:
    """Also of the same backup, where nobody knows any more how far the lost database had come."""
    lost = begin_era(told, now) + changes
    again = begin_era(told, now + later)
    assert again > lost
    assert not follows(lost, again)
    assert begin_era(lost, now) > lost


def test_numbers_are_exact_in_every_reader_of_json() -> None:
    """Up to the year 2200: below 2^53."""
    assert begin_era(0, 7_258_118_400) < 2**53
