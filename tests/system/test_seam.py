"""The port between the planes: control planes over one database, and a gateway's follower and journal over TCP."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from journals import JOURNAL, framed
from service import free_port
from usage import make_record

from techstone.adapters.errand import Line
from techstone.adapters.internal import InternalClient
from techstone.adapters.snapshot_copy import SnapshotCopy
from techstone.adapters.snapshots import SnapshotFollower
from techstone.adapters.upstreams.http import HttpUpstreams
from techstone.adapters.way import Choice, Way
from techstone.app.planes import Doorway
from techstone.control.catalog.records import Catalog
from techstone.control.keys.records import NewKey
from techstone.core import keys, passes
from techstone.core.snapshot import Model, Plan, Provider, Route
from techstone.gateway.ports import Origin
from techstone.gateway.trampoline import Trampoline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

TOKEN = b"t" * 32
CATALOG = Catalog(
    (Plan("pro", 500, 2_000_000, 50, "postpaid"),),
    (Model("m", (Route("up", "x"),), context_window=4096),),
    (Provider("up", "openai", "https://up.example/v1"),),
)


# What `techstone control` runs, without a configuration file: so two may have one database.
PROGRAM = """
import asyncio, sys
import msgspec
from techstone.app.control import ControlOptions, serve
options = msgspec.json.decode(sys.argv[1], type=ControlOptions, dec_hook=lambda kind, value: kind(value))
asyncio.run(serve(options, lambda _: print("ready", flush=True)))
"""


class Controls:
    """Control planes over one database, a process each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = [free_port(), free_port()]
        self._running: dict[int, asyncio.subprocess.Process] = {}

    async def start(self, number: int) -> None:
        options = {
            "database": str(self.folder / "t.db"),
            "public_socket": str(self.folder / f"p{number}"),
            "internal_socket": str(self.folder / f"i{number}"),
            "public_url": "https://api.example",
            "catalog": CATALOG,
            "outbox": str(self.folder / "outbox"),
            "doorway": Doorway("127.0.0.1", self.ports[number], TOKEN),
        }
        words = (sys.executable, "-c", PROGRAM, msgspec.json.encode(options).decode())
        process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
        self._running[number] = process
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"

    async def end(self, number: int) -> None:
        process = self._running.pop(number)
        process.kill()
        await process.communicate()

    def client(self, number: int) -> InternalClient:
        return InternalClient(str(self.folder / f"i{number}"))


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    # A folder of a short name: the path of a Unix socket is at most 107 bytes.
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@contextlib.asynccontextmanager
async def following(way: Way, copy: Path) -> AsyncIterator[SnapshotFollower]:
    follower = SnapshotFollower(way, SnapshotCopy(copy))
    task = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


async def _post(way: Way, body: bytes) -> None:
    over: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    line = Line(way)
    Trampoline(
        line.post(f"journal?journal={JOURNAL}&first=1", "application/octet-stream", body), over.set_result
    ).advance()
    error = await over
    if error is not None:
        raise error


async def test_gateway_goes_on_at_the_other_control_plane() -> None:
    """From the revision that it has; a batch that both are sent is booked once."""
    with _folder() as folder:
        controls = Controls(folder)
        await controls.start(0)
        await controls.start(1)
        upstreams = HttpUpstreams(asyncio.get_running_loop(), {})
        origins = tuple(Origin("http", "127.0.0.1", port) for port in controls.ports)
        way = Way(upstreams, Choice(*origins), passes.make(TOKEN, "seam"))
        try:
            async with following(way, folder / "copy") as follower:
                await until(follower.followed.is_set)
                for lost, left in ((0, 1), (1, 0)):
                    made = await controls.client(lost).keys.create(NewKey("owner@localhost"))
                    await until(lambda made=made: _knows(follower, made.key))  # type: ignore[misc] # bound now
                    await _post(way, framed(make_record(1), make_record(2)))
                    await controls.end(lost)
                    after = await controls.client(left).keys.create(NewKey("owner@localhost"))
                    await controls.client(left).keys.revoke(made.id)
                    await until(lambda after=after: _knows(follower, after.key))  # type: ignore[misc] # bound now
                    await until(lambda made=made: not _knows(follower, made.key))  # type: ignore[misc] # bound now
                    await _post(way, framed(make_record(1), make_record(2)))
                    assert len(await controls.client(left).ledger.list_requests(None, 0)) == 2
                    await controls.start(lost)
        finally:
            upstreams.close()
            for number in (0, 1):
                await controls.end(number)


def _knows(follower: SnapshotFollower, key: str) -> bool:
    return follower.view is not None and keys.digest(key) in follower.view.principals


async def test_pass_of_pages_does_not_open_the_seam() -> None:
    """Nor the seam's the commands, nor the pages; without one nothing opens."""
    with _folder() as folder:
        controls = Controls(folder)
        await controls.start(0)
        try:
            seam, pages = (passes.make(TOKEN, purpose) for purpose in ("seam", "pages"))
            wanted = {
                ("/docs", pages): 200,
                ("/internal/snapshot", pages): 404,
                ("/internal/journal", pages): 404,
                ("/internal/keys", pages): 404,
                ("/internal/keys", seam): 404,
                ("/internal/accounts", seam): 404,
                ("/internal/doctor", seam): 404,
                ("/internal/usage/requests", seam): 404,
                ("/docs", seam): 404,
                ("/internal/snapshot?reads=0", seam): 400,
                ("/docs", b"x"): 401,
                ("/internal/snapshot", TOKEN): 401,
            }
            found = {(path, shown): await _get(controls.ports[0], path, shown) for path, shown in wanted}
            assert found == wanted
        finally:
            await controls.end(0)


async def _get(port: int, path: str, shown: bytes) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET %b HTTP/1.1\r\nhost: x\r\n%b: %b\r\n\r\n" % (path.encode(), passes.HEADER, shown))
        return int((await reader.readuntil(b"\r\n\r\n")).split()[1])
    finally:
        writer.close()
