"""Rolling restarts (row D-2): gateways behind a plain TCP round-robin are restarted in turn, and no request fails."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import TYPE_CHECKING

from balancer import balancing
from oracle import oracle
from planes import Planes
from service import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from planes import Plane

CLIENTS = 16
RESTARTS = 20 if os.environ.get("TORTURE") else 4


class Client:
    """Asks again and again on one connection for as long as it is left open; counts what did not come whole."""

    def __init__(self, port: int, key: str, number: int) -> None:
        self._port = port
        self._key = key
        self._stream = number % 2 == 0
        self.whole = 0
        self.failures: list[str] = []

    async def run(self, over: asyncio.Event) -> None:
        while not over.is_set():
            try:
                await self._connect(over)
            except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                self.failures.append(repr(error))

    async def _connect(self, over: asyncio.Event) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            while not over.is_set():
                body = {"model": "gpt-4o", "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]}
                data = json.dumps({**body, "stream": self._stream}).encode()
                writer.write(
                    f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {self._key}\r\n"
                    f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n".encode()
                )
                writer.write(data)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                answer = await self._read(reader, head)
                if b" 200 " not in head.split(b"\r\n")[0] or (self._stream and b"data: [DONE]" not in answer):
                    self.failures.append(f"{head!r} {answer[-200:]!r}")
                else:
                    self.whole += 1
                if b"connection: close" in head:
                    return
        finally:
            writer.close()

    @staticmethod
    async def _read(reader: asyncio.StreamReader, head: bytes) -> bytes:
        if b"content-length: " in head:
            return await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        parts = []
        while True:
            size = int(await reader.readline(), 16)
            parts.append((await reader.readexactly(size + 2))[:-2])
            if not size:
                return b"".join(parts)


def _restart(gateway: Plane) -> None:
    assert gateway.end() == 0, gateway.complained()
    gateway.start()


async def test_restarts_in_turn_fail_no_request(tmp_path: Path) -> None:
    """Clients keep their connections and half of them stream; every answer is whole, and every one is billed once."""
    with oracle(tmp_path) as (url, _):
        planes = Planes(tmp_path, url)
        try:
            control = planes.add_control()
            control.start()
            gateways = [planes.add_gateway(number, f"http://127.0.0.1:{control.port}") for number in range(2)]
            for gateway in gateways:
                gateway.start()
            over = asyncio.Event()
            async with balancing([gateway.port for gateway in gateways]) as port:
                clients = [Client(port, control.key, number) for number in range(CLIENTS)]
                running = [asyncio.create_task(client.run(over)) for client in clients]
                began = time.monotonic()
                for number in range(RESTARTS):
                    await asyncio.sleep(0.5)
                    await asyncio.to_thread(_restart, gateways[number % 2])
                await asyncio.sleep(0.5)
                over.set()
                await asyncio.gather(*running)
                seconds = time.monotonic() - began
            failures = [failure for client in clients for failure in client.failures]
            whole = sum(client.whole for client in clients)
            print(
                json.dumps({"id": "D-2", "n": RESTARTS, "requests": whole, "violations": len(failures), "s": seconds})
            )
            assert failures == []
            await asyncio.to_thread(wait_until, lambda: len(control.ask("usage", "--requests")) >= whole > 0, 30.0, 0.5)
            assert len(control.ask("usage", "--requests")) == whole
            assert control.ask("ledger", "check") == []
        finally:
            planes.end()
