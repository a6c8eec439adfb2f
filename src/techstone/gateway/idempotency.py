"""Idempotency-Key: the same key and the same body get the same answer, which is made and billed once.

Scope: the account, for 24 h. Another body under the key is refused, and so is the same while its answer is being made.
A request that failed leaves its key free: its retry is a new try. What this gateway answered it knows by itself; where
several share their limits, a key that it does not know is taken for it among all of them first.
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
from techstone.gateway.ports import RunningElsewhere, StoredAnswer

if TYPE_CHECKING:
    from techstone.gateway.exchange import Exchange
    from techstone.gateway.ports import Answers, Repeats

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
    """Which keys are being answered now, over the answers that are stored; `repeats`: by other gateways, too."""

    def __init__(self, answers: Answers, repeats: Repeats | None = None) -> None:
        self._answers = answers
        self._repeats = repeats
        self._running: dict[tuple[str, str], bytes] = {}

    async def claim(self, exchange: Exchange, account: str, now: int) -> Claimed | StoredAnswer | None:
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
            _check(found.digest, digest, too_large=found.too_large)
            stored = self._answers.load(found)
            if stored is not None:
                return stored
        self._running[account, key] = digest
        if self._repeats is not None:
            try:
                elsewhere = await self._claim_among_all(self._repeats, account, key, digest)
            except BaseException:
                self._running.pop((account, key), None)
                raise
            if elsewhere is not None:
                self._running.pop((account, key), None)
                return elsewhere
        return Claimed(account, key, digest)

    async def _claim_among_all(self, repeats: Repeats, account: str, key: str, digest: bytes) -> StoredAnswer | None:
        found = await repeats.claim(account, key, digest)
        if isinstance(found, RunningElsewhere):
            raise IdempotencyConflict if found.digest == digest else IdempotencyMismatch
        if found is not None:
            _check(found.digest, digest, too_large=not found.payload)
        return found

    def release(self, claimed: Claimed) -> None:
        """Hear that the request is over."""
        account, key = claimed.account, claimed.key
        self._running.pop((account, key), None)
        # Of an answer that is being stored, though its client hung up, the journal will tell (`keep` or `dismiss`).
        if self._repeats is not None and self._answers.coming(account, key) is None:
            self._repeats.release(account, key)


def _check(kept: bytes, digest: bytes, *, too_large: bool) -> None:
    """Raise where a key's answer, of a body with the first digest, is none to the second."""
    if kept != digest:
        raise IdempotencyMismatch
    if too_large:
        raise IdempotencyTooLarge


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
