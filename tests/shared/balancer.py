"""A balancer of TCP connections before gateways: round-robin, to the next one where one refuses; knows no HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


class _Balancer:
    """Passes connections on, each in a task of its own."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = tuple(ports)
        self._turns = itertools.count()
        self._running: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            turn = next(self._turns) % len(self._ports)
            for port in (*self._ports[turn:], *self._ports[:turn]):
                with contextlib.suppress(OSError):
                    away = await asyncio.open_connection("127.0.0.1", port)
                    break
            else:
                return
            with contextlib.closing(away[1]):
                await asyncio.gather(_pump(reader, away[1]), _pump(away[0], writer))

    async def end(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the loop's next turn


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def balancing(ports: Sequence[int]) -> AsyncIterator[int]:
    """Run one for a while; give its port."""
    balancer = _Balancer(ports)
    server = await asyncio.start_server(balancer.accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await balancer.end()
