"""Money: whole nano-dollars inside, USD decimal strings outside, never a float.

A price of $0.15 per million tokens is 150 nano-dollars a token, so a nano is fine enough to price one token exactly.
"""

from __future__ import annotations

import re

NANO = 1_000_000_000
_CENT = NANO // 100
# 9 billion dollars: what a signed 64-bit column holds of nano-dollars.
LARGEST = 2**63 - 1

_USD = re.compile(r"(\d{1,10})(?:\.(\d{1,9}))?", re.ASCII)


def parse(usd: str) -> int:
    """Read USD with up to 9 decimals, such as `12`, `0.5` or `0.000000001`; raise ValueError on anything else."""
    found = _USD.fullmatch(usd)
    if found is None:
        raise ValueError("an amount in USD is digits with up to 9 decimals, such as 10 or 0.25")
    nano = int(found[1]) * NANO + int((found[2] or "").ljust(9, "0"))
    if nano > LARGEST:
        raise ValueError("an amount in USD is at most 9 billion")
    return nano


def show(nano: int) -> str:
    """Write nano-dollars as USD: at least two decimals, as many as the amount needs."""
    if nano < 0:
        return "-" + show(-nano)
    whole, part = divmod(nano, NANO)
    if part % _CENT == 0:
        return f"{whole}.{part // _CENT:02d}"
    return f"{whole}.{part:09d}".rstrip("0")
