"""The snapshot on a gateway's own disk, by which it starts while the control plane is down, or goes on from there.

A file of the stream's lines: what there was at one revision in parts, then the changes since, appended as they came.
It is written anew once the changes are half of it, at a pace that its size allows; what a crash leaves torn at its end
is passed over. The event loop never waits for the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING

import msgspec

from techstone.core import stream
from techstone.core.assembly import Assembly
from techstone.core.stream import SnapshotError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from techstone.core.snapshot import Account, Head, Key
    from techstone.core.view import View

_PACE_SECONDS = 1.0
# Writing a million keys anew takes 4 s of a core: so many times as long nothing is written anew after it.
_REST = 10
_LEAST_CHANGES = 1024 * 1024
# What waits for a disk that hangs; above it everything is written anew once it is back.
_LONGEST_QUEUE = 32 * 1024 * 1024
_PART = 1000


class SnapshotCopy:
    """The file, for its owner alone. `view_secret` never gets there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._view: View | None = None
        self._stale = False
        self._waiting: list[bytes] = []
        self._held = 0
        self._base = 0
        self._changes = 0
        self._arrived = asyncio.Event()

    def load(self) -> View | None:
        """Return what it says, None where there is no file; raise OSError, SnapshotError where it is of no use."""
        assembly, view = Assembly(), None
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return None
        with file:
            for line in file:
                try:
                    found = assembly.take(_read_line(line))
                except SnapshotError:
                    if view is None:
                        raise
                    self._stale = True  # the end is torn: what comes is not to be appended to it
                    break
                if view is None:
                    self._base += len(line)
                else:
                    self._changes += len(line)
                view = found or view
        if view is None:
            raise SnapshotError("it has no whole snapshot")
        return view

    def replace(self, view: View) -> None:
        """Write a view that has no way from the one before."""
        self._view, self._stale = view, True
        self._arrived.set()

    def follow(self, view: View, line: bytes) -> None:
        """Write a line that led to a view."""
        self._view = view
        self._waiting.append(line)
        self._held += len(line)
        if self._held > _LONGEST_QUEUE:
            self._stale = True
        if self._stale:
            self._waiting.clear()
            self._held = 0
        self._arrived.set()

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        rest = 0.0
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            began = time.monotonic()
            # Not told to clients: serving does not depend on it, and the next change tries again.
            try:
                if self._stale or self._changes > max(_LEAST_CHANGES, self._base // 2):
                    await self._write_anew()
                    rest = (time.monotonic() - began) * _REST
                else:
                    await self._append()
            except OSError:
                self._stale = True
            await asyncio.sleep(max(_PACE_SECONDS, rest))
            rest = 0.0

    async def _append(self) -> None:
        lines, self._waiting, self._held = self._waiting, [], 0
        data = b"".join(lines)
        self._changes += len(data)
        await asyncio.to_thread(_append, self._path, data)

    async def _write_anew(self) -> None:
        view = self._view
        if view is None:
            return
        self._stale = False
        self._waiting, self._held = [], 0
        # The lists are of this moment, while the register goes on; 10 ms a million.
        accounts, keys = list(view.accounts.values()), list(view.keys)
        head = msgspec.structs.replace(view.snapshot, view_secret="")
        self._base = await asyncio.to_thread(_replace, self._path, _tell(head, accounts, keys))
        self._changes = 0


def _read_line(line: bytes) -> stream.Frame:
    """Read a line that is whole: one without its end may be read, but not be appended to."""
    if not line.endswith(b"\n"):
        raise SnapshotError("it ends in the middle of a line")
    return stream.decode(line)


def _tell(head: Head, accounts: list[Account], keys: list[Key]) -> Iterator[bytes]:
    """Yield a view as lines."""
    yield stream.encode(head)
    for place in range(0, len(accounts), _PART):
        yield stream.encode(stream.Part(accounts=tuple(accounts[place : place + _PART])))
    for place in range(0, len(keys), _PART):
        yield stream.encode(stream.Part(keys=tuple(keys[place : place + _PART])))
    yield stream.encode(stream.Whole(head.revision, len(accounts), len(keys)))


def _append(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND), "ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, lines: Iterator[bytes]) -> int:
    """Replace the file, whole or not at all, readable for its owner alone; return its size."""
    fresh = path.with_suffix(f".{os.getpid()}.new")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        fresh.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
    return size
