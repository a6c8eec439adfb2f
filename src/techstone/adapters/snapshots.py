"""Follows the control plane's snapshot stream; the adapter of the gateway's port `Snapshots`.

A frame that is broken or of another format is refused and the last good view kept; the stream is then begun anew. The
last good snapshot is on disk too, so that a gateway starts while the control plane is down.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import httptools
import msgspec

from techstone.core import snapshot as seam
from techstone.core.snapshot import Delta, Snapshot, SnapshotError, View

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CONNECT_SECONDS = 2.0
# The control plane sends a heartbeat every 5 s; three missed ones mean that it is gone.
_SILENT_SECONDS = 15.0
# A control plane that is away is asked often, so that it is heard soon after its start: a refused connection costs
# nothing. One that says what cannot be used is asked seldom: each time it sends the whole.
_AGAIN_SECONDS = 0.1
_REFUSED_SECONDS = 1.0
_LINE_LIMIT = 64 * 1024 * 1024
_READ = 256 * 1024
_REQUEST = b"GET /internal/snapshot HTTP/1.1\r\nHost: control\r\nAccept: application/x-ndjson\r\n\r\n"


class StaticSnapshots:
    """One snapshot, for ever. Implements `Snapshots`."""

    problem: str | None = None

    def __init__(self, snapshot: Snapshot) -> None:
        self.view: View | None = View(snapshot)

    async def reach(self, revision: int) -> None:
        """Implement `Snapshots.reach`: there is no other revision to wait for."""


class SnapshotFollower:
    """The newest view of the control plane at a Unix socket; `copy` is the file of the last good snapshot."""

    def __init__(self, socket: str, copy: Path) -> None:
        self.view: View | None = None
        self.problem: str | None = "no snapshot yet"
        self._socket = socket
        self._copy = copy
        self._arrived = asyncio.Event()
        self._moved = asyncio.Event()
        self.heard: Callable[[View], None] | None = None
        """Called with the view of every whole snapshot of the control plane, before any change to it."""
        self.followed = asyncio.Event()
        """Set once the control plane itself was heard."""
        self.heard_at = 0.0
        """When it was heard last, by the event loop's clock."""

    def load(self) -> None:
        """Begin with the copy on disk, if there is one that can be read."""
        try:
            frame = seam.decode(self._copy.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, SnapshotError) as error:
            self.problem = f"the snapshot on disk cannot be used: {error}"
            return
        if isinstance(frame, Snapshot):
            self.view = View(frame)

    async def run(self) -> None:
        """Follow, until cancelled."""
        keeping = asyncio.create_task(self._keep_copy())
        try:
            while True:
                pause = _AGAIN_SECONDS
                try:
                    await self._follow()
                    self.problem = "the control plane ended the snapshot stream"
                except SnapshotError as error:
                    self.problem = str(error)
                    pause = _REFUSED_SECONDS
                except TimeoutError:
                    self.problem = "the control plane is silent"
                except OSError as error:
                    self.problem = f"the control plane cannot be reached: {error.strerror or error}"
                await asyncio.sleep(pause)
        finally:
            keeping.cancel()

    async def reach(self, revision: int) -> None:
        """Implement `Snapshots.reach`."""
        while self.view is None or self.view.snapshot.revision < revision:
            await self._moved.wait()

    async def _follow(self) -> None:
        """Read one stream to its end."""
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_unix_connection(self._socket)
        try:
            writer.write(_REQUEST)
            lines = _Lines()
            current: View | None = None
            while True:
                async with asyncio.timeout(_SILENT_SECONDS):
                    data = await reader.read(_READ)
                if not data:
                    return
                for line in lines.feed(data):
                    current = self._take(current, line)
        finally:
            writer.close()

    def _take(self, current: View | None, line: bytes) -> View:
        """Return the view after the line; raise SnapshotError where it does not follow."""
        frame = seam.decode(line)
        if isinstance(frame, Delta) and current is not None:
            following = current.follow(frame)
        else:
            snapshot = seam.advance(None if current is None else current.snapshot, frame)
            following = current if current is not None and snapshot is current.snapshot else View(snapshot)
        if following is not current:
            if self.heard is not None and isinstance(frame, Snapshot):
                self.heard(following)
            self.view = following
            self._arrived.set()
            self._moved.set()
            self._moved = asyncio.Event()
        self.problem = None
        self.heard_at = asyncio.get_running_loop().time()
        self.followed.set()
        return following

    async def _keep_copy(self) -> None:
        """Write the newest snapshot to disk, at most once a second, beside the event loop."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            if self.view is not None:
                kept = msgspec.structs.replace(self.view.snapshot, view_secret="")
                # Not told to clients: serving does not depend on it, and the next change writes it again.
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(_write, self._copy, seam.encode(kept))
            await asyncio.sleep(1.0)


class _Lines:
    """Bytes of an HTTP answer in, lines of its body out."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._held = 0
        self._ended = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that the bytes complete; raise SnapshotError."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            # The parser hides what a callback of ours raised behind an error of its own.
            raise SnapshotError(str(error.__context__)) from error
        except httptools.HttpParserError as error:
            raise SnapshotError(f"the snapshot stream is no HTTP: {error}") from error
        if not self._ended:
            return []
        lines = b"".join(self._pieces).split(b"\n")
        self._pieces = [lines.pop()]
        self._held = len(self._pieces[0])
        self._ended = False
        return lines

    def on_headers_complete(self) -> None:
        """Refuse what is not the stream."""
        status = self._parser.get_status_code()
        if status != 200:
            raise SnapshotError(f"the control plane answered {status}")

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body; pieces are joined only where a line ends, so that a long line is copied once."""
        self._pieces.append(body)
        self._held += len(body)
        self._ended = self._ended or b"\n" in body
        if self._held > _LINE_LIMIT and not self._ended:
            raise SnapshotError("a snapshot of more than 64 MiB")


def _write(path: Path, data: bytes) -> None:
    """Replace the file, whole or not at all, readable for its owner alone."""
    fresh = path.with_suffix(f".{os.getpid()}.new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
