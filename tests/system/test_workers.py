"""Several gateway processes on one port, with limits in Redis: one gateway to every client, plan and bill."""

from __future__ import annotations

import os
import signal
import socket
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest
from redis_server import RedisServer, serve_redis
from service import Service, serving, wait_until

from techstone.adapters.limits.anew import GENERATION

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS = 2


def _free_ports(count: int) -> int:
    """Return the first of so many ports in a row that nobody uses now."""
    for first in range(30_000, 32_000, count):
        probes = [socket.socket() for _ in range(count)]
        try:
            for number, probe in enumerate(probes):
                probe.bind(("127.0.0.1", first + number))
        except OSError:
            continue
        else:
            return first
        finally:
            for probe in probes:
                probe.close()
    raise AssertionError("no ports in a row are free")


class Workers:
    """A service with several gateways, and where each is asked by itself."""

    def __init__(self, service: Service, first: int, redis: RedisServer | None = None) -> None:
        self.service = service
        self.redis = redis
        self.ports = [first + number for number in range(WORKERS)]

    def read(self, number: int, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[number]}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def count(self) -> list[float]:
        """Return how many usage records each has written since its start."""
        lines = [self.read(number, "/metrics").splitlines() for number in range(WORKERS)]
        return [float(line.split()[1]) for found in lines for line in found if line.startswith("techstone_journal_rec")]


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    folder, first = tmp_path_factory.mktemp("workers"), _free_ports(WORKERS)
    with serve_redis(tmp_path_factory.mktemp("redis")) as redis:
        configuration = (
            f"[server]\nworkers = {WORKERS}\nmetrics = '127.0.0.1:{first}'\n"
            f"[data]\nlimits = 'redis://127.0.0.1:{redis.port}/0'\n"
        )
        with serving(folder, configuration) as service:
            wait_until(lambda: all(f"limits_gateways {WORKERS}" in text for text in _metrics(service, first)), 20)
            yield Workers(service, first, redis)


def _metrics(service: Service, first: int) -> list[str]:
    found = Workers(service, first)
    return [found.read(number, "/metrics") for number in range(WORKERS)]


def test_every_worker_serves_and_the_plan_is_one(workers: Workers) -> None:
    """Both answer on the one port; a plan of 40 requests a minute gives 40 of them together, each billed once."""
    service = workers.service
    service.ask("account", "create", "w@example.com", "--plan", "enterprise", "--credit", "5")
    assert service.run("account", "set-plan", "w@example.com", "enterprise", "--rpm", "40").returncode == 0
    key = service.ask("key", "create", "--account", "w@example.com")["key"]
    wait_until(lambda: [service.get("/v1/models", key)[0] for _ in range(6)] == [200] * 6)
    before = workers.count()
    statuses = [service.chat(key=key)[0] for _ in range(60)]
    served = [now - then for now, then in zip(workers.count(), before, strict=True)]
    assert (statuses.count(200), statuses.count(429)) == (40, 20)
    assert min(served) > 0, served
    wait_until(lambda: len(service.ask("usage", "--requests", "--account", "w@example.com")) == 40)


def test_metrics_of_each_worker_are_its_own(workers: Workers) -> None:
    """Its process, its counts; probes too, and nothing of the API."""
    ids = {
        line
        for text in _metrics(workers.service, workers.ports[0])
        for line in text.splitlines()
        if "start_time" in line
    }
    assert len(ids) >= WORKERS
    for number in range(WORKERS):
        assert workers.read(number, "/healthz") == '{"status":"ok"}'
        with pytest.raises(urllib.error.HTTPError, match="404"):
            workers.read(number, "/v1/models")


def test_worker_that_is_killed_fails_only_what_it_had(workers: Workers) -> None:
    """The others go on on the same port; it is started again with its own folder, and what it had is booked once."""
    service = workers.service
    before = len(service.ask("usage", "--requests"))
    service.kill("gateway-2")
    assert [service.chat()[0] for _ in range(10)] == [200] * 10
    wait_until(lambda: "gateway-2" in service.children() and _answers(workers, 1), 20)
    assert [service.chat()[0] for _ in range(10)] == [200] * 10
    wait_until(lambda: len(service.ask("usage", "--requests")) == before + 20)
    assert (service.folder / "data" / "worker-2" / "journal").is_dir()


def test_fewer_workers_lose_no_usage(workers: Workers) -> None:
    """What one that is no more had served and not shipped is booked at the next start, once; the limits hear of it."""
    service, redis = workers.service, workers.redis
    assert redis is not None
    generation = redis.ask("HGET", GENERATION, "id")
    before = len(service.ask("usage", "--requests"))
    assert service.process is not None
    os.kill(service.children()["control"], signal.SIGSTOP)  # it books nothing more
    assert [service.chat()[0] for _ in range(20)] == [200] * 20
    service.kill()
    service.start("--workers", "1")
    line = "worker-2, which is no more, had usage that was not booked"
    wait_until(lambda: line in service.complained(), 20)
    wait_until(lambda: len(service.ask("usage", "--requests")) == before + 20)
    wait_until(lambda: redis.ask("HGET", GENERATION, "id") not in {None, generation})
    assert service.stop() == 0
    service.start("--workers", "1")
    assert (service.stop(), service.complained().count(line)) == (0, 1)
    service.start()
    assert len(service.ask("usage", "--requests")) == before + 20


def _answers(workers: Workers, number: int) -> bool:
    try:
        return '"ready"' in workers.read(number, "/readyz")
    except OSError:
        return False
