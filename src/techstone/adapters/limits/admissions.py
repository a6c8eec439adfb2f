"""Who was admitted lately, in a file that a killed process leaves behind.

The journal knows a request from its end on. One that was under way when the process was killed is known from here, so
that a restart gives nobody its place in the plan a second time. The file is mapped into memory: what was written there
is the kernel's, and survives SIGKILL at the cost of no system call. A power cut may take it; a machine that boots
within the minute is not worth an fdatasync a request.

Entries are never erased, only written over, the oldest free one first: the journal says which of them have ended.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections import deque
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

    from techstone.core.limits import Claim

# Request, account and key by id, then tokens, then unix seconds: the time is written last, and makes the entry count.
_ENTRY = struct.Struct("<40s40s40sqd")
_TOKENS = struct.Struct("<q")
_TOKENS_AT = 120
_GROWTH = 4096


class Admission(msgspec.Struct, frozen=True):
    """What the file remembers of a request; `at` in unix seconds."""

    request: str
    account: str
    key: str
    tokens: int
    at: float


class Admissions:
    """The file; raise OSError where it cannot be had."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = os.fstat(self._file).st_size // _ENTRY.size * _ENTRY.size
        if not size:
            size = _GROWTH * _ENTRY.size
            os.ftruncate(self._file, size)
        self._map = mmap.mmap(self._file, size)
        self._free = deque(range(0, size, _ENTRY.size))

    def recall(self, since: float, ended: Container[str]) -> list[Admission]:
        """Return who was admitted after a time and is not known to have ended, oldest first.

        Their places are kept for as long as this process lives: it may be killed within the minute, too.
        """
        found, free = [], []
        for number, (request, account, key, tokens, at) in enumerate(_ENTRY.iter_unpack(self._map[:])):
            name = _read_name(request)
            if at > since and name not in ended:
                found.append(Admission(name, _read_name(account), _read_name(key), tokens, at))
            else:
                free.append((at, number * _ENTRY.size))
        self._free = deque(place for _, place in sorted(free))
        return sorted(found, key=lambda admission: admission.at)

    def note(self, claim: Claim, at: float) -> int:
        """Write a request down and return its place."""
        if not self._free:
            self._grow()
        place = self._free.popleft()
        who = claim.principal
        _ENTRY.pack_into(
            self._map, place, claim.request, who.account.id.encode(), who.key.id.encode(), claim.tokens, at
        )
        return place

    def change(self, place: int, tokens: int) -> None:
        """Write down what a request reserves by now."""
        _TOKENS.pack_into(self._map, place + _TOKENS_AT, tokens)

    def free(self, place: int) -> None:
        """Let the place of a request that has ended be written over, after all that are free already."""
        self._free.append(place)

    def _grow(self) -> None:
        size = len(self._map)
        os.ftruncate(self._file, size + _GROWTH * _ENTRY.size)
        self._map.resize(size + _GROWTH * _ENTRY.size)
        self._free.extend(range(size, len(self._map), _ENTRY.size))

    def close(self) -> None:
        """Let go of it."""
        self._map.close()
        os.close(self._file)


def _read_name(padded: bytes) -> str:
    return padded.rstrip(b"\0").decode("ascii", "replace")
