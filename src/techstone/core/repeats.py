"""Idempotency-Keys as gateways with one Redis tell them to each other: one value a key, a claim or an answer.

A claim says that the request is being answered, and by whom; it is over with its lease. An answer is what a repetition
gets, wherever it is asked. How much of it all Redis may keep is counted here, too, as Redis itself must evict nothing.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import OrderedDict

import msgspec

LEASE_SECONDS = 30
KEPT_SECONDS = 86_400
_DIGEST = 32
# Deflating takes 1 ms for so much, and the event loop waits; what is larger is rare, and kept as it is.
_DEFLATED = 64 * 1024
# What Redis takes beyond a key's name and its value: entries, object, rounding (80 to 180 by MEMORY USAGE, Redis 7.0).
_OVERHEAD = 120
_CLAIM, _PLAIN, _SMALL = b"c", b"p", b"z"


class Copy(msgspec.Struct, array_like=True, gc=False):
    """An answer as it is told: `at` in unix milliseconds, `cost` in nano-dollars, no payload: too large to be kept."""

    request_id: str
    stream: bool
    at: int
    cost: int
    payload: bytes


class Told(msgspec.Struct, gc=False):
    """What is known of a key: the SHA-256 of the body, and the answer; None while it is being made."""

    digest: bytes
    copy: Copy | None


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Copy)


def name(prefix: str, account: str, key: str) -> bytes:
    """Return the name that a key has in Redis: with the account's hash tag, of one length whatever the key."""
    return f"{prefix}:{{{account}}}:i:{hashlib.sha256(key.encode()).hexdigest()[:32]}".encode()


def claim(digest: bytes, holder: bytes) -> bytes:
    """Return the value of a key that is being answered by a gateway."""
    return _CLAIM + digest + holder


def keep(digest: bytes, copy: Copy) -> bytes:
    """Return the value of a key that was answered."""
    packed = _ENCODER.encode(copy)
    if len(packed) > _DEFLATED:
        return _PLAIN + digest + packed
    return _SMALL + digest + zlib.compress(packed, 1)


def read(value: bytes) -> Told | None:
    """Read a value; None: it is of another version, or nonsense."""
    kind, digest, rest = value[:1], value[1 : 1 + _DIGEST], value[1 + _DIGEST :]
    if kind == _CLAIM:
        return Told(digest, None)
    try:
        if kind == _SMALL:
            unpacker = zlib.decompressobj()
            rest = unpacker.decompress(rest, _DEFLATED)
        elif kind != _PLAIN:
            return None
        return Told(digest, _DECODER.decode(rest))
    except (zlib.error, msgspec.MsgspecError):
        return None


def seconds_left(at: int, now: int) -> int:
    """Return for how long an answer is to be kept yet; both in unix milliseconds."""
    return KEPT_SECONDS - max(0, now - at) // 1000


class Budget:
    """The answers that one gateway has in Redis, oldest first, and their bytes. Times are in unix milliseconds."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[bytes, tuple[int, int]] = OrderedDict()
        self.size = 0

    def add(self, name: bytes, size: int, at: int, now: int) -> list[bytes]:
        """Count an answer, once however often it is told; return the names of those that must go, oldest first."""
        size += len(name) + _OVERHEAD
        before, _ = self._kept.pop(name, (0, 0))
        self._kept[name] = (size, at)
        self.size += size - before
        gone = []
        while self._kept and (self.size > self._most or not self._lasts(now)):
            lasts = self._lasts(now)
            oldest, (its_size, _) = self._kept.popitem(last=False)
            self.size -= its_size
            if lasts:
                gone.append(oldest)
        return gone

    def _lasts(self, now: int) -> bool:
        return seconds_left(next(iter(self._kept.values()))[1], now) > 0
