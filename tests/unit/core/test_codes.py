"""The form of top-up codes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.core import codes

RANDOM = st.binary(min_size=codes.RANDOM_BYTES, max_size=codes.RANDOM_BYTES)


@given(RANDOM, RANDOM)
def test_code_carries_130_random_bits(first: bytes, second: bytes) -> None:
    """26 characters of 5 bits each, every one of them decided by the randomness."""
    made = codes.compose(first)
    assert re.fullmatch(r"ts_code_[0-9a-hjkmnp-tv-z]{26}", made)
    mask = 2**130 - 1
    same = int.from_bytes(first, "big") & mask == int.from_bytes(second, "big") & mask
    assert (made == codes.compose(second)) is same


def test_too_little_randomness_is_refused() -> None:
    """A code never has fewer bits than it promises."""
    with pytest.raises(ValueError, match="needs 17 random bytes"):
        codes.compose(b"1" * 16)


def test_code_is_read_as_people_write_it() -> None:
    """In any case, with blanks around, and with the letters that look like digits."""
    code = "ts_code_01abcdefghjkmnpqrstvwxyz01"
    for written in (f"  {code}\n", code.upper(), "ts_code_oIabcdefghjkmnpqrstvwxyzOl"):
        assert codes.digest(written) == codes.digest(code)
    assert codes.digest(code[:-1]) != codes.digest(code)
