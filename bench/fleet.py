"""How many machines a rate of requests needs, what each part does then, what breaks first. Pure: figures in, plan out.

Every figure about our programs is measured (`measured.json`); every figure about the traffic is said (`Demand`).
"""

from __future__ import annotations

import math
from random import Random
from typing import NamedTuple

import msgspec
from queueing import Job, Traffic, Waits, find_hottest, list_shares, wait

# adapters/journal/shipping.py: what is new is sent so often.
SHIP_SECONDS = 0.2
# Bursts come every 2 s: in so many arrivals at a busy gateway (12,000 jobs a second) there are eight of them.
_ARRIVALS = 200_000
# A hash slot holds at least one whole account: more shards do not divide it.
_MOST_SHARDS = 4096


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A measured run of small requests with limits in Redis, beside which the model is held."""

    press: str
    gateways: int
    rate: float
    gateway_micros: float
    redis_micros: float


class Measured(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a request costs, in µs of CPU, milliseconds or bytes; `batch_milliseconds` is (records, ms) of a booking."""

    quiet: bool
    note: str
    gateway_micros: float
    gateway_memory_micros: float
    stream_micros: float
    stream_chunks: int
    redis_idle_micros: float
    redis_full_micros: float
    redis_p99_by_p50: float
    redis_bytes_an_account: int
    control_micros: float
    database_micros: float
    batch_milliseconds: tuple[tuple[int, float], ...]
    wal_bytes: int
    row_bytes: int
    journal_bytes: int
    key_bytes: int
    snapshot_bytes_a_key: int
    small_bytes: int
    chunk_bytes: int
    runs: tuple[Run, ...] = ()


class Demand(msgspec.Struct, frozen=True):
    """The traffic, in the busiest hour, and how it is to be served. Shares are of 1; `fill`: how busy a part may be."""

    rate: float
    streams: float = 0.7
    accounts: int = 100_000
    zipf: float = 1.0
    hot: float = 0.0
    burst: float = 1.5
    peak_by_mean: float = 2.0
    fill: float = 0.6
    cores: int = 8
    core_dollars: float = 0.04
    hop_millis: float = 0.2
    seed: int = 1


class Booking(msgspec.Struct, frozen=True):
    """What a ledger does: `busy` is its lock's; `cycle`: seconds between two batches of one gateway, at least.

    `lag`: seconds from a request's end until it is booked, of the oldest in a batch. Where records need more than all
    the time there is, cycle and lag have no end.
    """

    busy: float
    cycle: float
    lag: float


class Plan(msgspec.Struct, frozen=True):
    """What the demand needs. Utilisations are of 1; a limit store above 1 falls behind for ever."""

    gateways: int
    gateway_machines: int
    gateway_busy: float
    shards: int
    shard_busy: float
    hottest: float
    ledgers: int
    ledger_busy: float
    lag_seconds: float
    lone_ledger: Booking
    control_cores: int
    database_cores: int
    gateway: Waits
    store: Waits
    added_p50: float
    added_p99: float
    redis_calls: float
    journal_bytes: float
    wal_bytes: float
    network_bytes: float
    rows_a_day: float
    dollars_a_million: float
    breaks: tuple[str, ...]


def price_gateway(measured: Measured, streams: float) -> float:
    """Return seconds of a gateway's CPU for a mean request. What Redis adds to a small request it adds to a stream."""
    return sum(job.share * job.seconds for job in list_jobs(measured, streams))


def list_jobs(measured: Measured, streams: float) -> list[Job]:
    """Return a gateway's work for a mean request; shares are of a request, so that chunks have more than 1.

    A stream begins with what a small request takes (it is admitted and settled just so) and its first chunk, for which
    its client waits. Between chunks others are served.
    """
    small = measured.gateway_micros / 1e6
    chunk = max(0.0, measured.stream_micros - measured.gateway_memory_micros) / 1e6 / measured.stream_chunks
    return [
        Job(1 - streams, small),
        Job(streams, small + chunk),
        Job(streams * (measured.stream_chunks - 1), chunk, counts=False),
    ]


def price_batch(measured: Measured) -> tuple[float, float]:
    """Return seconds that a batch takes whatever its size, and those of each record: a line through the ends."""
    (small, first), (large, last) = measured.batch_milliseconds[0], measured.batch_milliseconds[-1]
    each = (last - first) / (large - small) / 1000
    return max(0.0, first / 1000 - small * each), each


def find_booking(measured: Measured, gateways: int, rate: float) -> Booking:
    """Return what one ledger does with so many gateways and records a second. Batches wait for one lock.

    A gateway books what it has, waits the shipping interval and books again: cycle = interval + waiting + booking, and
    the longer a cycle, the larger its batch. Where batches always take equally long they come one after another and
    none waits while there is time for all: then cycles are shortest, batches most and the lock busiest. Where their
    times scatter, they meet, and usage is later. Neither is known, so each is told by the case that is worse for it.
    """
    fixed, each = price_batch(measured)
    own = rate / gateways
    if rate * each >= 1:
        return Booking(rate * each, math.inf, math.inf)
    cycle = max((SHIP_SECONDS + fixed) / (1 - own * each), gateways * fixed / (1 - rate * each))
    # Nobody sends a batch of nothing: where records are few, each is a batch.
    busy = min(gateways / cycle, rate) * fixed + rate * each
    return Booking(busy, cycle, 2 * _find_scattered_cycle(gateways, own, fixed, each) - SHIP_SECONDS)


def _find_scattered_cycle(gateways: int, own: float, fixed: float, each: float) -> float:
    """Return a cycle's seconds where a batch meets those that are there: a closed queue's mean value analysis.

    By Schweitzer's approximation (1979), as a batch is as large as the cycle is long: one solution while records alone
    leave time. `own`: records a second of a gateway.
    """
    # At most all the others are ahead.
    low, high = SHIP_SECONDS, (SHIP_SECONDS + gateways * (fixed + each)) / (1 - gateways * own * each)
    while high - low > 1e-9 * high:
        cycle = (low + high) / 2
        ahead = (gateways - 1) * (1 - SHIP_SECONDS / cycle)
        longer = SHIP_SECONDS + (fixed + max(1.0, own * cycle) * each) * (1 + ahead) > cycle
        low, high = (cycle, high) if longer else (low, cycle)
    return high


def count_ledgers(measured: Measured, demand: Demand, gateways: int) -> int:
    """Return the fewest ledgers of which none is too busy. Each has gateways of its own: a part of all of them.

    Were every gateway to send to every ledger, each would have a batch of each gateway in every interval.
    """
    ledgers = max(1, math.ceil(demand.rate * price_batch(measured)[1] / demand.fill))
    while find_booking(measured, math.ceil(gateways / ledgers), demand.rate / ledgers).busy > demand.fill:
        ledgers += 1
    return ledgers


def price_store(measured: Measured, busy: float) -> float:
    """Return seconds of Redis for a request: calls that come together are read and written together."""
    idle, full = measured.redis_idle_micros, measured.redis_full_micros
    return (full + (idle - full) * (1 - min(1.0, busy))) / 1e6


def find_store_busy(measured: Measured, rate: float) -> float:
    """Return how busy a limit store is with so many requests a second: busy = rate by price(busy), solved.

    Above 1 it falls behind, each call at the price of a full one.
    """
    idle, full = measured.redis_idle_micros / 1e6, measured.redis_full_micros / 1e6
    return rate * full if rate * full >= 1 else rate * idle / (1 + rate * (idle - full))


def count_shards(measured: Measured, demand: Demand, shares: list[float], random: Random) -> tuple[int, float]:
    """Return the fewest shards (a power of 2) of which none is too busy, and the busiest one's share of requests."""
    shards = 1 << max(0, math.ceil(math.log2(demand.rate * price_store(measured, demand.fill) / demand.fill)))
    # Then only the largest account is in the way, and more shards would not help it.
    alone = find_store_busy(measured, shares[0] * demand.rate) > demand.fill
    while True:
        hottest = find_hottest(shares, shards, random)
        stuck = alone and shares[0] > 0.9 * hottest
        if find_store_busy(measured, hottest * demand.rate) <= demand.fill or stuck or shards >= _MOST_SHARDS:
            return shards, hottest
        shards *= 2


class Ceiling(NamedTuple):
    """Requests a second at which one of a part has all that it can do, and those that it is planned for."""

    full: float
    planned: float


class Ceilings(msgspec.Struct, frozen=True):
    """Of each part; of gateways it is one process."""

    gateway: Ceiling
    ledger: Ceiling
    store: Ceiling


def find_ceilings(measured: Measured, demand: Demand) -> Ceilings:
    """Return where each part saturates; one account is bounded as a limit store is that holds nothing else.

    A ledger is full where records leave no time for what batches cost beside, however large these are; it is planned
    with the gateways that such a rate needs.
    """
    service = price_gateway(measured, demand.streams)
    ledger = 1 / price_batch(measured)[1]
    low, high = 0.0, ledger
    while high - low > 0.1:
        rate = (low + high) / 2
        gateways = max(1, math.ceil(rate * service / demand.fill))
        low, high = (rate, high) if find_booking(measured, gateways, rate).busy <= demand.fill else (low, rate)
    return Ceilings(
        Ceiling(1 / service, demand.fill / service),
        Ceiling(ledger, low),
        Ceiling(1 / price_store(measured, 1.0), demand.fill / price_store(measured, demand.fill)),
    )


def plan(measured: Measured, demand: Demand) -> Plan:
    """Return what the demand needs."""
    random = Random(demand.seed)
    service = price_gateway(measured, demand.streams)
    gateways = max(1, math.ceil(demand.rate * service / demand.fill))
    shares = list_shares(demand.accounts, demand.zipf, demand.hot)
    shards, hottest = count_shards(measured, demand, shares, random)
    ledgers = count_ledgers(measured, demand, gateways)
    booking = find_booking(measured, math.ceil(gateways / ledgers), demand.rate / ledgers)
    lone = find_booking(measured, gateways, demand.rate)
    jobs = list_jobs(measured, demand.streams)
    arrivals = demand.rate / gateways * sum(job.share for job in jobs)
    gateway = wait(Traffic(arrivals, demand.burst), jobs, _ARRIVALS, random)
    shard_busy = find_store_busy(measured, hottest * demand.rate)
    hot_busy = find_store_busy(measured, shares[0] * demand.rate)
    # A request is two calls: admit and settle.
    traffic = Traffic(2 * demand.rate * hottest, demand.burst)
    job = Job(1.0, shard_busy / traffic.rate, measured.redis_p99_by_p50)
    store = wait(traffic, [job], _ARRIVALS, random) if shard_busy < 1 else Waits(math.inf, math.inf, 1.0)
    # Each ledger is a PostgreSQL with a control plane of its own.
    controls = max(ledgers, math.ceil(demand.rate * measured.control_micros / 1e6 / demand.fill))
    databases = max(ledgers, math.ceil(demand.rate * measured.database_micros / 1e6 / demand.fill))
    cores = gateways + shards + controls + databases
    mean = demand.rate / demand.peak_by_mean
    traffic_bytes = (1 - demand.streams) * measured.small_bytes
    traffic_bytes += demand.streams * (measured.small_bytes + measured.stream_chunks * measured.chunk_bytes)
    return Plan(
        gateways=gateways,
        gateway_machines=math.ceil(gateways / demand.cores),
        gateway_busy=demand.rate * service / gateways,
        shards=shards,
        shard_busy=shard_busy,
        hottest=hottest,
        ledgers=ledgers,
        ledger_busy=booking.busy,
        lag_seconds=booking.lag,
        lone_ledger=lone,
        control_cores=controls,
        database_cores=databases,
        gateway=gateway,
        store=store,
        added_p50=gateway.p50 + store.p50 + demand.hop_millis / 1000,
        added_p99=gateway.p99 + store.p99 + demand.hop_millis / 1000,
        redis_calls=2 * demand.rate,
        journal_bytes=demand.rate * measured.journal_bytes,
        wal_bytes=demand.rate * measured.wal_bytes,
        network_bytes=demand.rate * traffic_bytes,
        rows_a_day=mean * 86_400,
        dollars_a_million=cores * demand.core_dollars / (mean * 3600) * 1e6,
        breaks=tuple(_find_breaks(demand, shards, ledgers, lone, shard_busy, hot_busy)),
    )


def _find_breaks(
    demand: Demand, shards: int, ledgers: int, lone: Booking, shard_busy: float, hot_busy: float
) -> list[str]:
    """Say what this rate asks for that does not exist, the first to break first."""
    found = []
    if math.isinf(lone.lag):
        found.append(f"one ledger falls behind for ever: {ledgers:,} needed, one exists")
    elif ledgers > 1:
        found.append(
            f"one ledger would be {lone.busy:.0%} busy and {lone.lag:.1f} s late: {ledgers:,} planned, one exists"
        )
    if hot_busy > demand.fill:
        found.append(f"the largest account alone keeps a limit store {hot_busy:.0%} busy: no shard divides it")
    elif shards > 1:
        found.append(f"one limit store is too busy: {shards:,} needed, one exists")
    if shard_busy > 1:
        found.append("the limit store falls behind: gateways give up on it and decide alone, plan ÷ gateways")
    return found
