"""An installation spread over processes, as tests know a `Service`: control on PostgreSQL, gateways on one Redis."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from haste import LONG
from planes import Planes
from postgres import running
from redis_server import serve_redis
from service import Service, serving, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from planes import Plane

# How many gateways: 0 is `techstone serve`, with SQLite and its limits in memory.
HOUSES = (0, 1, 2, 4) if LONG else (0, 2)
_NEW_REDIS_SECONDS = 4.0
_ENGINE = "[engine]\nenabled = false\n"


class Spread(Service):
    """Commands go to the control plane's folder, requests to the gateways in turn, and counts are of all of them."""

    def __init__(self, control: Plane, gateways: list[Plane]) -> None:
        self.control = control
        self.gateways = gateways
        self.folder = control.folder
        self.environment = control.environment
        self.process = None
        self.key = ""
        self.started_in = 0.0
        self._turns = itertools.count()

    @property
    def port(self) -> int:  # type: ignore[override] # of one process it never changes
        return self.gateways[next(self._turns) % len(self.gateways)].port

    def start(self, *_: str) -> str:
        began = time.monotonic()
        if self.control.process is None or self.control.process.poll() is not None:
            self.control.start()
            self.key = self.control.key
        self._start_gateways()
        self.started_in = time.monotonic() - began
        return self.printed()

    def _start_gateways(self) -> None:
        away = [one for one in self.gateways if one.process is None or one.process.poll() is not None]
        with ThreadPoolExecutor(len(self.gateways)) as pool:
            list(pool.map(lambda gateway: gateway.start(), away))

    def stop(self, *_: object) -> int:
        """End all in order; return the worst status."""
        return max([*(gateway.end() for gateway in self.gateways), self.control.end()])

    def kill(self, child: str | None = None) -> None:
        """Kill every gateway, and without a name control too; who is named is started again, as under `serve`."""
        for plane in [*self.gateways, *([self.control] if child is None else [])]:
            plane.kill_alone()
        if child is not None:
            self._start_gateways()

    def strike(self, number: int) -> None:
        """Kill one gateway and start it, and every other time everything."""
        if number % 2 == 0:
            self.gateways[number // 2 % len(self.gateways)].kill_alone()
            self._start_gateways()
        else:
            self.kill()
            self.start()

    def get(self, path: str, key: str | None = None) -> tuple[int, str, dict[str, str]]:
        """Return an answer; where it is of readiness, that of the gateway which knows least."""
        answers = [gateway.get(path, key) for gateway in (self.gateways if path == "/readyz" else self.gateways[:1])]
        return min(answers, key=lambda found: json.loads(found[1]).get("revision", -1)) if answers[1:] else answers[0]

    def gauge(self, name: str) -> float:
        return sum(gateway.gauge(name) for gateway in self.gateways)


@contextlib.contextmanager
def spreading(folder: Path, configuration: str, gateways: int) -> Iterator[Spread]:
    """Run one for a while, with a database and a Redis of its own; see that its books are in order."""
    (folder / "redis").mkdir()
    with serve_redis(folder / "redis") as redis:
        database = running().url(asyncio.run(running().create_migrated()))
        data = f"[data]\ndatabase = '{database}'\nlimits = 'redis://127.0.0.1:{redis.port}/0'\n"
        # A busy test machine may stop Redis for longer than 50 ms; what follows from that is not tested here.
        data += "limits_patience = 5.0\n"
        planes = Planes(folder, catalog=configuration.replace(_ENGINE, ""), data=data)
        control = planes.add_control()
        away = [planes.add_gateway(number, f"http://127.0.0.1:{control.port}") for number in range(gateways)]
        spread = Spread(control, away)
        try:
            spread.start()
            heard = time.monotonic()
            wait_until(lambda: all(one.gauge("techstone_limits_gateways") == gateways for one in away), 20)
            # Until then a Redis that is new lets nobody spend what is bounded (docs/limits.md).
            wait_until(lambda: time.monotonic() - heard > _NEW_REDIS_SECONDS, 20)
            yield spread
        finally:
            planes.end()
        assert spread.ask("ledger", "check") == [], "the books are in order after every test"


@contextlib.contextmanager
def housing(folder: Path, configuration: str, gateways: int) -> Iterator[Service]:
    """Run one of `HOUSES`."""
    if not gateways:
        with serving(folder, configuration) as service:
            yield service
    else:
        with spreading(folder, configuration, gateways) as spread:
            spread.house = gateways
            yield spread
