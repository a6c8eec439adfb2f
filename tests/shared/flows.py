"""TCP connections to a Unix socket, whose flow a test ends as a firewall or a lost machine does: nobody is told."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_ATTACH_FILTER = 26  # asm-generic/socket.h; Python has no name for it
_DROP = struct.pack("HBBI", 0x06, 0, 0, 0)  # BPF_RET | BPF_K, 0: of each packet nothing is taken


class Flows:
    """On a free port of this machine; `lose` drops all that comes, its acknowledgements too, on what is open."""

    def __init__(self, away: str) -> None:
        self._away = away
        self._open: list[socket.socket] = []
        self._running: set[asyncio.Task[None]] = set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)
        self.port = int(self._listening.getsockname()[1])

    def lose(self) -> None:
        """Have every connection that is open be heard no more; later ones are as they should be."""
        for flow in self._open:
            code = ctypes.create_string_buffer(_DROP)
            if flow.fileno() >= 0:
                flow.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(code)))
        self._open.clear()

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        with self._listening:
            while True:
                near, _ = await loop.sock_accept(self._listening)
                self._open.append(near)
                reader, writer = await asyncio.open_connection(sock=near)
                away = await asyncio.open_unix_connection(self._away)
                for one in (_pump(reader, away[1]), _pump(away[0], writer)):
                    task = asyncio.create_task(one)
                    self._running.add(task)
                    task.add_done_callback(self._running.discard)

    def end(self) -> None:
        for task in self._running:
            task.cancel()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError), contextlib.closing(writer):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


@contextlib.asynccontextmanager
async def flowing(away: str) -> AsyncIterator[Flows]:
    """Give a way by TCP to a Unix socket."""
    flows = Flows(away)
    serving = asyncio.create_task(flows.serve())
    try:
        yield flows
    finally:
        flows.end()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
