"""Guesses at keys: twenty a minute from an address, each address by itself, in bounded memory."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.core.attempts import LIMIT, Attempts

_PAUSES = st.lists(st.sampled_from([0.0, 0.5]) | st.floats(0, 20), min_size=1, max_size=30)


@given(_PAUSES)
def test_any_minute_holds_twenty_attempts(pauses: list[float]) -> None:
    """After each it is told how many are left; who waits what he was told may try again."""
    attempts, now, counted = Attempts(), 0.0, [0.0] * (LIMIT - 2)
    for at in counted:
        attempts.fail("192.0.2.1", at)
    for pause in pauses:
        now += pause
        wait = attempts.fail("192.0.2.1", now)
        assert (wait == 0.0) == (sum(at + 60 > now for at in counted) < LIMIT)
        if wait:
            now += math.ceil(wait * 1000) / 1000 + 1e-9  # as `retry-after-ms` tells it, rounding aside
            assert attempts.fail("192.0.2.1", now) == 0.0
        counted.append(now)
        assert attempts.standing("192.0.2.1", now)[0] == LIMIT - sum(at + 60 > now for at in counted)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8:0:0:ffff::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("2001:DB8::1", "2001:db8::1", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("no:address", "no:address", True),
        ("no:address", "no:other", False),
    ],
)
def test_client_is_an_ipv4_address_or_a_64_of_ipv6(first: str, second: str, same: bool) -> None:  # noqa: FBT001 - a fact of the table
    """A host may take any address of its /64; IPv4 in IPv6's clothes is IPv4; what is no address stands for itself."""
    attempts = Attempts()
    for _ in range(LIMIT):
        assert attempts.fail(first, 0.0) == 0.0
    assert (attempts.fail(second, 0.0) > 0) == same
    assert attempts.standing(second, 0.0)[0] == (0 if same else LIMIT - 1)


def test_standing_of_a_stranger_is_full() -> None:
    """Before any failure, and after the failures of others only."""
    attempts = Attempts()
    assert attempts.standing("192.0.2.1", 0.0) == (LIMIT, 0.0)
    attempts.fail("192.0.2.2", 0.0)
    assert attempts.standing("192.0.2.1", 0.0) == (LIMIT, 0.0)


def test_standing_tells_when_all_attempts_are_back() -> None:
    """60 s after the last one that counted; those that were refused do not lengthen it."""
    attempts = Attempts()
    for second in range(30):
        attempts.fail("192.0.2.1", float(second))
    assert attempts.standing("192.0.2.1", 30.0) == (0, 49.0)
    assert attempts.standing("192.0.2.1", 79.0) == (LIMIT, 0.0)


def test_address_that_failed_longest_ago_gives_its_place() -> None:
    """10,000 addresses are kept: one more costs the oldest its count, not one that failed again since."""
    attempts = Attempts()
    for number in range(10_000):
        attempts.fail(f"address {number}", 0.0)
    attempts.fail("address 0", 1.0)
    attempts.fail("one more", 2.0)
    assert attempts.standing("address 0", 2.0)[0] == LIMIT - 2
    assert attempts.standing("address 1", 2.0)[0] == LIMIT
    assert attempts.standing("address 2", 2.0)[0] == LIMIT - 1
