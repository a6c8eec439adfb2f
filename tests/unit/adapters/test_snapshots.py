"""The follower of the snapshot stream, against a control plane that says what a test tells it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from typing import TYPE_CHECKING

import msgspec
import pytest

from techstone.adapters import snapshots
from techstone.adapters.snapshots import SnapshotFollower, StaticSnapshots
from techstone.core.snapshot import Account, Delta, Heartbeat, Key, Plan, Snapshot, View, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = Snapshot(
    1,
    plans=(Plan("pro", 1, 2, 3, "prepaid"),),
    accounts=(Account("a1", "a@b.c", "pro"),),
    keys=(Key("k1", "11" * 32, "a1", "n", "h"),),
)
GONE = Delta(1, 2, gone_keys=("k1",))


class Control:
    """Says `script` to each follower and stays on the line: None hangs up, an event is waited for."""

    def __init__(self) -> None:
        self.script: list[bytes | asyncio.Event | None] = []
        self.asked = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        await reader.readuntil(b"\r\n\r\n")
        for piece in self.script:
            if piece is None:
                writer.close()
                return
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            else:
                writer.write(piece)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()


def chunk(*frames: Snapshot | Delta | Heartbeat | bytes) -> bytes:
    data = b"".join(frame if isinstance(frame, bytes) else encode(frame) for frame in frames)
    return b"%x\r\n%b\r\n" % (len(data), data)


@contextlib.asynccontextmanager
async def following(
    folder: Path, *script: bytes | asyncio.Event | None
) -> AsyncIterator[tuple[Control, SnapshotFollower]]:
    control = Control()
    control.script = [*script]
    server = await asyncio.start_unix_server(control.serve, str(folder / "s"))
    follower = SnapshotFollower(str(folder / "s"), folder / "copy")
    task = asyncio.create_task(follower.run())
    try:
        yield control, follower
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        server.close()
        # The server's own ends of the connections must be gone before the loop is.
        await asyncio.sleep(0.01)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - the follower has no event for what is waited for here
            await asyncio.sleep(0.005)


def revision(follower: SnapshotFollower) -> int | None:
    return follower.view.snapshot.revision if follower.view else None


async def test_view_follows_the_changes(tmp_path: Path) -> None:
    """The whole, then a change: the view is another object, the old one as it was."""
    async with following(tmp_path, HEAD, chunk(WHOLE)) as (_, follower):
        await until(lambda: revision(follower) == 1)
        older = follower.view
    async with following(tmp_path, HEAD, chunk(WHOLE, GONE, Heartbeat(2))) as (_, follower):
        await until(lambda: revision(follower) == 2)
        assert (follower.problem, follower.followed.is_set()) == (None, True)
        assert follower.view is not None
        assert not follower.view.principals
    assert older is not None
    assert len(older.principals) == 1


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_frames_may_come_in_any_pieces(tmp_path: Path, size: int) -> None:
    """Neither the pieces of the network nor the chunks of HTTP are frames."""
    data = encode(WHOLE) + encode(GONE)
    pieces = [chunk(data[at : at + size]) for at in range(0, len(data), size)]
    async with following(tmp_path, HEAD, *pieces) as (_, follower):
        await until(lambda: revision(follower) == 2)


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (chunk(Delta(5, 6)), "change from revision 5, have 1"),
        (chunk(Heartbeat(9)), "heartbeat of revision 9, have 1"),
        (chunk(b"nonsense\n"), "unreadable snapshot frame"),
        (chunk(msgspec.structs.replace(GONE, format=99)), "snapshot format 99, expected 1"),
        (b"zz\r\n", "no HTTP"),
        (None, "ended the snapshot stream"),
    ],
)
async def test_broken_stream_keeps_the_view(tmp_path: Path, bad: bytes | None, problem: str) -> None:
    """What cannot be used is told, the last good view stays, and the stream is begun anew."""
    taken = asyncio.Event()
    async with following(tmp_path, HEAD, chunk(WHOLE), taken, bad) as (control, follower):
        await until(lambda: revision(follower) == 1)
        taken.set()
        await until(lambda: problem in (follower.problem or ""))
        assert revision(follower) == 1
        control.script = [HEAD, chunk(WHOLE, GONE)]
        await until(lambda: revision(follower) == 2 and follower.problem is None)


async def test_answer_that_is_no_stream_is_told(tmp_path: Path) -> None:
    """A status other than 200 is named."""
    async with following(tmp_path, b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n") as (_, follower):
        await until(lambda: follower.problem == "the control plane answered 503")


async def test_refused_control_is_asked_seldom(tmp_path: Path) -> None:
    """Each asking costs it the whole snapshot: at most once a second."""
    async with following(tmp_path, HEAD, chunk(WHOLE, b"nonsense\n")) as (control, follower):
        await until(lambda: "unreadable" in (follower.problem or ""))
        await asyncio.sleep(0.3)
        assert control.asked == 1


async def test_silence_is_a_broken_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three heartbeats that do not come mean that control is gone; the view stays."""
    monkeypatch.setattr(snapshots, "_SILENT_SECONDS", 0.5)  # long enough that a busy machine reads the first line
    async with following(tmp_path, HEAD, chunk(WHOLE)) as (control, follower):
        await until(lambda: follower.problem == "the control plane is silent")
        assert revision(follower) == 1
        await until(lambda: control.asked > 1)


async def test_line_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded, whatever control sends."""
    monkeypatch.setattr(snapshots, "_LINE_LIMIT", 1000)
    async with following(tmp_path, HEAD, *[chunk(b"x" * 100)] * 20) as (_, follower):
        await until(lambda: follower.problem == "a snapshot of more than 64 MiB")


async def test_copy_on_disk_serves_while_control_is_down(tmp_path: Path) -> None:
    """The last good snapshot is written whole and for its owner alone; a new follower begins with it."""
    copy = tmp_path / "copy"
    async with following(tmp_path, HEAD, chunk(WHOLE, GONE)):
        await until(copy.exists)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert {name for name in os.listdir(tmp_path) if name != "s"} == {"copy"}  # noqa: PTH208 - pathlib is no async code
    late = SnapshotFollower(str(tmp_path / "nobody"), copy)
    late.load()
    assert revision(late) == 2
    assert late.problem == "no snapshot yet"


@pytest.mark.parametrize("text", [b"", b"{", encode(Heartbeat(1)), b"\x00" * 100])
def test_broken_copy_is_no_view(tmp_path: Path, text: bytes) -> None:
    """A copy that cannot be read is told and left alone; the follower starts without a view."""
    (tmp_path / "copy").write_bytes(text)
    follower = SnapshotFollower("none", tmp_path / "copy")
    follower.load()
    assert follower.view is None
    assert follower.problem is not None


def test_missing_copy_is_the_first_start(tmp_path: Path) -> None:
    """Nothing to tell but that there is no snapshot yet."""
    follower = SnapshotFollower("none", tmp_path / "copy")
    follower.load()
    assert (follower.view, follower.problem) == (None, "no snapshot yet")


def test_static_snapshot_has_no_problem() -> None:
    """What tests serve by."""
    static = StaticSnapshots(WHOLE)
    assert isinstance(static.view, View)
    assert static.problem is None
