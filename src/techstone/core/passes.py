"""The passes of the port between the planes: what a gateway on another machine shows with each request.

Both planes are given one token, and two passes are made of it: one opens what gateways do themselves (the snapshot,
usage, reports), one the pages that they forward for clients. So nothing that a client can write into a request, its
path included, leads it to what is the gateways': the pass that travels with it does not open that.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Literal

HEADER = b"x-techstone-pass"
# As many bits as the hash has (RFC 2104 section 3): a token that is made by `openssl rand -hex 32` has 64 characters.
LEAST_BYTES = 32

Purpose = Literal["seam", "pages"]


def make(token: bytes, purpose: Purpose) -> bytes:
    """Return the pass for a purpose, in hexadecimal."""
    return hmac.new(token, b"techstone " + purpose.encode(), hashlib.sha256).hexdigest().encode()


def same(shown: bytes, expected: bytes) -> bool:
    """Say whether a pass is the expected one, in a time that tells nothing of how far it is right."""
    return hmac.compare_digest(shown, expected)
