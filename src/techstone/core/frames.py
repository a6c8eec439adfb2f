"""Frames: how records lie in a file one after another, so that a torn or damaged one is seen.

A frame is the payload's length and its CRC-32C (Castagnoli, RFC 3720 appendix B.4), each 4 bytes little-endian, then
the payload. An empty payload is no frame: a run of zero bytes, as a crash can leave it, must not read as frames.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import google_crc32c

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = struct.Struct("<II")
HEAD_SIZE = _HEAD.size
# Far above any record; a length beyond it is damage, not a reason to allocate.
LARGEST = 64 * 1024 * 1024


def frame(payload: bytes) -> bytes:
    """Return the payload as a frame."""
    return _HEAD.pack(len(payload), google_crc32c.value(payload)) + payload


def read(data: bytes, start: int = 0) -> Iterator[tuple[bytes, int]]:
    """Yield each whole, undamaged payload and the position behind its frame; stop at the first that is neither."""
    view = memoryview(data)
    while start + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, start)
        end = start + _HEAD.size + length
        if not 0 < length <= LARGEST or end > len(data):
            return
        payload = bytes(view[start + _HEAD.size : end])
        if google_crc32c.value(payload) != checksum:
            return
        yield payload, end
        start = end
