"""The checks of engines, on real sockets: what is asked, what follows from the answer, and who is asked at all."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from techstone.adapters.upstreams import health_checks
from techstone.adapters.upstreams.health_checks import Check, HealthChecks
from techstone.adapters.upstreams.http import HttpUpstreams
from techstone.core.snapshot import Provider, Replica, Snapshot, Timeouts, UpstreamKind, View
from techstone.gateway.dispatch import Dispatch
from techstone.gateway.ports import Call
from techstone.gateway.target import Keyring
from techstone.gateway.trampoline import Trampoline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from techstone.gateway.servers import Server

VLLM = b"vllm:num_requests_running 3.0\nvllm:num_requests_waiting 2.0\nvllm:kv_cache_usage_perc 0.5\n"


class Engine:
    """A server that answers by path; without an answer for it, never. Keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {"/health": (200, b""), "/metrics": (200, VLLM)}
        self.asked: list[str] = []
        self.heads: list[bytes] = []
        self.port = 0
        self.streaming = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ")[1].decode()
                self.heads.append(head.lower())
                self.asked.append(path)
                if path == "/long":
                    await self._stream(writer)
                if path in self.answers:
                    status, body = self.answers[path]
                    writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
        writer.close()

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while self.streaming:
            writer.write(b"1\r\nx\r\n")
            await asyncio.sleep(0.02)


class Bench:
    """An engine, and checks of it by a gateway's parts."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.upstreams = HttpUpstreams(asyncio.get_running_loop(), {})
        self.dispatch = Dispatch(self.upstreams, asyncio.get_running_loop().time, lambda: 0.5, Keyring({"K": "sk-gpu"}))
        self.view: View | None = None
        self.problem: str | None = None
        self.expired = False

    def is_fresh(self) -> bool:
        return True

    def provide(
        self, kind: UpstreamKind = "vllm", metrics_port: int | None = None, count: int = 1
    ) -> tuple[Server, ...]:
        """Have a provider of a kind; return its servers."""
        replicas = tuple(Replica(f"http://127.0.0.1:{self.engine.port}/v1" + "/" * extra) for extra in range(count))
        url = replicas[0].base_url
        provider = Provider("gpu", kind, url, "K", replicas=replicas, metrics_port=metrics_port)
        self.view = View(Snapshot(1, providers=(provider,)))
        return self.dispatch.servers.find(self.view, "gpu")

    async def reach(self, revision: int) -> None:
        """Nobody waits for one here."""

    async def check(self, server: Server, rounds: int = 1) -> None:
        """Check as the gateway does, without its pauses."""
        check = Check(self.upstreams, self.dispatch, server)
        for _ in range(rounds):
            await run(check)


async def run(check: Check) -> None:
    """Check once, on a trampoline as the gateway does."""
    done = asyncio.get_running_loop().create_future()

    async def once() -> None:
        await check.run()

    Trampoline(once(), done.set_result).advance()
    assert await done is None


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    server = await asyncio.start_server(bench.engine.serve, "127.0.0.1", 0)
    bench.engine.port = server.sockets[0].getsockname()[1]
    yield bench
    bench.upstreams.close()
    server.close()
    await asyncio.sleep(0.02)


async def test_engine_is_up_and_tells_its_load(bench: Bench) -> None:
    """Both are asked beside /v1, with the key of the provider."""
    (server,) = bench.provide()
    await bench.check(server)
    assert (server.health.state, server.load) == ("up", 5)
    assert bench.engine.asked == ["/health", "/metrics"]
    assert all(b"authorization: bearer sk-gpu\r\n" in head for head in bench.engine.heads)


async def test_engine_that_does_not_answer_well_is_down_after_three(bench: Bench) -> None:
    """What it told of its load before is forgotten, and once it answers again its breakers are told."""
    (server,) = bench.provide()
    await bench.check(server)
    bench.engine.answers["/health"] = (503, b"loading")
    await bench.check(server, 2)
    assert (server.health.state, server.load) == ("unknown", 5)
    await bench.check(server)
    assert (server.health.state, server.load, server.reported) == ("down", 0, None)
    bench.engine.answers["/health"] = (200, b"")
    await bench.check(server)
    assert server.health.state == "up"


async def test_late_answer_counts_only_where_no_request_is_answered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A llama.cpp with more requests than threads has none left for a check; it is busy, not dead."""
    monkeypatch.setattr(health_checks, "_TIMEOUTS", Timeouts(0.05, 0.05, 0.05, 0.1))
    del bench.engine.answers["/health"]
    (server,) = bench.provide("llama.cpp")
    check = Check(bench.upstreams, bench.dispatch, server)
    states: list[str] = []
    for answered in (1, 1, 1, 1, 0, 0, 0):
        server.answered += answered
        await run(check)
        states.append(server.health.state)
    assert states == ["unknown"] * 6 + ["down"]


async def test_late_answer_does_not_count_while_a_long_one_comes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """No request ends for minutes, but their bytes come; once they stop, too, the server is down after three."""
    monkeypatch.setattr(health_checks, "_TIMEOUTS", Timeouts(0.3, 0.3, 0.3, 0.3))
    del bench.engine.answers["/health"]
    (server,) = bench.provide("llama.cpp")
    call = Call(server.target.origin, b"GET /long HTTP/1.1\r\nhost: x\r\nx-request-id: r", b"", Timeouts())
    opened = asyncio.get_running_loop().create_future()

    async def open_long() -> None:
        opened.set_result(await bench.upstreams.open(call))

    trampoline = Trampoline(open_long(), lambda _: None)
    trampoline.advance()
    answer = await opened
    check = Check(bench.upstreams, bench.dispatch, server)
    states: list[str] = []
    for _ in range(4):
        await run(check)
        states.append(server.health.state)
    bench.engine.streaming = False
    await asyncio.sleep(0.05)
    for _ in range(3):
        await run(check)
        states.append(server.health.state)
    assert states == ["unknown"] * 6 + ["down"]
    answer.close()


async def test_metrics_that_are_not_told_are_no_failure(bench: Bench) -> None:
    """llama.cpp without --metrics says 501: it is up, and how busy it is not known."""
    bench.engine.answers["/metrics"] = (501, b"")
    (server,) = bench.provide("llama.cpp")
    await bench.check(server)
    assert (server.health.state, server.reported) == ("up", None)


async def test_load_is_forgotten_where_metrics_are_not_answered_any_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One miss says nothing; after three in a row the old figure would keep requests away for nothing."""
    monkeypatch.setattr(health_checks, "_TIMEOUTS", Timeouts(0.05, 0.05, 0.05, 0.1))
    bench.engine.answers["/metrics"] = (200, b"vllm:num_requests_running 90\nvllm:num_requests_waiting 0\n")
    (server,) = bench.provide("vllm")
    check = Check(bench.upstreams, bench.dispatch, server)
    await run(check)
    told = server.load
    del bench.engine.answers["/metrics"]
    loads = []
    for _ in range(4):
        await run(check)
        loads.append(server.load)
    assert (told, server.health.state, loads) == (90, "up", [90, 90, 0, 0])


async def test_metrics_that_are_too_large_are_not_read(bench: Bench) -> None:
    """A server that tells without end costs a connection, not the memory of the gateway."""
    bench.engine.answers["/metrics"] = (200, VLLM + b"#" * (4 * 1024 * 1024))
    (server,) = bench.provide()
    await bench.check(server)
    assert (server.health.state, server.reported) == ("up", None)


async def test_ray_tells_at_its_port_of_metrics(bench: Bench) -> None:
    """Health at the root of the address, metrics at the other port, at every fifth check, and without the key."""
    text = b"ray_serve_num_ongoing_http_requests 5.0\nray_serve_deployment_queued_queries 3.0\n"
    bench.engine.answers |= {"/-/healthz": (200, b"success"), "/metrics": (200, text)}
    (server,) = bench.provide("ray-serve", metrics_port=bench.engine.port)
    await bench.check(server, 6)
    assert bench.engine.asked == ["/-/healthz", "/metrics", *["/-/healthz"] * 5, "/metrics"]
    assert server.load == 5
    assert b"authorization" not in bench.engine.heads[1]


async def test_ollama_is_asked_for_its_version_alone(bench: Bench) -> None:
    """It tells no load."""
    bench.engine.answers["/api/version"] = (200, b'{"version":"0.13.0"}')
    (server,) = bench.provide("ollama")
    await bench.check(server)
    assert (server.health.state, server.load, bench.engine.asked) == ("up", 0, ["/api/version"])


async def test_checks_follow_the_snapshot(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every server of an engine is checked, of other providers none; what is gone is not asked any more."""
    monkeypatch.setattr(health_checks, "PACE_SECONDS", 0.01)
    checks = HealthChecks(bench.upstreams, bench, bench.dispatch)
    checks.start()
    servers = bench.provide(count=3)
    async with asyncio.timeout(5):
        while [server.health.state for server in servers] != ["up"] * 3:  # noqa: ASYNC110 - three tasks of the checks'
            await asyncio.sleep(0.01)
        bench.provide("openai")
        while bench.dispatch.servers.all["gpu"][0] in servers or checks._courses:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        bench.view = View(Snapshot(2))
        while bench.dispatch.servers.all:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        del bench.engine.asked[:]
        await asyncio.sleep(0.05)
    assert bench.engine.asked == []
    checks.stop()
