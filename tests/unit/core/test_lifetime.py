"""Lifetimes as people write them."""

from __future__ import annotations

import pytest

from techstone.core import lifetime


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), (" 15m ", 900), ("12h", 43_200), ("30d", 2_592_000), ("2w", 1_209_600)]
)
def test_lifetime_is_read(text: str, seconds: int) -> None:
    """A number and a unit."""
    assert lifetime.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "0d", "5", "d", "-1d", "1.5h", "1y", "40000d", "٣d"])
def test_anything_else_is_refused(text: str) -> None:
    """Nothing, nothing but a unit, more than 100 years."""
    with pytest.raises(ValueError, match="must be a lifetime such as"):
        lifetime.parse(text)
