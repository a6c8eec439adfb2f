"""Metrics: what was answered is counted, under the names of the conventions."""

from __future__ import annotations

import asyncio
import os

from prometheus_client.parser import text_string_to_metric_families

from techstone.adapters.snapshots import StaticSnapshots
from techstone.adapters.telemetry.log import Log
from techstone.adapters.telemetry.meter import Telemetry
from techstone.core.record import RequestRecord
from techstone.core.snapshot import Snapshot
from techstone.gateway.exchange import Exchange
from techstone.gateway.head import Head


class _Wire:
    """A connection that is never written to."""

    peer = "127.0.0.1"
    secure = False
    stamp = b""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def write(self, data: bytes) -> None:
        raise AssertionError(data)

    def answered(self, exchange: Exchange) -> None:
        raise AssertionError(exchange)

    def report(self, exchange: Exchange, error: Exception) -> None:
        raise AssertionError(exchange, error)


class _Bench:
    """Telemetry that writes its log nowhere."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.number = os.open(os.devnull, os.O_WRONLY)
        self.log = Log(self.number)
        self.telemetry = Telemetry(self.loop, StaticSnapshots(Snapshot(7)), self.log)

    def answer(self, status: int, record: RequestRecord | None = None) -> None:
        exchange = Exchange(_Wire(self.loop), Head(), b"req_1", self.loop.time())
        exchange.status = status
        exchange.record = record
        self.telemetry.answered(exchange)

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


def _record(error: str | None = None, status: int = 200) -> RequestRecord:
    return RequestRecord("a1", "k1", "gpt-4o", "up", "gpt-4o", status, True, 21, 150, 10.0, 10.03, 12.0, error, 1)


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
    bench.answer(503, _record("upstream_unavailable", 503))
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


async def test_defects_and_insecure_requests_are_counted() -> None:
    """Each has a counter of its own, to alarm on."""
    bench = _Bench()
    exchange = Exchange(_Wire(bench.loop), Head(), b"req_1", 0.0)
    bench.telemetry.failed(exchange, ValueError("x"))
    bench.telemetry.insecure(exchange)
    found = bench.read()
    bench.close()
    assert found["techstone_defects_total"] == found["techstone_insecure_requests_total"] == 1
