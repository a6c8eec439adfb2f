"""Money: strings and whole nano-dollars."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.core import money


@given(st.integers(0, money.LARGEST))
def test_amount_survives_being_shown(nano: int) -> None:
    """What is shown reads back as the same amount, to the nano-dollar."""
    assert money.parse(money.show(nano)) == nano


@pytest.mark.parametrize(
    ("usd", "nano"),
    [("0", 0), ("10", 10 * money.NANO), ("0.5", 500_000_000), ("0.000000001", 1), ("007.10", 7_100_000_000)],
)
def test_usd_is_read(usd: str, nano: int) -> None:
    """Up to nine decimals count, exactly."""
    assert money.parse(usd) == nano


@pytest.mark.parametrize(
    "usd", ["", "-1", "1e3", "1.0000000001", "1,5", "$5", " 5", ".5", "5.", "٣", "9999999999", "nan"]
)
def test_what_is_no_amount_is_refused(usd: str) -> None:
    """No sign, exponent, currency, blank, tenth decimal or foreign digit gets through."""
    with pytest.raises(ValueError, match="amount in USD"):
        money.parse(usd)


@pytest.mark.parametrize(
    ("nano", "usd"),
    [(0, "0.00"), (1, "0.000000001"), (1_500_000_000, "1.50"), (-250_000_000, "-0.25"), (400_000, "0.0004")],
)
def test_usd_is_shown(nano: int, usd: str) -> None:
    """Two decimals at least, more where the amount has them, the sign in front."""
    assert money.show(nano) == usd
