"""Top-up codes by their form: `ts_code_` and 26 base32 characters (130 bits). Whoever has one can redeem it, once.

Letters that people confuse are left out (Crockford's alphabet), and read as the digits that they look like. A code is
stored as the SHA-256 of its canonical form: with 130 random bits a slow hash would add nothing. Randomness comes in as
an argument.
"""

from __future__ import annotations

import hashlib

# https://www.crockford.com/base32.html: no i, l, o, u.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PREFIX = "ts_code_"
RANDOM_BYTES = 17  # 136 bits, of which 130 are used

_BODY = 26
_ALIKE = str.maketrans("iloILO", "110110")


def compose(random: bytes) -> str:
    """Make a code from at least RANDOM_BYTES random bytes."""
    if len(random) < RANDOM_BYTES:
        raise ValueError(f"a code needs {RANDOM_BYTES} random bytes, got {len(random)}")
    number = int.from_bytes(random, "big")
    return PREFIX + "".join(ALPHABET[number >> 5 * place & 31] for place in range(_BODY))


def digest(code: str) -> bytes:
    """Return what is stored of a code and looked up by, 32 bytes; of what is no code, a digest that no code has."""
    stripped = code.strip()
    body = stripped[len(PREFIX) :].translate(_ALIKE).lower()
    return hashlib.sha256((stripped[: len(PREFIX)].lower() + body).encode()).digest()
