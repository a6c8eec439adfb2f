"""API keys by their form: `ts_live_` or `ts_test_`, 40 base62 characters (238 bits), 6 base62 digits of CRC-32.

The checksum is not security: it lets the gateway refuse a typing error or a stranger's key before any look-up, and
secret scanners report true finds only (GitHub's reason for the same design, 2021). Randomness comes in as an argument.
A key is stored as the SHA-256 of the whole of it: with 238 random bits a slow hash would add nothing (ASVS 6.5.2).
"""

from __future__ import annotations

import hashlib
import zlib

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PATTERN = r"ts_(?:live|test)_[0-9A-Za-z]{46}"
"""The published form, for secret scanners."""

# 2^384 / 62^40 > 2^145: the remainder is as good as uniform.
RANDOM_BYTES = 48

_LIVE = b"ts_live_"
_TEST = b"ts_test_"
_PREFIXES = (_LIVE, _TEST)
_PREFIX = 8
_BODY = 40
_SUMMED = _PREFIX + _BODY
LENGTH = _SUMMED + 6

# Two base62 digits a step, so that a checksum costs two divisions (the whole check: 0.5 µs).
_PAIRS = tuple((high + low).encode() for high in ALPHABET for low in ALPHABET)
_SQUARE = 62**2
_FOURTH = 62**4


def _checksum(summed: bytes) -> bytes:
    high, rest = divmod(zlib.crc32(summed), _FOURTH)
    middle, low = divmod(rest, _SQUARE)
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]


def compose(random: bytes, *, live: bool = True) -> str:
    """Make a key from at least RANDOM_BYTES random bytes."""
    if len(random) < RANDOM_BYTES:
        raise ValueError(f"a key needs {RANDOM_BYTES} random bytes, got {len(random)}")
    number = int.from_bytes(random, "big")
    digits = bytearray()
    for _ in range(_BODY):
        number, digit = divmod(number, 62)
        digits.append(ord(ALPHABET[digit]))
    summed = (_LIVE if live else _TEST) + bytes(digits)
    return (summed + _checksum(summed)).decode()


def well_formed(key: str | bytes) -> bool:
    """Say whether this has the form and the checksum of a key; nothing about whether it was ever given out."""
    if len(key) != LENGTH:
        return False
    if isinstance(key, str):
        if not key.isascii():
            return False
        key = key.encode()
    # bytes.isalnum knows ASCII only, unlike str.isalnum.
    return key.startswith(_PREFIXES) and key[_PREFIX:].isalnum() and key[_SUMMED:] == _checksum(key[:_SUMMED])


def digest(key: str | bytes) -> bytes:
    """Return what is stored of the key and looked up by: SHA-256 of the whole of it, 32 bytes."""
    return hashlib.sha256(key.encode() if isinstance(key, str) else key).digest()


def hint(key: str) -> str:
    """Return the form in which a well-formed key may be shown again: prefix and last four characters."""
    return f"{key[:_PREFIX]}...{key[-4:]}"
