"""Counts what the gateway does: plain numbers on the hot path, Prometheus objects only when somebody scrapes.

Names: OpenTelemetry's semantic conventions for generative AI (gen_ai.server.*, gen_ai.client.token.usage), spelled as
Prometheus spells them; what they do not name is techstone_*. Labels have few values: a model that is not on offer never
comes here.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_left
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from techstone import __version__
from techstone.adapters.reports import describe_servers
from techstone.adapters.telemetry.log import AccessLine, Log
from techstone.core.health import STATES
from techstone.core.keys import conceal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client import Metric

    from techstone.core.usage import UsageRecord
    from techstone.gateway.connections import Connections
    from techstone.gateway.dispatch import Dispatch
    from techstone.gateway.exchange import Exchange
    from techstone.gateway.ports import Snapshots

    Gauge = tuple[str, str, float]
    """Name, meaning and value of something that others know."""

# Bucket bounds that the conventions recommend for these two, in seconds and in tokens.
_DURATIONS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
# Theirs for this one end at 10 s, where no quantile tells a queue of minutes from one of seconds: four of ours above.
_FIRST_BYTES = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 30.0, 60.0, 120.0),
)
_HUNG_UP = 499
_FLUSH_SECONDS = 0.5
_BATCH = 512
_LONGEST_PATH = 256
_LONGEST_CODE = 64
# Some error codes are an upstream's own words: names only, and so many of them; then what the conventions say.
_ERROR = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ERRORS = 64
_OTHER_ERROR = "_OTHER"


class _Histogram:
    """Counts by bucket; the last bucket is without bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def buckets(self) -> list[tuple[str, float]]:
        """Return Prometheus' cumulative buckets."""
        found: list[tuple[str, float]] = []
        running = 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            running += count
            found.append((bound, running))
        return found


class _Series:
    """What is counted of the requests to one model through one provider; durations by result."""

    __slots__ = ("durations", "first_byte", "input", "output")

    def __init__(self) -> None:
        self.durations: dict[str, _Histogram] = {}
        self.first_byte = _Histogram(_FIRST_BYTES)
        self.input = _Histogram(_TOKENS)
        self.output = _Histogram(_TOKENS)


class Telemetry:
    """Metrics and access log of one gateway process; the adapter of the port `Journalist`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, snapshots: Snapshots, log: Log) -> None:
        self._loop = loop
        self._log = log
        self._done: list[Exchange] = []
        self._statuses: dict[int, int] = {}
        self._series: dict[tuple[str, str], _Series] = {}
        self._errors: set[str] = set()
        self._insecure = 0
        self._defects = 0
        self._collector = _GatewayCollector(self, snapshots)
        self._registry = CollectorRegistry()
        self._registry.register(self._collector)
        ProcessCollector(registry=self._registry)
        self._timer = loop.call_later(_FLUSH_SECONDS, self._tick)

    def watch(self, connections: Connections, dispatch: Dispatch, gauges: Callable[[], Sequence[Gauge]]) -> None:
        """Show the state of these too."""
        self._collector.gauges = gauges
        self._collector.connections = connections
        self._collector.dispatch = dispatch

    def answered(self, exchange: Exchange) -> None:
        """Take one answer, whole or cut; it is counted and logged with many others, half as dear as one by one."""
        if exchange.record is None:
            exchange.last_write = self._loop.time()  # the record of a chat request has its own
            exchange.body = b""  # of a chat request it is gone already; up to 20 MB would wait here
        self._done.append(exchange)
        if len(self._done) >= _BATCH:
            self.flush()

    def _tick(self) -> None:
        self.flush()
        self._timer = self._loop.call_later(_FLUSH_SECONDS, self._tick)

    def flush(self) -> None:
        """Count and log what was answered since the last time."""
        done, self._done = self._done, []
        if not done:
            return
        offset = time.time() - self._loop.time()
        statuses = self._statuses
        lines = []
        for exchange in done:
            record = exchange.record
            status = (exchange.status if record is None else record.status) or _HUNG_UP
            statuses[status] = statuses.get(status, 0) + 1
            if record is None:
                lines.append(_describe_request(exchange, status, offset))
            else:
                self._count(record)
                lines.append(_describe_chat(exchange, record))
        self._log.write(lines)

    def close(self) -> None:
        """Count and log the last."""
        self._timer.cancel()
        self.flush()

    def _count(self, record: UsageRecord) -> None:
        key = (record.model, record.provider)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series()
        error = record.error_code or ""
        duration = series.durations.get(error)
        if duration is None:
            duration = series.durations.setdefault(self._name_error(error), _Histogram(_DURATIONS))
        first_byte = record.first_byte
        # In line, not four calls: this runs once a request.
        for histogram, value in (
            (duration, record.duration * 1e-6),
            (series.first_byte, first_byte * 1e-6 if first_byte else None),
            (series.input, record.prompt_tokens or None),
            (series.output, record.completion_tokens or None),
        ):
            if value is not None:
                histogram.counts[bisect_left(histogram.bounds, value)] += 1
                histogram.total += value

    def _name_error(self, code: str) -> str:
        """Return the label of an error code: itself, or `_OTHER` if there are too many or it is no name."""
        if code and code not in self._errors:
            if len(self._errors) >= _ERRORS or not _ERROR.fullmatch(code):
                return _OTHER_ERROR
            self._errors.add(code)
        return code

    def failed(self, exchange: Exchange, error: Exception) -> None:
        """Take a defect of ours."""
        self._defects += 1
        self._log.event("error", "defect", repr(error), request_id=exchange.request_id.decode(), error=error)

    def insecure(self, exchange: Exchange) -> None:
        """Take a request over plain HTTP where TLS is on."""
        self._insecure += 1
        self._log.event(
            "warning",
            "insecure",
            "a request came over plain HTTP; if it carried a key, revoke that",
            request_id=exchange.request_id.decode(),
        )

    def sum_first_bytes(self) -> dict[tuple[str, str], tuple[int, float]]:
        """Return by model and provider how many answers began since the start, and the seconds until they did."""
        return {names: (sum(one.first_byte.counts), one.first_byte.total) for names, one in self._series.items()}

    def render(self) -> bytes:
        """Return all counts in Prometheus' text format."""
        self.flush()
        return generate_latest(self._registry)

    def families(self) -> Iterator[Metric]:
        """Yield what was counted here."""
        statuses = CounterMetricFamily(
            "techstone_http_responses", "Answers by status; 499: hung up.", labels=["status"]
        )
        for status, count in sorted(self._statuses.items()):
            statuses.add_metric([str(status)], count)
        yield statuses
        yield CounterMetricFamily(
            "techstone_defects", "Answers of status 500 by a defect of ours.", value=self._defects
        )
        yield CounterMetricFamily(
            "techstone_insecure_requests", "Requests over plain HTTP where TLS is on.", value=self._insecure
        )
        yield CounterMetricFamily(
            "techstone_log_lines_dropped", "Log lines that nobody read in time.", value=self._log.dropped
        )
        yield from self._requests()

    def _requests(self) -> Iterator[Metric]:
        labels = ["gen_ai_request_model", "gen_ai_provider_name", "gen_ai_operation_name"]
        duration = HistogramMetricFamily(
            "gen_ai_server_request_duration_seconds", "Duration of chat requests.", labels=[*labels, "error_type"]
        )
        first_byte = HistogramMetricFamily(
            "gen_ai_server_time_to_first_token_seconds", "Time to the first byte of the answer.", labels=labels
        )
        tokens = HistogramMetricFamily(
            "gen_ai_client_token_usage", "Tokens a request.", labels=[*labels, "gen_ai_token_type"]
        )
        for (model, provider), series in self._series.items():
            names = [model, provider or "none", "chat"]
            for error, histogram in series.durations.items():
                duration.add_metric([*names, error], histogram.buckets(), histogram.total)
            first_byte.add_metric(names, series.first_byte.buckets(), series.first_byte.total)
            tokens.add_metric([*names, "input"], series.input.buckets(), series.input.total)
            tokens.add_metric([*names, "output"], series.output.buckets(), series.output.total)
        yield duration
        yield first_byte
        yield tokens


def _describe_chat(exchange: Exchange, record: UsageRecord) -> AccessLine:
    return AccessLine(
        record.at * 1e-3 + record.duration * 1e-6,
        "chat",
        exchange.request_id.decode(),
        "POST",
        exchange.path.decode("latin-1"),
        record.status,
        record.duration * 1e-6,
        record.account,
        record.key,
        record.model,
        record.provider,
        record.stream,
        record.first_byte * 1e-6,
        record.prompt_tokens,
        record.completion_tokens,
        record.attempts,
        (record.error_code or "")[:_LONGEST_CODE],
    )


def _describe_request(exchange: Exchange, status: int, offset: float) -> AccessLine:
    ended = exchange.last_write
    principal = exchange.principal
    return AccessLine(
        ended + offset,
        "request",
        exchange.request_id.decode(),
        exchange.method.decode("latin-1"),
        conceal(exchange.path[:_LONGEST_PATH].decode("latin-1")),
        status,
        ended - exchange.started,
        principal.account.id if principal else "",
        principal.key.id if principal else "",
    )


class _GatewayCollector(Collector):
    """Builds Prometheus' objects when somebody asks."""

    def __init__(self, telemetry: Telemetry, snapshots: Snapshots) -> None:
        self._telemetry = telemetry
        self._snapshots = snapshots
        self.gauges: Callable[[], Sequence[Gauge]] | None = None
        self.connections: Connections | None = None
        self.dispatch: Dispatch | None = None

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        yield from self._telemetry.families()
        info = GaugeMetricFamily("techstone_build_info", "The version that runs.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        view = self._snapshots.view
        revision = view.snapshot.revision if view is not None else -1
        yield GaugeMetricFamily("techstone_snapshot_revision", "Revision served by; -1: none yet.", value=revision)
        stale = 0 if self._snapshots.problem is None else 1
        yield GaugeMetricFamily("techstone_snapshot_stale", "1: newer news cannot be had, see /readyz.", value=stale)
        if self.connections is not None:
            running = [front.exchange for front in self.connections.fronts if front.exchange is not None]
            streams = sum(exchange.sse for exchange in running)
            yield GaugeMetricFamily("techstone_connections", "Client connections.", value=len(self.connections.fronts))
            yield GaugeMetricFamily("techstone_requests_running", "Answers under way.", value=len(running))
            yield GaugeMetricFamily("techstone_streams_running", "Of these, streams that began.", value=streams)
        if self.dispatch is not None:
            yield self._breakers(self.dispatch)
            yield from self._servers(self.dispatch)
        if self.gauges is not None:
            for name, meaning, value in self.gauges():
                yield GaugeMetricFamily(name, meaning, value=value)

    @staticmethod
    def _breakers(dispatch: Dispatch) -> Metric:
        family = GaugeMetricFamily(
            "techstone_route_open",
            "1: the route's breaker is open, or half-open.",
            labels=["model", "provider", "upstream_model", "replica"],
        )
        for (*names, replica), breaker in dispatch.breakers.items():
            family.add_metric([*map(str, names), _name_replica(replica)], 0 if breaker.closed else 1)
        return family

    @staticmethod
    def _servers(dispatch: Dispatch) -> Iterator[Metric]:
        """Yield what is known of engines' replicas: by their number, since an address is nobody else's business."""
        labels = ["provider", "replica"]
        state = GaugeMetricFamily("techstone_replica_state", "1: what the last checks say.", labels=[*labels, "state"])
        in_flight = GaugeMetricFamily("techstone_replica_in_flight", "Requests of this gateway.", labels=labels)
        running = GaugeMetricFamily("techstone_replica_running", "Requests, as the engine tells.", labels=labels)
        waiting = GaugeMetricFamily("techstone_replica_waiting", "Of its queue, as it tells.", labels=labels)
        cache = GaugeMetricFamily("techstone_replica_cache_usage", "KV cache in use, 0 to 1.", labels=labels)
        for one in describe_servers(server for servers in dispatch.servers.all.values() for server in servers):
            names = [one.provider, _name_replica(one.replica)]
            in_flight.add_metric(names, one.in_flight)
            for word in STATES if one.health is not None else ():
                state.add_metric([*names, word], one.health == word)
            for family, value in ((running, one.running), (waiting, one.waiting), (cache, one.cache)):
                if value is not None:
                    family.add_metric(names, value)
        yield from (state, in_flight, running, waiting, cache)


def _name_replica(number: int) -> str:
    """Return a replica's label; Prometheus takes an empty one as none."""
    return str(number) if number else ""
