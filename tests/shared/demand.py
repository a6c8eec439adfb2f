"""Clients that ask gateways at a steady pace, and keep what they heard: when, what, how long it took."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from client import post, read
from oracle import SLOWLY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cloud import Machine


class Heard(NamedTuple):
    """One answer. `status` is 0 where the connection broke off; `at` is when it came, by the monotonic clock.

    `wait` is what Retry-After told, in seconds.
    """

    at: float
    seconds: float
    status: int
    code: str
    request: str
    gateway: int
    wait: int


class Load:
    """Asks each gateway in turn, with a key, `rate` times a second."""

    def __init__(self, gateways: Sequence[Machine], key: str, rate: float) -> None:
        self._gateways = gateways
        self._raw = post(
            key, {"model": "m", "messages": [{"role": "user", "content": "hi"}]}, "Content-Type: application/json"
        )
        self._rate = rate
        self._over = threading.Event()
        self.heard: list[Heard] = []

    async def run(self) -> None:
        """Ask until `stop`: one that waits holds up nobody, as clients do not wait for each other."""
        running: set[asyncio.Task[None]] = set()
        began, number = time.monotonic(), 0
        while not self._over.is_set():
            task = asyncio.create_task(self._ask(number % len(self._gateways)))
            running.add(task)
            task.add_done_callback(running.discard)
            number += 1
            await asyncio.sleep(max(0.0, began + number / self._rate - time.monotonic()))
        await asyncio.gather(*running)

    async def _ask(self, place: int) -> None:
        gateway = self._gateways[place]
        began, status, code, request, wait = time.monotonic(), 0, "", "", 0
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(60):
                reader, writer = await asyncio.open_connection(gateway.host.address, gateway.port)
                try:
                    writer.write(self._raw)
                    answer = await read(reader)
                finally:
                    writer.close()
            status, request = answer.status, answer.headers.get("x-request-id", "")
            if status != 200:
                code = json.loads(answer.body)["error"]["code"]
                wait = int(answer.headers.get("retry-after", "0"))
        now = time.monotonic()
        self.heard.append(Heard(now, now - began, status, code, request, place, wait))

    def stop(self) -> None:
        """Begin nothing more."""
        self._over.set()

    def pick(self, since: float = 0.0, until: float = float("inf")) -> list[Heard]:
        """Return what was heard within a time."""
        return [one for one in self.heard if since <= one.at < until]


@contextlib.contextmanager
def running(*loads: Load) -> Iterator[None]:
    """Run loads beside the test, in a thread that stands where this one does."""

    async def run() -> None:
        await asyncio.gather(*(load.run() for load in loads))

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        yield
    finally:
        for load in loads:
            load.stop()
        thread.join()


def quantile(heard: Sequence[Heard], share: float) -> float:
    """Return the seconds that such a share of answers took at most; 0.0 of none."""
    took = sorted(one.seconds for one in heard)
    return took[min(len(took) - 1, int(len(took) * share))] if took else 0.0


class Stream:
    """A stream of some seconds, asked for in a thread; `end` waits for its last byte."""

    def __init__(self, gateway: Machine, key: str) -> None:
        self.status = 0
        self.whole = False
        self.request = ""
        self.told = b""
        self._gateway = gateway
        wanted = {"model": "m", "stream": True, "messages": [{"role": "user", "content": SLOWLY}]}
        self._raw = post(key, wanted, "Content-Type: application/json")
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()

    async def _run(self) -> None:
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(30):
                reader, writer = await asyncio.open_connection(self._gateway.host.address, self._gateway.port)
                try:
                    writer.write(self._raw)
                    answer = await read(reader)
                finally:
                    writer.close()
            self.status, self.told = answer.status, answer.body
            self.whole, self.request = answer.whole, answer.headers.get("x-request-id", "")

    def end(self) -> None:
        """Wait for the end."""
        self._thread.join()
