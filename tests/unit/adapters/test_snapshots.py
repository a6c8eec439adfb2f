"""The follower of the snapshot stream, against a control plane that says what a test tells it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from techstone.adapters import snapshots
from techstone.adapters.snapshot_copy import SnapshotCopy
from techstone.adapters.snapshots import SnapshotFollower, StaticSnapshots
from techstone.adapters.upstreams.http import HttpUpstreams
from techstone.adapters.way import Choice, Way, over_socket
from techstone.core.snapshot import Account, Head, Key, Plan, Snapshot
from techstone.core.stream import Delta, Frame, Heartbeat, Part, Whole, encode
from techstone.core.view import View
from techstone.gateway.ports import Origin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from techstone.gateway.ports import ControlPlane

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = Snapshot(
    1,
    plans=(Plan("pro", 1, 2, 3, "prepaid"),),
    accounts=(Account("a1", "a@b.c", "pro"),),
    keys=(Key("k1", "11" * 32, "a1", "n", "h"),),
)
DIGEST = b"\x11" * 32
GONE = Delta(1, 2, gone_keys=("k1",), gone_digests=("11" * 32,))


class Control:
    """Says `script` to each follower and stays on the line: None hangs up, an event is waited for."""

    def __init__(self) -> None:
        self.script: list[bytes | asyncio.Event | None] = []
        self.targets: list[bytes] = []

    @property
    def asked(self) -> int:
        return len(self.targets)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.targets.append((await reader.readuntil(b"\r\n\r\n")).split()[1])
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


_NOBODY = cast("ControlPlane", None)  # what only loads asks nobody


def chunk(*frames: Frame | bytes) -> bytes:
    data = b"".join(frame if isinstance(frame, bytes) else encode(frame) for frame in frames)
    return b"%x\r\n%b\r\n" % (len(data), data)


@contextlib.asynccontextmanager
async def following(
    folder: Path, *script: bytes | asyncio.Event | None
) -> AsyncIterator[tuple[Control, SnapshotFollower]]:
    control = Control()
    control.script = [*script]
    server = await asyncio.start_unix_server(control.serve, str(folder / "s"))
    upstreams = HttpUpstreams(asyncio.get_running_loop(), {})
    follower = SnapshotFollower(over_socket(upstreams, str(folder / "s")), SnapshotCopy(folder / "copy"))
    follower.load()
    task = asyncio.create_task(follower.run())
    try:
        yield control, follower
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        upstreams.close()
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
    """The whole, then a change: the view is another object; who is gone is gone in the older one too."""
    change = asyncio.Event()
    async with following(tmp_path, HEAD, chunk(WHOLE), change, chunk(GONE, Heartbeat(2))) as (_, follower):
        await until(lambda: revision(follower) == 1)
        older = follower.view
        change.set()
        await until(lambda: revision(follower) == 2)
        assert (follower.problem, follower.followed.is_set()) == (None, True)
        assert follower.view is not None
        assert follower.view is not older
        assert DIGEST not in follower.view.principals
    assert older is not None
    assert DIGEST not in older.principals


async def test_broken_off_stream_is_gone_on_with(tmp_path: Path) -> None:
    """The next one begins at the revision that is known; control tells what changed since."""
    async with following(tmp_path, HEAD, chunk(WHOLE), None) as (control, follower):
        await until(lambda: control.asked > 1)
        assert control.targets[0] == b"/internal/snapshot?reads=2"
        assert control.targets[1] == b"/internal/snapshot?reads=2&since=1&spending=0"
        head = msgspec.structs.replace(WHOLE.head(), revision=3, since=1, spending=False)
        control.script = [HEAD, chunk(head, Part(gone_keys=("11" * 32,)), Whole(3, 1, 0))]
        await until(lambda: revision(follower) == 3)
        await until(lambda: b'"revision":3' in (tmp_path / "copy").read_bytes())
    late = SnapshotCopy(tmp_path / "copy").load()
    assert late is not None
    assert (late.snapshot.revision, list(late.keys)) == (3, [])


async def test_start_from_the_copy_asks_for_all_spending(tmp_path: Path) -> None:
    """The copy is not of now: what everybody spent is told anew, and only then anchors the limits."""
    (tmp_path / "copy").write_bytes(encode(WHOLE))
    async with following(tmp_path, HEAD, chunk(Heartbeat(1))) as (control, follower):
        heard: list[View] = []
        follower.heard = heard.append
        await until(lambda: "before the first whole" in (follower.problem or ""))
        assert control.targets[0] == b"/internal/snapshot?reads=2&since=1&spending=1"
        assert not heard
        head = msgspec.structs.replace(WHOLE.head(), revision=1, since=1)
        control.script = [HEAD, chunk(head, Whole(1, 1, 1))]
        await until(lambda: control.asked > 1)
        assert control.targets[1] == b"/internal/snapshot?reads=2", "what did not follow is not asked for again"


@pytest.mark.parametrize("lines", [2, 1])
async def test_resumption_anchors_the_limits(tmp_path: Path, lines: int) -> None:
    """Once all its frames are there, and not before."""
    (tmp_path / "copy").write_bytes(encode(WHOLE))
    frames: list[Frame] = [msgspec.structs.replace(WHOLE.head(), since=1), Part(), Whole(1, 1, 1)]
    more = asyncio.Event()
    async with following(tmp_path, HEAD, chunk(*frames[:lines]), more, chunk(*frames[lines:], Heartbeat(1))) as (
        control,
        follower,
    ):
        heard: list[View] = []
        follower.heard = heard.append
        await until(lambda: control.asked)
        assert follower.followed.is_set() is False
        more.set()
        await until(follower.followed.is_set)
        assert len(heard) == 1


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
        (chunk(msgspec.structs.replace(GONE, format=99)), "snapshot format 99, expected 1 to 2"),
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


async def test_resumption_that_does_not_add_up_is_another_view(tmp_path: Path) -> None:
    """Who is revoked by it is gone from the register: what was known of the view before counts no more."""
    head = msgspec.structs.replace(WHOLE.head(), revision=2, since=1, spending=False)
    resumption = [chunk(head, Part(gone_keys=("11" * 32,)), Whole(2, 1, 5))]
    async with following(tmp_path, HEAD, chunk(WHOLE), None) as (control, follower):
        await until(lambda: revision(follower) == 1)
        before = follower.view
        control.script = [HEAD, *resumption]
        await until(lambda: "expected 1 and 5" in (follower.problem or ""))
        after = follower.view
        assert after is not None
        assert after is not before
        assert (after.snapshot.revision, DIGEST in after.principals) == (1, False)
        await until(lambda: control.asked > 2)
        assert control.targets[2] == b"/internal/snapshot?reads=2"


async def test_who_waits_for_its_turn_at_control_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes before the first frame are spaces; they are part of no frame, and keep the stream alive."""
    monkeypatch.setattr(snapshots, "_SILENT_SECONDS", 0.5)
    async with following(tmp_path) as (control, follower):
        queue = [asyncio.Event() for _ in range(4)]
        control.script = [HEAD]
        for event in queue:
            control.script += [event, chunk(b" ")]
        control.script.append(chunk(WHOLE))
        await until(lambda: control.asked)
        for event in queue:
            await asyncio.sleep(0.2)
            event.set()
        await until(lambda: revision(follower) == 1)
        assert control.asked == 1


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
        await until(lambda: "the control plane is silent" in (follower.problem or ""))
        assert revision(follower) == 1
        await until(lambda: control.asked > 1)


async def test_line_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded, whatever control sends."""
    monkeypatch.setattr(snapshots, "_LINE_LIMIT", 1000)
    async with following(tmp_path, HEAD, *[chunk(b"x" * 100)] * 20) as (_, follower):
        await until(lambda: follower.problem == "a snapshot frame of more than 1,000 bytes")


async def test_database_that_is_away_is_known_until_it_is_back(tmp_path: Path) -> None:
    """The view is kept, and what is not in it may exist; a heartbeat of the same revision ends that."""
    back = asyncio.Event()
    script = (HEAD, chunk(WHOLE, Heartbeat(1, away=3.0)), back, chunk(Heartbeat(1)))
    async with following(tmp_path, *script) as (control, follower):
        await until(lambda: follower.problem == "the control plane cannot reach its database")
        assert (revision(follower), follower.is_fresh(), follower.expired) == (1, False, False)
        back.set()
        await until(lambda: follower.problem is None)
        assert (follower.is_fresh(), control.asked) == (True, 1)


@contextlib.asynccontextmanager
async def following_two(folder: Path, first: Control, second: Control) -> AsyncIterator[SnapshotFollower]:
    """Follow whichever of two answers, the first one first."""
    paths = (str(folder / "first"), str(folder / "second"))
    servers = [
        await asyncio.start_unix_server(control.serve, path)
        for control, path in zip((first, second), paths, strict=True)
    ]
    upstreams = HttpUpstreams(asyncio.get_running_loop(), {})
    way = Way(upstreams, Choice(*(Origin("unix", path, 0) for path in paths)))
    follower = SnapshotFollower(way, SnapshotCopy(folder / "copy"))
    task = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        upstreams.close()
        for server in servers:
            server.close()
        await asyncio.sleep(0.01)


async def test_another_control_plane_is_asked_where_one_has_no_database(tmp_path: Path) -> None:
    """From the revision that is known: this one may have lost its way to a database that others reach."""
    blind, seeing = Control(), Control()
    blind.script = [HEAD, chunk(WHOLE, Heartbeat(1, away=9.0))]
    seeing.script = [HEAD, chunk(Head(1, since=1), Whole(1, 1, 1))]
    async with following_two(tmp_path, blind, seeing) as follower:
        await until(lambda: seeing.asked and follower.problem is None)
        assert (revision(follower), follower.is_fresh(), b"since=1" in seeing.targets[0]) == (1, True, True)


@pytest.mark.parametrize("said", [[], [HEAD], [HEAD, chunk(WHOLE)], [HEAD, chunk(b"nonsense\n")]])
async def test_another_control_plane_is_asked_where_one_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[bytes]
) -> None:
    """Of two the other one, and not the same again, whether it hangs before its head, before frames or after."""
    monkeypatch.setattr(snapshots, "_SILENT_SECONDS", 0.3)
    hanging, well = Control(), Control()
    hanging.script = [*said]
    well.script = [HEAD, chunk(WHOLE, GONE, Heartbeat(2))]
    async with following_two(tmp_path, hanging, well) as follower:
        await until(lambda: revision(follower) == 2)
        assert (hanging.asked, well.asked) == (1, 1)


async def test_copy_on_disk_serves_while_control_is_down(tmp_path: Path) -> None:
    """The last good snapshot is written whole and for its owner alone; a new follower begins with it."""
    copy = tmp_path / "copy"
    async with following(tmp_path, HEAD, chunk(WHOLE, GONE)):
        await until(lambda: copy.exists() and SnapshotCopy(copy).load().snapshot.revision == 2)  # type: ignore[union-attr] # then there is one
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert {name for name in os.listdir(tmp_path) if name != "s"} == {"copy"}  # noqa: PTH208 - pathlib is no async code
    late = SnapshotFollower(_NOBODY, SnapshotCopy(copy))
    late.load()
    assert revision(late) == 2
    assert late.problem == "no snapshot yet"


@pytest.mark.parametrize("text", [b"", b"{", encode(Heartbeat(1)), b"\x00" * 100])
def test_broken_copy_is_no_view(tmp_path: Path, text: bytes) -> None:
    """A copy that cannot be read is told and left alone; the follower starts without a view."""
    (tmp_path / "copy").write_bytes(text)
    follower = SnapshotFollower(_NOBODY, SnapshotCopy(tmp_path / "copy"))
    follower.load()
    assert follower.view is None
    assert follower.problem is not None


def test_missing_copy_is_the_first_start(tmp_path: Path) -> None:
    """Nothing to tell but that there is no snapshot yet."""
    follower = SnapshotFollower(_NOBODY, SnapshotCopy(tmp_path / "copy"))
    follower.load()
    assert (follower.view, follower.problem) == (None, "no snapshot yet")


def test_static_snapshot_has_no_problem() -> None:
    """What tests serve by."""
    static = StaticSnapshots(WHOLE)
    assert isinstance(static.view, View)
    assert static.problem is None
