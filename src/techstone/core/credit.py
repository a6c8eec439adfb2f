"""Money that may be spent: an account's credit and the caps of accounts and keys, each with what is held against it.

Held before a request, settled after; all amounts are whole nano-dollars. Periods are UTC days and months, as numbers
that only compare equal or not.
"""

from __future__ import annotations

import msgspec

_DAY_SECONDS = 86_400


class Period(msgspec.Struct, frozen=True, gc=False):
    """The UTC day (days since 1970-01-01) and the month that it lies in (months since year 0)."""

    day: int
    month: int


def period_of(seconds: float) -> Period:
    """Return the period of a unix time.

    Days to civil date by Howard Hinnant's algorithm (howardhinnant.github.io/date_algorithms.html, civil_from_days).
    """
    return _place(seconds)[0]


def month_start(seconds: float) -> int:
    """Return the first second of the UTC month that a unix time lies in."""
    period, day_of_month = _place(seconds)
    return (period.day - day_of_month + 1) * _DAY_SECONDS


def _place(seconds: float) -> tuple[Period, int]:
    """Return the period of a unix time, and the day of its month, from 1 on."""
    day = int(seconds // _DAY_SECONDS)
    shifted = day + 719_468
    era, of_era = divmod(shifted, 146_097)
    year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    day_of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    march_based = (5 * day_of_year + 2) // 153
    month = march_based + 3 if march_based < 10 else march_based - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    return Period(day, year * 12 + month - 1), day_of_year - (153 * march_based + 2) // 5 + 1


class Spending:
    """What was spent in one period, and what is held besides. A new period begins at nothing; holds go on."""

    __slots__ = ("held", "period", "spent")

    def __init__(self, period: int, spent: int = 0) -> None:
        self.period = period
        self.spent = spent
        self.held = 0

    def turn(self, period: int) -> None:
        """Go on to a period."""
        if period > self.period:
            self.period = period
            self.spent = 0

    def room(self, cap: int) -> int:
        """Return what is left of a cap; below zero where the cap was lowered."""
        return cap - self.spent - self.held

    def settle(self, period: int, began: int, held: int, cost: int) -> None:
        """Go on to a period, give a hold back and book what it came to, if it began in the period that counts now."""
        if period > self.period:
            self.period = period
            self.spent = 0
        self.held -= held
        if began == self.period:
            self.spent += cost
