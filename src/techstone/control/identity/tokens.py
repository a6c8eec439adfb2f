"""Tokens of sessions and links: 256 random bits, stored as their SHA-256 alone."""

from __future__ import annotations

import base64
import hashlib
import hmac

TOKEN_BYTES = 32


def compose(random: bytes) -> str:
    """Return a token of random bytes, fit for a cookie and a URL."""
    return base64.urlsafe_b64encode(random).rstrip(b"=").decode()


def digest(token: str) -> bytes:
    """Return what is stored of a token and looked up by."""
    return hashlib.sha256(token.encode()).digest()


def show_csrf(token: str) -> str:
    """Return what a form of this session must hold; it cannot be made without the cookie."""
    return hashlib.sha256(b"csrf " + token.encode()).hexdigest()


def is_csrf(token: str, shown: str) -> bool:
    """Say whether a form is of this session."""
    return hmac.compare_digest(show_csrf(token).encode(), shown.encode())
