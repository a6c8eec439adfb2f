"""Argon2id as OWASP wants it, bounded."""

from __future__ import annotations

import asyncio

import pytest

from techstone.adapters.passwords import Argon2Hasher, read_common
from techstone.core.errors import ServiceUnavailable


async def test_hash_has_the_parameters_and_takes_every_byte() -> None:
    """No truncation at 72 bytes or at NUL (row W-5)."""
    hasher = Argon2Hasher()
    twin = "x" * 72
    for password, other in ((twin + "a", twin + "b"), ("a\0b", "a\0c"), ("pässwörd", "password")):
        known = await hasher.hash(password)
        assert known.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert await hasher.verify(password, known)
        assert not await hasher.verify(other, known)
        assert not hasher.is_outdated(known)
    assert Argon2Hasher(2 * 19_456).is_outdated(known)


async def test_nobody_has_no_password() -> None:
    """It takes a hash all the same, and is never right."""
    assert not await Argon2Hasher(8).verify("", None)
    assert not await Argon2Hasher(8).verify("x", "no hash")


async def test_queue_is_short() -> None:
    """What strangers can make us compute is bounded: the seventeenth at once is told to wait."""
    hasher = Argon2Hasher(8)
    done = await asyncio.gather(*(hasher.hash("x") for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(one, ServiceUnavailable) for one in done) == 4
    await hasher.hash("x")


def test_common_passwords_are_long_enough_to_be_chosen() -> None:
    """Shorter ones are refused by their length."""
    common = read_common()
    assert "password123" in common
    assert len(common) > 1000
    assert all(len(password) >= 10 and password == password.casefold() for password in common)


@pytest.mark.parametrize("password", ["", "x" * 1000])
async def test_any_length_is_hashed(password: str) -> None:
    """The rule on lengths is not the hasher's."""
    hasher = Argon2Hasher(8)
    assert await hasher.verify(password, await hasher.hash(password))
