"""Idempotency-Key: the same key and the same body get the same answer, which is made and billed once.

Scope: the account, for 24 h. Another body under the key is refused, and so is the same while its answer is being made.
A request that failed leaves its key free: its retry is a new try.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from techstone.core import money
from techstone.core.errors import (
    IdempotencyConflict,
    IdempotencyKeyInvalid,
    IdempotencyMismatch,
    IdempotencyTooLarge,
)
from techstone.gateway.ports import StoredAnswer

if TYPE_CHECKING:
    from techstone.gateway.exchange import Exchange
    from techstone.gateway.ports import Answers

# Stripe's bound; a UUID has 36.
_LONGEST_KEY = 255
LARGEST_ANSWER = 1024 * 1024


class Claimed(msgspec.Struct, gc=False):
    """A key that this request has taken, and the digest of its body."""

    account: str
    key: str
    digest: bytes

    def store(self, request_id: str, payload: bytes, *, stream: bool, at: int, cost: int) -> StoredAnswer:
        """Return the answer as it is kept; one that is too large is kept without its bytes."""
        kept = payload if len(payload) <= LARGEST_ANSWER else b""
        return StoredAnswer(self.account, self.key, self.digest, request_id, stream, at, cost, kept)


class Idempotency:
    """Which keys are being answered now, over the answers that are stored."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._running: dict[tuple[str, str], bytes] = {}

    def claim(self, exchange: Exchange, account: str, now: int) -> Claimed | StoredAnswer | None:
        """Take the request's key, or return the answer that is stored under it; None where it has no key.

        `now` is in unix milliseconds. Raise IdempotencyConflict, IdempotencyMismatch and their like.
        """
        raw = exchange.headers.get(b"idempotency-key")
        if raw is None:
            return None
        if not 0 < len(raw) <= _LONGEST_KEY or not raw.isascii() or not raw.decode().isprintable():
            raise IdempotencyKeyInvalid(_LONGEST_KEY)
        key = raw.decode()
        digest = hashlib.sha256(exchange.body).digest()
        running = self._running.get((account, key)) or self._answers.coming(account, key)
        if running is not None:
            raise IdempotencyConflict if running == digest else IdempotencyMismatch
        found = self._answers.find(account, key, now)
        if found is not None:
            if found.digest != digest:
                raise IdempotencyMismatch
            if found.too_large:
                raise IdempotencyTooLarge
            stored = self._answers.load(found)
            if stored is not None:
                return stored
        self._running[account, key] = digest
        return Claimed(account, key, digest)

    def release(self, claimed: Claimed) -> None:
        """Hear that the request is over."""
        self._running.pop((claimed.account, claimed.key), None)


def replay(exchange: Exchange, stored: StoredAnswer) -> None:
    """Send a stored answer, under the id that it was billed by."""
    exchange.request_id = stored.request_id.encode()
    extra = b"idempotent-replayed: true\r\n"
    if stored.stream:
        exchange.start_events(extra)
        exchange.finish(stored.payload)
    else:
        exchange.send_json(
            200, stored.payload, b"%bx-techstone-cost: %b\r\n" % (extra, money.show(stored.cost).encode())
        )
