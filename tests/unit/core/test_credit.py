"""Money that may be spent: periods as the calendar has them, and caps that begin anew with them."""

from __future__ import annotations

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from techstone.core.credit import Period, Spending, month_start, period_of

_DAY = 86_400
_EPOCH = date(1970, 1, 1).toordinal()


def test_periods_are_those_of_the_calendar() -> None:
    """Every day from 1970 to 2200, at its first and its last moment, lies in the day and month that Python says."""
    for day in range(date(2201, 1, 1).toordinal() - _EPOCH):
        at = date.fromordinal(_EPOCH + day)
        period = Period(day, at.year * 12 + at.month - 1)
        assert period_of(day * _DAY) == period_of(day * _DAY + 86_399.999) == period
        first = (at.replace(day=1).toordinal() - _EPOCH) * _DAY
        assert month_start(day * _DAY) == month_start(day * _DAY + 86_399.999) == first


def test_months_of_different_years_differ() -> None:
    """A monthly cap of last January does not count in this one; the months between are numbered without a gap."""
    months = [period_of((date(year, month, 1).toordinal() - _EPOCH) * _DAY).month for year, month in _MONTHS]
    assert months == list(range(months[0], months[0] + len(_MONTHS)))


_MONTHS = [(year, month) for year in (1999, 2000, 2001) for month in range(1, 13)]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 100), st.integers(0, 100))), st.integers(0, 1000))
def test_room_is_the_cap_without_what_was_spent_in_the_period_and_what_is_held(
    settled: list[tuple[int, int, int]], cap: int
) -> None:
    """Through periods that pass (0 to 2 at once), each with a hold that is settled and one that is not."""
    spending, spent, kept = Spending(7), 0, 0
    for passed, held, cost in settled:
        spending.turn(spending.period + passed)
        spending.held += 2 * held
        spending.settle(spending.period, spending.period, held, cost)
        spent = cost if passed else spent + cost
        kept += held
        assert spending.room(cap) == cap - spent - kept


def test_period_that_is_over_does_not_come_back() -> None:
    """A wall clock that is set back does not give anybody a second cap."""
    spending = Spending(7, spent=50)
    spending.turn(6)
    assert (spending.period, spending.spent) == (7, 50)


def test_room_of_a_lowered_cap_is_below_zero() -> None:
    """What was spent under the higher cap stays spent."""
    assert Spending(7, spent=50).room(20) == -30
