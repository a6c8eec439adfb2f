"""O-3: mixed load for half an hour, and nothing grows: memory, file descriptors, what is held and what waits."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from haste import LONG
from oracle import oracle
from service import Service, serving, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS = 1800 if LONG else 6
# The first minutes fill caches and pools; what counts is what comes after.
WARM_UP = 300 if LONG else 2
PERIOD = 5 if LONG else 0.5
CLIENTS = 24
# So that the load takes a part of the machine, and the same one from the first minute to the last.
PAUSE = 0.02
_CONFIG = """
[[providers]]
name = "up"
base_url = "%s"
[[providers]]
name = "gone"
base_url = "http://127.0.0.1:1/v1"
[[models]]
name = "m"
max_output_tokens = 100
price = {input = "2", output = "10"}
routes = [{provider = "up", model = "x"}]
[[models]]
name = "gone"
price = {input = "2", output = "10"}
routes = [{provider = "gone", model = "x"}]
[plans.soak]
rpm = 4000
tpm = 1000000000
concurrent = 20
billing = "prepaid"
[engine]
enabled = false
"""


class Clients:
    """Ask without end in every way there is: whole, streamed, hung up, refused, repeated, wrong."""

    def __init__(self, service: Service, keys: Sequence[str], chance: random.Random) -> None:
        self._port = service.port
        self._keys = keys
        self._chance = chance
        self._numbers = itertools.count()
        self.answered: dict[int, int] = {}

    async def run(self, until: asyncio.Event) -> None:
        await asyncio.gather(*(self._ask(until) for _ in range(CLIENTS)))

    async def _ask(self, until: asyncio.Event) -> None:
        while not until.is_set():
            kind = self._chance.choices(
                ("whole", "stream", "hang up", "gone", "repeated", "estimate", "stranger", "malformed"),
                (40, 30, 10, 3, 5, 5, 3, 4),
            )[0]
            status = await self._send(kind)
            self.answered[status] = self.answered.get(status, 0) + 1
            await asyncio.sleep(PAUSE)

    def _compose(self, kind: str) -> bytes:
        number = next(self._numbers)
        body = json.dumps(
            {
                "model": "gone" if kind == "gone" else "m",
                "stream": kind in {"stream", "hang up"},
                "messages": [{"role": "user", "content": f"hi {number} " + "x" * self._chance.randint(0, 4000)}],
            }
        ).encode()
        if kind == "malformed":
            body = body[:-5]
        path = "estimate" if kind == "estimate" else "chat/completions"
        key = f"ts_live_{number:046d}" if kind == "stranger" else self._chance.choice(self._keys)
        extra = f"Idempotency-Key: {number // 20}\r\n" if kind == "repeated" else ""
        return (
            f"POST /v1/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n{extra}"
            f"Content-Type: application/json\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    async def _send(self, kind: str) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(self._compose(kind))
            head = await reader.readuntil(b"\r\n\r\n")
            if kind != "hang up":
                while await reader.read(65536):
                    pass
        except (OSError, asyncio.IncompleteReadError):
            return 0
        finally:
            writer.transport.abort()
        return int(head[9:12])


class Gauges:
    """Looks at the processes from outside, again and again."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.rows: list[dict[str, float]] = []

    async def run(self, until: asyncio.Event) -> None:
        began = time.monotonic()
        while not until.is_set():
            self.rows.append({"at": time.monotonic() - began} | await asyncio.to_thread(self.look))
            await asyncio.sleep(PERIOD)

    def look(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, pid in self._service.children().items():
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            found[f"{name} MB"] = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
            found[f"{name} fds"] = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - only their number counts
        return found

    def slope(self, name: str) -> float:
        """Return the growth an hour, by Theil and Sen: the median of all slopes between two looks."""
        points = [(row["at"], row[name]) for row in self.rows if row["at"] > WARM_UP]
        thinned = points[:: max(1, len(points) // 200)]
        return statistics.median(
            (later[1] - sooner[1]) / (later[0] - sooner[0]) * 3600
            for sooner, later in itertools.combinations(thinned, 2)
        )


def test_nothing_grows_under_mixed_load(tmp_path: Path) -> None:
    """Slots, holds, descriptors and waiting usage return to what they were; the growth of memory is told."""
    with oracle(tmp_path) as (url, _), serving(tmp_path, _CONFIG % url) as service:
        keys = []
        for number in range(5):
            service.ask("account", "create", f"a{number}@x.example", "--plan", "soak", "--credit", "10000")
            keys.append(service.ask("key", "create", "--account", f"a{number}@x.example")["key"])
        wait_until(lambda: service.chat({"model": "m"}, keys[-1])[0] == 200)
        gauges = Gauges(service)
        before = gauges.look()
        clients = Clients(service, keys, random.Random(1))
        asyncio.run(_soak(clients, gauges))
        wait_until(lambda: service.gauge("techstone_journal_waiting_bytes") == 0)
        assert service.gauge("techstone_requests_admitted") == 0
        assert service.gauge("techstone_defects_total") == 0
        wait_until(lambda: gauges.look()["gateway fds"] <= before["gateway fds"] + 20)
        assert {account["held"] for account in service.ask("account", "list")} == {"0.00"}
        figures = {
            "id": "O-3", "seconds": SECONDS, "answered": clients.answered,
            "RSS slope MB/h": {name: round(gauges.slope(f"{name} MB"), 2) for name in ("gateway", "control")},
            "RSS MB": {name: round(gauges.look()[f"{name} MB"], 1) for name in ("gateway", "control")},
            "fds": [before["gateway fds"], gauges.look()["gateway fds"]],
        }  # fmt: skip
        print(json.dumps(figures))
    assert clients.answered[200] > SECONDS * 10
    assert clients.answered.keys() <= {200, 400, 401, 409, 429, 503}


async def _soak(clients: Clients, gauges: Gauges) -> None:
    until = asyncio.Event()
    asyncio.get_running_loop().call_later(SECONDS, until.set)
    await asyncio.gather(clients.run(until), gauges.run(until))
