"""Follows the control plane's snapshot stream; the adapter of the gateway's port `Snapshots`.

A frame that is broken or of another format is refused and the last good view kept; the stream is then begun anew, from
the revision that is known, at whichever control plane answers. The last good snapshot is on disk too, so that a gateway
starts while the control plane is down.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import msgspec

from techstone.adapters.confirmation import Bounds, Confirmation
from techstone.core import stream
from techstone.core.assembly import Assembly, Miscounted
from techstone.core.snapshot import Head, Snapshot, Timeouts
from techstone.core.stream import Delta, Heartbeat, Part, SnapshotError, Whole
from techstone.core.view import View
from techstone.gateway.ports import UpstreamProblem
from techstone.gateway.trampoline import Trampoline
from techstone.wire.error import ErrorBody

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from techstone.adapters.snapshot_copy import SnapshotCopy
    from techstone.core.stream import Frame
    from techstone.gateway.ports import ControlPlane, Origin, RemoteAnswer

# The control plane sends a heartbeat every 5 s, or a space while another gateway's turn is before ours; three missed
# ones mean that it is gone. The answer's head comes before all that.
_SILENT_SECONDS = 15.0
_FOR_EVER = 10.0**9
# A control plane that is away is asked often, so that it is heard soon after its start: a refused connection costs
# nothing. One that says what cannot be used is asked seldom: each time it may send the whole.
_AGAIN_SECONDS = (0.1, 0.2, 0.4, 0.8)
_REFUSED_SECONDS = 1.0
# A heartbeat that is a second late.
_FRESH_SECONDS = 6.0
# A database that comes back within seconds is waited for; for one that does not, another control plane is asked.
_AWAY_SECONDS = 4.0
_AWAY = "the control plane cannot reach its database"
_LINE_LIMIT = 64 * 1024 * 1024
_ANSWER_LIMIT = 64 * 1024
_BOUNDS = Bounds()
_CONNECTING = {
    "FileNotFoundError": "its socket is not there",
    "ConnectionRefusedError": "nothing listens there",
    "gaierror": "its name cannot be resolved",
}


class StaticSnapshots:
    """One snapshot, for ever. Implements `Snapshots`."""

    problem: str | None = None
    expired = False

    def __init__(self, snapshot: Snapshot) -> None:
        self.view: View | None = View(snapshot)

    def is_fresh(self) -> bool:
        """Implement `Snapshots.is_fresh`."""
        return True

    async def reach(self, revision: int) -> None:
        """Implement `Snapshots.reach`: there is no other revision to wait for."""


class _DatabaseAway(Exception):
    """This control plane has been without its database for too long, and there is another one."""


class SnapshotFollower:
    """The newest view of the control plane; `copy` keeps the last good one on disk."""

    def __init__(self, control: ControlPlane, copy: SnapshotCopy, bounds: Bounds = _BOUNDS) -> None:
        self._confirmation = Confirmation(bounds)
        self.view: View | None = None
        self.problem: str | None = "no snapshot yet"
        self.absent = True
        """Whether no control plane was found at all, as while it starts."""
        self._control = control
        self._copy = copy
        self._moved = asyncio.Event()
        self._anchored = False
        self._broken = False
        self.heard: Callable[[View], None] | None = None
        """Called with every view that the control plane told with all spending, before any change to it."""
        self.followed = asyncio.Event()
        """Set once the control plane itself was heard."""
        self.heard_at = 0.0
        """When it was heard last, by the event loop's clock."""

    @property
    def expired(self) -> bool:
        """Implement `Snapshots.expired`."""
        return self._confirmation.expired

    def is_fresh(self) -> bool:
        """Implement `Snapshots.is_fresh`."""
        return self._confirmation.is_fresh(_FRESH_SECONDS)

    def load(self) -> None:
        """Begin with the copy on disk, if there is one that can be read."""
        try:
            self.view = self._copy.load()
        except (OSError, SnapshotError) as error:
            self.problem = f"the snapshot on disk cannot be used: {error}"

    async def run(self) -> None:
        """Follow, until cancelled."""
        keeping = asyncio.create_task(self._copy.run())
        failures = 0
        try:
            while True:
                heard = self.heard_at
                pause = await self._try()
                failures = 0 if self.heard_at != heard else failures + 1
                if pause == 0.0:
                    pause = _AGAIN_SECONDS[min(failures, len(_AGAIN_SECONDS) - 1)]
                # Many gateways lose one control plane at the same moment: they do not come back at the same one.
                await asyncio.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311 - no secret
        finally:
            keeping.cancel()
            self._confirmation.close()

    async def _try(self) -> float:
        """Read one stream to its end and keep why it ended; return the seconds to wait at least."""
        pause, absent = 0.0, False
        try:
            await _drive(self._follow())
            self.problem = "the control plane ended the snapshot stream"
        except _DatabaseAway:
            pause = _REFUSED_SECONDS
        except SnapshotError as error:
            self.problem = str(error)
            # What was said on top of our revision does not follow from it: only the whole helps.
            self._broken = True
            pause = _REFUSED_SECONDS
        except UpstreamProblem as problem:
            self.problem = _explain(problem)
            absent = problem.kind in {"connect", "timeout"}
        self.absent = absent
        if self._confirmation.missing == "database":
            self.problem = _AWAY
        else:
            self._confirmation.miss_control()
        return pause

    async def reach(self, revision: int) -> None:
        """Implement `Snapshots.reach`."""
        while self.view is None or self.view.snapshot.revision < revision:
            await self._moved.wait()

    async def _follow(self) -> None:
        """Read one stream to its end; raise SnapshotError, UpstreamProblem."""
        target = f"/internal/snapshot?reads={stream.FORMAT}"
        known = None if self._broken else self.view
        if known is not None:
            target += f"&since={known.snapshot.revision}&spending={0 if self._anchored else 1}"
        head = f"GET {target} HTTP/1.1\r\nhost: control\r\naccept: application/x-ndjson\r\nx-request-id: snapshot"
        timeouts = Timeouts(2.0, _SILENT_SECONDS, _SILENT_SECONDS, _FOR_EVER)
        answer = await self._control.ask(head.encode(), b"", timeouts)
        try:
            await self._read(answer, known)
        except SnapshotError:
            self._control.turn(answer.origin)
            raise
        except UpstreamProblem as problem:
            # One that ends the stream may be starting anew: it is asked again, and refuses the connection if not.
            if problem.kind == "timeout":
                self._control.turn(answer.origin)
            raise
        finally:
            answer.close()

    async def _read(self, answer: RemoteAnswer, known: View | None) -> None:
        if answer.status != 200:
            raise SnapshotError(_read_refusal(answer.status, await answer.read(_ANSWER_LIMIT)))
        lines = _Lines(_Reader(self, Assembly(known), answer.origin).take)
        answer.pipe(lines)
        await lines.ended

    def move(self, view: View, frame: Frame, lines: list[bytes]) -> None:
        """Take a view that a frame led to; `lines` led there from the view before, none: it stands for itself."""
        if view is not self.view:
            if lines:
                self._copy.follow(view, b"".join(lines))
            else:
                self._copy.replace(view)
            if isinstance(frame, Snapshot | Whole) and view.snapshot.spending:
                self._anchored = True
                if self.heard is not None:
                    self.heard(view)
            self.view = view
            self._moved.set()
            self._moved = asyncio.Event()
        self.problem = None
        self._broken = False
        self._confirmation.confirm()
        self.heard_at = asyncio.get_running_loop().time()
        self.followed.set()

    def replace(self, view: View | None) -> None:
        """Take a view, if there is one, that no control plane has said to be whole: it is kept nowhere."""
        if view is not None:
            self.view = view

    def miss_database(self, away: float, origin: Origin) -> None:
        """Hear that this control plane cannot reach its database; raise _DatabaseAway where another one may."""
        self.problem = _AWAY
        self._confirmation.miss_database(away)
        if away > _AWAY_SECONDS and self._control.turn(origin):
            raise _DatabaseAway


class _Reader:
    """One stream, line by line."""

    def __init__(self, follower: SnapshotFollower, assembly: Assembly, origin: Origin) -> None:
        self._follower = follower
        self._origin = origin
        self._assembly = assembly
        self._lines: list[bytes] = []
        self._onto = False

    def take(self, line: bytes) -> None:
        """Take a line; raise SnapshotError where it does not follow."""
        frame = stream.decode(line)
        if isinstance(frame, Heartbeat) and frame.away:
            self._follower.miss_database(frame.away, self._origin)
            return
        try:
            view = self._assembly.take(frame)
        except Miscounted as error:
            self._follower.replace(error.view)
            raise
        if isinstance(frame, Head):
            self._onto = frame.since is not None
            line = stream.encode(msgspec.structs.replace(frame, view_secret=""))
        if isinstance(frame, Delta) or (self._onto and isinstance(frame, Head | Part | Whole)):
            self._lines.append(line)
        if view is not None:
            lines, self._lines = self._lines, []
            self._follower.move(view, frame, lines)


class _Lines:
    """Pieces of an answer's body in, lines out. Implements `AnswerSink`; `ended` raises why it ended, None: it did."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._pieces: list[bytes] = []
        self._held = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def body_received(self, data: bytes) -> None:
        """Take a piece; pieces are joined only where a line ends, so that a long line is copied once."""
        if self.ended.done():
            return
        self._pieces.append(data)
        self._held += len(data)
        try:
            if b"\n" in data:
                lines = b"".join(self._pieces).split(b"\n")
                self._pieces = [lines.pop()]
                self._held = len(self._pieces[0])
                for line in lines:
                    self._take(line + b"\n")
        except (SnapshotError, _DatabaseAway) as error:
            self.ended.set_exception(error)
            return
        if self._held > _LINE_LIMIT:
            self.ended.set_exception(SnapshotError(f"a snapshot frame of more than {_LINE_LIMIT:,} bytes"))

    def body_ended(self, problem: UpstreamProblem | None) -> None:
        """Hear that there is no more."""
        if not self.ended.done():
            if problem is None:
                self.ended.set_result(None)
            else:
                self.ended.set_exception(problem)


async def _drive(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run what speaks to upstreams to its end, from a task."""
    over: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    running = Trampoline(coroutine, lambda error: None if over.done() else over.set_result(error))
    running.advance()
    try:
        error = await over
    except asyncio.CancelledError:
        running.cancel()
        raise
    if error is not None:
        raise error


def _explain(problem: UpstreamProblem) -> str:
    if problem.kind == "connect":
        return f"the control plane cannot be reached: {_CONNECTING.get(problem.detail, problem.detail)}"
    if problem.kind == "timeout":
        return f"the control plane is silent: {problem.detail}"
    if problem.kind == "protocol":
        return f"the snapshot stream is no HTTP: {problem.detail}"
    return "the control plane ended the snapshot stream"


def _read_refusal(status: int, body: bytes) -> str:
    try:
        said = ": " + msgspec.json.decode(body, type=ErrorBody).error.message
    except msgspec.MsgspecError:
        said = ""
    return f"the control plane answered {status}{said}"
