"""API keys by their form: `ts_live_`, `ts_test_` or `ts_admin_`, 40 base62 characters (238 bits), 6 of CRC-32.

Live and test keys are for inference, admin keys for the management API: neither does the other's work.

The checksum is not security: it lets the gateway refuse a typing error or a stranger's key before any look-up, and
secret scanners report true finds only (GitHub's reason for the same design, 2021). Randomness comes in as an argument.
A key is stored as the SHA-256 of the whole of it: with 238 random bits a slow hash would add nothing (ASVS 6.5.2).
"""

from __future__ import annotations

import hashlib
import re
import zlib
from typing import Literal, get_args

Form = Literal["live", "test", "admin"]
Scope = Literal["chat", "models", "limits", "estimate"]
"""What a key for inference can be used for: what the API's routes do."""
SCOPES: tuple[Scope, ...] = get_args(Scope)

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PATTERN = r"ts_(?:live|test|admin)_[0-9A-Za-z]{46}"
"""The published form, for secret scanners."""

# 2^384 / 62^40 > 2^145: the remainder is as good as uniform.
RANDOM_BYTES = 48

_PREFIXES = (b"ts_live_", b"ts_test_")
_ADMIN = b"ts_admin_"
_PREFIX = 8
_BODY = 40
_SUMMED = _PREFIX + _BODY
_SUM = 6
LENGTH = _SUMMED + _SUM

# Two base62 digits a step, so that a checksum costs two divisions (the whole check: 0.5 µs).
_PAIRS = tuple((high + low).encode() for high in ALPHABET for low in ALPHABET)
_SQUARE = 62**2
_FOURTH = 62**4


def _checksum(summed: bytes) -> bytes:
    high, rest = divmod(zlib.crc32(summed), _FOURTH)
    middle, low = divmod(rest, _SQUARE)
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]


def compose(random: bytes, form: Form = "live") -> str:
    """Make a key from at least RANDOM_BYTES random bytes."""
    if len(random) < RANDOM_BYTES:
        raise ValueError(f"a key needs {RANDOM_BYTES} random bytes, got {len(random)}")
    number = int.from_bytes(random, "big")
    digits = bytearray()
    for _ in range(_BODY):
        number, digit = divmod(number, 62)
        digits.append(ord(ALPHABET[digit]))
    summed = b"ts_%b_%b" % (form.encode(), bytes(digits))
    return (summed + _checksum(summed)).decode()


def well_formed(key: str | bytes) -> bool:
    """Say whether this has the form and the checksum of a key for inference; not whether it was ever given out."""
    if len(key) != LENGTH:
        return False
    if isinstance(key, str):
        if not key.isascii():
            return False
        key = key.encode()
    # bytes.isalnum knows ASCII only, unlike str.isalnum.
    return key.startswith(_PREFIXES) and key[_PREFIX:].isalnum() and key[_SUMMED:] == _checksum(key[:_SUMMED])


def is_admin(key: str | bytes) -> bool:
    """Say whether this has the form and the checksum of an admin key; not whether it was ever given out."""
    if isinstance(key, str):
        if not key.isascii():
            return False
        key = key.encode()
    body, checksum = key[:-_SUM], key[-_SUM:]
    shaped = len(key) == len(_ADMIN) + _BODY + _SUM and key.startswith(_ADMIN) and key[len(_ADMIN) :].isalnum()
    return shaped and checksum == _checksum(body)


def digest(key: str | bytes) -> bytes:
    """Return what is stored of the key and looked up by: SHA-256 of the whole of it, 32 bytes."""
    return hashlib.sha256(key.encode() if isinstance(key, str) else key).digest()


def redact(key: str | bytes) -> str:
    """Return what somebody sent as a key as it may be shown: never the whole of it, no byte but visible ASCII."""
    text = key if isinstance(key, str) else key.decode("latin-1")
    if len(text) < _PREFIX + 16 or not text.isascii() or not text.isprintable():
        return "***"
    return f"{text[:_PREFIX]}***{text[-4:]}"


_SECRETS = re.compile(
    r"(?:ts_(?:live|test|admin|code)_|sk-|(?i:bearer)\s+)[A-Za-z0-9._~+/=-]+"
    # What makes a link of the Console good once: to set a password, to claim the cloud, to join an account.
    r"|(?<=/console/link/)[^/?\s]+"
)


def conceal(text: str) -> str:
    """Return a text without what looks like a key, or like the secret of a link that is good once."""
    return _SECRETS.sub("[redacted]", text)


def hint(key: str) -> str:
    """Return the form in which a well-formed key may be shown again: prefix and last four characters."""
    return f"{key[: key.rindex('_') + 1]}...{key[-4:]}"
