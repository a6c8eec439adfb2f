"""Metrics: what was answered is counted, under the names of the conventions."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from techstone.adapters.journal.segments import recover
from techstone.adapters.journal.writer import JournalWriter
from techstone.adapters.limits.memory import MemoryLimits
from techstone.adapters.snapshots import StaticSnapshots
from techstone.adapters.telemetry.log import Log
from techstone.adapters.telemetry.meter import Telemetry
from techstone.adapters.upstreams.http import HttpUpstreams
from techstone.adapters.way import over_socket
from techstone.app.wiring import Gateway, Outside
from techstone.core.breaker import FAILURES, Breaker
from techstone.core.engines import Load
from techstone.core.snapshot import Provider, Replica, Snapshot, View
from techstone.core.usage import UsageRecord
from techstone.gateway.connections import Trust
from techstone.gateway.exchange import Exchange
from techstone.gateway.front import Front
from techstone.gateway.head import Head

if TYPE_CHECKING:
    from pathlib import Path

    from techstone.core.errors import ApiError


class _Wire:
    """A connection that is never written to."""

    peer = "127.0.0.1"
    secure = False
    stamp = b""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def write(self, data: bytes) -> None:
        raise AssertionError(data)

    def refused(self, exchange: Exchange, error: ApiError) -> None:
        assert (exchange.sent, error.status >= 400) == (False, True)

    def answered(self, exchange: Exchange) -> None:
        raise AssertionError(exchange)

    def report(self, exchange: Exchange, error: Exception) -> None:
        raise AssertionError(exchange, error)

    def describe_limits(self, exchange: Exchange) -> bytes:
        raise AssertionError(exchange)


class _Bench:
    """Telemetry that writes its log nowhere."""

    def __init__(self, number: int | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.number = number or os.open(os.devnull, os.O_WRONLY)
        self.log = Log(self.number)
        self.telemetry = Telemetry(self.loop, StaticSnapshots(Snapshot(7)), self.log)

    def answer(self, status: int, record: UsageRecord | None = None, path: bytes = b"/") -> Exchange:
        exchange = Exchange(_Wire(self.loop), Head(), b"req_1", self.loop.time())
        exchange.path = path
        exchange.body = b"body"
        exchange.status = status
        exchange.record = record
        self.telemetry.answered(exchange)
        return exchange

    def read(self) -> dict[str, float]:
        """Return every sample by its name and labels."""
        families = text_string_to_metric_families(self.telemetry.render().decode())
        return {
            sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    def close(self) -> None:
        self.telemetry.close()
        self.log.close()
        os.close(self.number)


def _record(
    error: str | None = None, status: int = 200, *, delivered: bool = True, first_byte: int = 30_000
) -> UsageRecord:
    prompt, completion = (21, 150) if delivered else (0, 0)
    return UsageRecord(
        id="req_1",
        state="settled" if delivered else "void",
        account="a1",
        key="k1",
        model="gpt-4o",
        provider="up",
        upstream_model="gpt-4o",
        status=status,
        stream=True,
        at=1_700_000_000_000,
        first_byte=first_byte if delivered else 0,
        duration=2_000_000,
        prompt_tokens=prompt,
        cached_tokens=0,
        completion_tokens=completion,
        reasoning_tokens=0,
        cost=0,
        held=0,
        price=0,
        error_code=error,
    )


async def test_answers_are_counted_by_status() -> None:
    """Whatever was answered; a client that hung up before is 499."""
    bench = _Bench()
    for status in (200, 200, 401, 0):
        bench.answer(status)
    found = bench.read()
    bench.close()
    assert found["techstone_http_responses_total status=200"] == 2
    assert found["techstone_http_responses_total status=401"] == 1
    assert found["techstone_http_responses_total status=499"] == 1
    assert found["techstone_snapshot_revision"] == 7
    assert found["techstone_snapshot_stale"] == 0
    assert "process_resident_memory_bytes" in found


async def test_chat_is_measured_under_the_conventions_names() -> None:
    """Duration, time to the first byte and tokens, by model and provider, in cumulative buckets."""
    bench = _Bench()
    bench.answer(200, _record())
    bench.answer(503, _record("upstream_unavailable", 503, delivered=False))
    found = bench.read()
    bench.close()
    labels = " gen_ai_operation_name=chat gen_ai_provider_name=up gen_ai_request_model=gpt-4o"
    assert found[f"gen_ai_server_request_duration_seconds_sum error_type={labels}"] == 2.0
    assert found[f"gen_ai_server_request_duration_seconds_count error_type=upstream_unavailable{labels}"] == 1
    assert found[f"gen_ai_server_request_duration_seconds_bucket error_type={labels} le=1.28"] == 0
    assert found[f"gen_ai_server_request_duration_seconds_bucket error_type={labels} le=2.56"] == 1
    assert found[f"gen_ai_server_request_duration_seconds_bucket error_type={labels} le=+Inf"] == 1
    assert found[f"gen_ai_server_time_to_first_token_seconds_count{labels}"] == 1
    assert found[f"gen_ai_client_token_usage_sum{labels} gen_ai_token_type=input"] == 21
    assert found[f"gen_ai_client_token_usage_sum{labels} gen_ai_token_type=output"] == 150


async def test_first_token_that_comes_late_is_still_measured() -> None:
    """Up to two minutes: what a long prompt or a queue takes; beyond the last bound a quantile would say that bound."""
    bench = _Bench()
    bench.answer(200, _record(first_byte=45_000_000))
    found = bench.read()
    bench.close()
    labels = " gen_ai_operation_name=chat gen_ai_provider_name=up gen_ai_request_model=gpt-4o"
    counts = [
        found[f"gen_ai_server_time_to_first_token_seconds_bucket{labels} le={le}"]
        for le in ("10.0", "20.0", "30.0", "60.0", "120.0")
    ]
    assert counts == [0, 0, 0, 1, 1]


async def test_answer_that_broke_off_counts_its_tokens() -> None:
    """What was delivered was used; the conventions know no error for tokens, so all results are one series."""
    bench = _Bench()
    bench.answer(200, _record())
    bench.answer(499, _record("client_closed", 499))
    found = bench.read()
    bench.close()
    labels = " gen_ai_operation_name=chat gen_ai_provider_name=up gen_ai_request_model=gpt-4o"
    assert found[f"gen_ai_client_token_usage_sum{labels} gen_ai_token_type=output"] == 300
    assert found[f"gen_ai_server_time_to_first_token_seconds_count{labels}"] == 2


async def test_upstream_cannot_fill_the_metrics() -> None:
    """Error codes that an upstream makes up are told apart up to a bound, and only where they are names."""
    bench = _Bench()
    for number in range(500):
        bench.answer(400, _record(f"code_{number}", 400))
    bench.answer(400, _record('a"}\n' + "x" * 1000, 400))
    text = bench.telemetry.render().decode()
    found = bench.read()
    bench.close()
    assert len({name for name in found if "request_duration_seconds_count" in name}) <= 65
    labels = "gen_ai_operation_name=chat gen_ai_provider_name=up gen_ai_request_model=gpt-4o"
    assert found[f"gen_ai_server_request_duration_seconds_count error_type=_OTHER {labels}"] >= 401
    assert "xxx" not in text


async def test_key_in_a_path_is_not_logged() -> None:
    """A key pasted into a URL is taken out, and a very long path is cut."""
    read_end, write_end = os.pipe()
    bench = _Bench(write_end)
    bench.answer(404, path=b"/v1/models/ts_live_" + b"a" * 46)
    bench.answer(404, path=b"/" + b"b" * 30_000)
    bench.close()
    lines = os.read(read_end, 65536).splitlines()
    os.close(read_end)
    assert json.loads(lines[0])["path"] == "/v1/models/[redacted]"
    assert len(lines[1]) < 500


async def test_answer_that_waits_to_be_counted_keeps_no_body() -> None:
    """Up to 512 requests wait for half a second; with 20 MB each they would be 10 GB."""
    bench = _Bench()
    exchange = bench.answer(400)
    bench.close()
    assert exchange.body == b""


async def test_streams_are_told_from_other_answers(tmp_path: Path) -> None:
    """How many connections, running answers and streams there are, and which routes are not to be used."""
    bench = _Bench()
    journal = JournalWriter(bench.loop, tmp_path, recover(tmp_path, lambda: "0" * 16))
    gateway = Gateway(
        bench.loop,
        Outside(
            snapshots=StaticSnapshots(Snapshot(7)),
            limits=MemoryLimits(time.monotonic, time.time),
            journal=journal,
            answers=journal.answers,
            journalist=bench.telemetry,
            render_metrics=bench.telemetry.render,
            environment={},
            control=over_socket(HttpUpstreams(bench.loop, {}), ""),
            trust=Trust(),
        ),
    )
    bench.telemetry.watch(gateway.connections, gateway.dispatch, lambda: [("techstone_x", "Something.", 3.0)])
    for exchange in (None, "whole", "stream"):
        front = Front(gateway.connections)
        gateway.connections.fronts.add(front)
        if exchange is not None:
            front.exchange = Exchange(_Wire(bench.loop), Head(), b"req_1", bench.loop.time())
            front.exchange.sse = exchange == "stream"
    breakers = gateway.dispatch.breakers
    breakers["m", "up", "x", 0], breakers["m", "down", "y", 0] = Breaker(), Breaker()
    for _ in range(FAILURES):
        breakers["m", "down", "y", 0].fail(bench.loop.time() - 3600.0)
    replicas = (Replica("http://a:1/v1"), Replica("http://b:1/v1"))
    gpu = Provider("gpu", "vllm", "http://a:1/v1", replicas=replicas)
    (first, second) = gateway.dispatch.servers.find(View(Snapshot(8, providers=(gpu,))), "gpu")
    first.health.succeed()
    first.in_flight = 1
    first.hear(Load(4, 2, 0.5))
    breakers["m", "gpu", "x", second.number] = Breaker()
    found = bench.read()
    gateway.upstreams.close()
    journal.close()
    bench.close()
    names = ("connections", "requests_running", "streams_running")
    assert [found[f"techstone_{name}"] for name in names] == [3, 2, 1]
    assert found["techstone_x"] == 3
    assert found["techstone_route_open model=m provider=up replica= upstream_model=x"] == 0
    assert found["techstone_route_open model=m provider=down replica= upstream_model=y"] == 1, "half-open is not closed"
    assert found["techstone_route_open model=m provider=gpu replica=2 upstream_model=x"] == 0
    one, two = "provider=gpu replica=1", "provider=gpu replica=2"
    assert (
        found[f"techstone_replica_state {one} state=up"] == found[f"techstone_replica_state {two} state=unknown"] == 1
    )
    told = [found[f"techstone_replica_{name} {one}"] for name in ("in_flight", "running", "waiting", "cache_usage")]
    assert told == [1, 4, 2, 0.5]
    assert f"techstone_replica_running {two}" not in found, "what it did not tell is not 0"


async def test_defects_and_insecure_requests_are_counted() -> None:
    """Each has a counter of its own, to alarm on."""
    bench = _Bench()
    exchange = Exchange(_Wire(bench.loop), Head(), b"req_1", 0.0)
    bench.telemetry.failed(exchange, ValueError("x"))
    bench.telemetry.insecure(exchange)
    found = bench.read()
    bench.close()
    assert found["techstone_defects_total"] == found["techstone_insecure_requests_total"] == 1
