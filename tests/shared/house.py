"""A gateway on loopback and an upstream that does what a test tells it: real sockets, one event loop.

Run as a script, `house.py FOLDER`, it is a process of its own and prints its port: then its memory is nobody else's.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
from wholes import tell_whole

from techstone.adapters.journal.segments import recover
from techstone.adapters.journal.writer import JournalWriter
from techstone.adapters.limits.memory import MemoryLimits
from techstone.adapters.upstreams.http import HttpUpstreams
from techstone.adapters.way import over_socket
from techstone.app.wiring import Gateway, Outside
from techstone.core import keys, stream
from techstone.core.snapshot import Account, Key, Model, Plan, Provider, Route, Snapshot, Timeouts
from techstone.core.view import View
from techstone.gateway.connections import Trust
from techstone.gateway.front import Front

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from techstone.core.usage import UsageRecord
    from techstone.gateway.exchange import Exchange

    Behaviour = Callable[["Upstream", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

COMPLETION = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1719000000,"model":"up","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"Hello.","refusal":null},"logprobs":null,"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}'
)


class Upstream:
    """A raw server; `behave` answers a request whose head and body were read. Keeps what it received."""

    def __init__(self) -> None:
        self.behave: Behaviour = answer_whole
        self.received: list[tuple[bytes, bytes]] = []
        self.connections = 0
        self.asked = asyncio.Event()
        self.gone = asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.received.append((head, await reader.readexactly(length)))
                self.asked.set()
                await self.behave(self, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.gone.set()
            writer.close()


async def answer_whole(_: Upstream, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(COMPLETION), COMPLETION))


class _Snapshots:
    problem: str | None = None
    expired = False

    def __init__(self, view: View) -> None:
        self.view: View | None = view

    def is_fresh(self) -> bool:
        return True

    async def reach(self, revision: int) -> None:
        assert revision == 0, "there is no other"


class Books:
    """Keeps what the gateway reports."""

    def __init__(self) -> None:
        self.records: list[UsageRecord] = []
        self.defects: list[Exception] = []
        self.insecures = 0
        self.paths: list[bytes] = []

    def answered(self, exchange: Exchange) -> None:
        self.paths.append(exchange.path + b"\n")
        if exchange.record is not None:
            self.records.append(exchange.record)

    def failed(self, _: Exchange, error: Exception) -> None:
        self.defects.append(error)

    def insecure(self, _: Exchange) -> None:
        self.insecures += 1


class House:
    """The system under test, with the ways in that tests need."""

    def __init__(self) -> None:
        self.key = keys.compose(os.urandom(keys.RANDOM_BYTES))
        self.limited = keys.compose(os.urandom(keys.RANDOM_BYTES))
        self.upstream = Upstream()
        self.books = Books()
        self.port = 0
        self.gateway: Gateway

    async def start(self, folder: str) -> list[asyncio.Server]:
        loop = asyncio.get_running_loop()
        upstream = await asyncio.start_server(self.upstream.serve, "127.0.0.1", 0)
        control = await asyncio.start_unix_server(self._control, f"{folder}/c")
        self.upstream.port = upstream.sockets[0].getsockname()[1]
        view = View(self.snapshot())
        journal = Path(folder, "journal")
        os.mkdir(journal, 0o700)  # noqa: PTH102 - nothing else runs in this loop yet
        self.snapshots = _Snapshots(view)
        self.limits = MemoryLimits(time.monotonic, time.time)
        self.journal = JournalWriter(loop, journal, recover(journal, lambda: "0" * 16))
        self.limits.anchor(view, self.journal.journal)
        outside = Outside(
            snapshots=self.snapshots,
            limits=self.limits,
            journal=self.journal,
            answers=self.journal.answers,
            journalist=self.books,
            render_metrics=lambda: b"# none\n",
            environment={"UP_KEY": "sk-upstream"},
            control=over_socket(HttpUpstreams(loop, {}), f"{folder}/c"),
            trust=Trust(),
        )
        self.gateway = Gateway(loop, outside)
        self.gateway.start()
        server = await loop.create_server(lambda: Front(self.gateway.connections), "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return [upstream, control, server]

    @staticmethod
    async def _control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\nX-Page: 1\r\n\r\npage")
        await writer.drain()
        writer.close()

    def snapshot(self) -> Snapshot:
        timeouts = Timeouts(connect=0.5, first_byte=0.5, between_bytes=0.5, total=3.0)
        url = f"http://127.0.0.1:{self.upstream.port}/v1"
        return Snapshot(
            1,
            plans=(Plan("pro", 100_000, 200_000_000, 500, "postpaid"),),
            accounts=(Account("a1", "a@example.com", "pro"),),
            keys=(
                Key("k1", keys.digest(self.key.encode()).hex(), "a1", "all", "ts_live_…"),
                Key("k2", keys.digest(self.limited.encode()).hex(), "a1", "few", "ts_live_…", models=("closed",)),
            ),
            models=(
                Model("gpt-4o", (Route("up", "up"),), max_output_tokens=16_384),
                Model("closed", (Route("down", "up"),)),
                Model("both", (Route("down", "up", priority=0), Route("up", "up", priority=1))),
            ),
            providers=(
                Provider("up", "openai", url, api_key_env="UP_KEY", timeouts=timeouts),
                Provider("down", "openai", "http://127.0.0.1:1/v1", timeouts=timeouts),
            ),
        )

    async def send(self, raw: bytes, *, seconds: float = 2.0, quiet: float = 0.15) -> bytes:
        """Send bytes and return all that comes until the gateway closes, or is `quiet` for so long after an answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(raw)
        out = b""
        try:
            while True:
                part = await asyncio.wait_for(reader.read(65536), seconds if not out else quiet)
                if not part:
                    return out + b"<closed>"
                out += part
        except (TimeoutError, ConnectionError):
            return out
        finally:
            writer.close()

    def request(self, body: bytes, *, key: str | None = None, extra: bytes = b"") -> bytes:
        """Return a raw chat request."""
        return (
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n%b"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % ((key or self.key).encode(), extra, len(body), body)
        )


@contextlib.asynccontextmanager
async def keep_house(folder: Path, house: House | None = None) -> AsyncIterator[House]:
    """Run the system under test for a while; its journal is in `folder`, to be read afterwards."""
    house = house or House()
    servers = await house.start(str(folder))
    try:
        yield house
    finally:
        house.gateway.close()
        house.journal.close()
        for server in servers:
            server.close()
        await asyncio.sleep(0.01)
    assert isinstance(house.gateway.upstreams, HttpUpstreams)
    assert not house.books.defects


_SNAPSHOT = "snapshot.json"


@contextlib.contextmanager
def keep_house_apart(folder: Path, view: View) -> Iterator[tuple[int, int]]:
    """Run a house by a view in a process of its own; give its port and its process id."""
    (folder / _SNAPSHOT).write_bytes(stream.encode(tell_whole(view)))
    with subprocess.Popen([sys.executable, __file__, str(folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()


async def _serve(folder: Path) -> None:
    async with keep_house(folder) as house:
        frame = stream.decode((folder / _SNAPSHOT).read_bytes())
        assert isinstance(frame, Snapshot)
        house.snapshots.view = View(frame)
        # As `app.gateway.serve` does: cycles are looked for as rarely.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 100)
        print(house.port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1])))
