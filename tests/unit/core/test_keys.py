"""Keys: their form, their checksum, their digest."""

from __future__ import annotations

import re
import timeit
import zlib
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.core import keys

randomness = st.binary(min_size=keys.RANDOM_BYTES, max_size=64)


@given(randomness, st.sampled_from(get_args(keys.Form)))
def test_composed_key_is_well_formed_and_matches_the_published_pattern(random: bytes, form: keys.Form) -> None:
    """Every key that is made is accepted for its own work alone, as text and as bytes, and scanners find it."""
    key = keys.compose(random, form)
    for given_as in (key, key.encode()):
        assert keys.well_formed(given_as) == (form != "admin")
        assert keys.is_admin(given_as) == (form == "admin")
    assert re.fullmatch(keys.PATTERN, key)
    assert key.startswith(f"ts_{form}_")


@given(randomness)
def test_checksum_is_crc32_of_all_before_it_in_base62(random: bytes) -> None:
    """The last six characters are the CRC-32 of the first 48, most significant digit first, zero-padded."""
    key = keys.compose(random)
    value = 0
    for character in key[-6:]:
        value = value * 62 + keys.ALPHABET.index(character)
    assert value == zlib.crc32(key[:48].encode())


@given(randomness, st.integers(0, keys.LENGTH - 1), st.sampled_from(keys.ALPHABET + "_- ü\n"))
def test_one_changed_character_is_noticed(random: bytes, place: int, character: str) -> None:
    """A typing error in any one character is refused: CRC-32 finds every burst of up to 32 bits."""
    key = keys.compose(random)
    changed = key[:place] + character + key[place + 1 :]
    assert keys.well_formed(changed) == (changed == key)
    admin = keys.compose(random, "admin")
    changed = admin[:place] + character + admin[place + 1 :]
    assert keys.is_admin(changed) == (changed == admin)


@given(st.one_of(st.text(max_size=80), st.binary(max_size=80)))
def test_anything_can_be_asked_for(other: str | bytes) -> None:
    """No input raises, and what is not 54 characters of the alphabet is not a key."""
    assert not keys.well_formed(other)
    assert not keys.is_admin(other)


@pytest.mark.parametrize("other", ["", "ts_live_", "sk-" + "a" * 51, "ts_live_" + "é" * 46, "ts_live_" + "٣" * 46])
def test_stranger_is_refused(other: str) -> None:
    """Other vendors' keys, empty ones and digits of other scripts are no keys."""
    assert not keys.well_formed(other)


def test_too_little_randomness_is_refused() -> None:
    """A key is never made of fewer random bytes than its 238 bits need."""
    with pytest.raises(ValueError, match="48 random bytes"):
        keys.compose(b"x" * 47)


def test_digest_is_sha256_of_the_whole_key() -> None:
    """The digest is of prefix, body and checksum, the same for text and bytes."""
    key = keys.compose(bytes(48))
    assert key == "ts_live_" + "0" * 40 + key[-6:]
    assert keys.digest(key) == keys.digest(key.encode())
    assert len(keys.digest(key)) == 32


def test_hint_shows_prefix_and_last_four_only() -> None:
    """Of the 40 random characters none is in the hint."""
    key = keys.compose(bytes(range(48)), "admin")
    assert keys.hint(key) == "ts_admin_..." + key[-4:]


def test_check_costs_about_a_microsecond() -> None:
    """The gateway checks the form on every request: 0.5 µs measured; held to 100, so that a busy machine passes."""
    key = keys.compose(bytes(range(48))).encode()
    best = min(timeit.repeat(lambda: keys.well_formed(key), number=2000, repeat=5)) / 2000
    print(f"check of a key's form: {best * 1e6:.2f} µs")
    assert best < 1e-4
