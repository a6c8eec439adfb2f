"""How many machines a rate of requests needs, what each part does then, what breaks first. Pure: figures in, plan out.

Every figure about our programs is measured (`measured.json`); every figure about the traffic is said (`Demand`).
"""

from __future__ import annotations

import math
from random import Random

import msgspec
from queueing import Job, Traffic, Waits, find_hottest, list_shares, wait

# adapters/journal/shipping.py: what is new is sent so often.
SHIP_SECONDS = 0.2
_ARRIVALS = 100_000
# A hash slot holds at least one whole account: more shards do not divide it.
_MOST_SHARDS = 4096


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


class Plan(msgspec.Struct, frozen=True):
    """What the demand needs. Utilisations are of 1; a ledger above 1 falls behind for ever."""

    gateways: int
    gateway_machines: int
    gateway_busy: float
    shards: int
    shard_busy: float
    hottest: float
    ledgers: int
    ledger_busy: float
    lag_seconds: float
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
    added = measured.gateway_micros - measured.gateway_memory_micros
    return ((1 - streams) * measured.gateway_micros + streams * (measured.stream_micros + added)) / 1e6


def price_batch(measured: Measured) -> tuple[float, float]:
    """Return seconds that a batch takes whatever its size, and those of each record: a line through the ends."""
    (small, first), (large, last) = measured.batch_milliseconds[0], measured.batch_milliseconds[-1]
    each = (last - first) / (large - small) / 1000
    return max(0.0, first / 1000 - small * each), each


def find_cycle(gateways: int, rate: float, fixed: float, each: float) -> float:
    """Return seconds between two batches of one gateway. Bookings wait for one lock, one after another.

    While the ledger keeps up it is the shipping interval. Beyond that batches grow, as a gateway sends the next one
    once the last one is booked; where records alone take more than all the time, it is infinite.
    """
    spare = 1 - rate * each
    return math.inf if spare <= 0 else max(SHIP_SECONDS, gateways * fixed / spare)


def price_store(measured: Measured, busy: float) -> float:
    """Return seconds of Redis for a request: calls that come together are read and written together."""
    idle, full = measured.redis_idle_micros, measured.redis_full_micros
    return (full + (idle - full) * (1 - min(1.0, busy))) / 1e6


def count_shards(measured: Measured, demand: Demand, shares: list[float], random: Random) -> tuple[int, float]:
    """Return the fewest shards (a power of 2) of which none is too busy, and the busiest one's share of requests."""
    each = price_store(measured, demand.fill)
    shards = 1 << max(0, math.ceil(math.log2(demand.rate * each / demand.fill)))
    while True:
        hottest = find_hottest(shares, shards, random)
        # Then only the largest account is in the way, and more shards would not help it.
        stuck = shares[0] * demand.rate * each > demand.fill and shares[0] > 0.9 * hottest
        if hottest * demand.rate * each <= demand.fill or stuck or shards >= _MOST_SHARDS:
            return shards, hottest
        shards *= 2


class Ceilings(msgspec.Struct, frozen=True):
    """Requests a second at which one of a part has all that it can do; of gateways it is one process."""

    gateway: float
    ledger: float
    store: float


def find_ceilings(measured: Measured, streams: float) -> Ceilings:
    """Return where each part saturates; one account is bounded as a limit store is that holds nothing else."""
    return Ceilings(1 / price_gateway(measured, streams), 1 / price_batch(measured)[1], 1 / price_store(measured, 1.0))


def plan(measured: Measured, demand: Demand) -> Plan:
    """Return what the demand needs."""
    random = Random(demand.seed)
    service = price_gateway(measured, demand.streams)
    gateways = max(1, math.ceil(demand.rate * service / demand.fill))
    shares = list_shares(demand.accounts, demand.zipf, demand.hot)
    shards, hottest = count_shards(measured, demand, shares, random)
    each = price_store(measured, demand.fill)
    fixed, record = price_batch(measured)
    ledgers = max(1, math.ceil(demand.rate * record / demand.fill))
    ledger_busy = demand.rate * record / ledgers
    lag = find_cycle(math.ceil(gateways / ledgers), demand.rate / ledgers, fixed, record)
    gateway = _simulate_gateway(measured, demand, demand.rate / gateways, random)
    shard_busy = hottest * demand.rate * each
    traffic = Traffic(2 * demand.rate * hottest, demand.burst)
    job = Job(1.0, each / 2, measured.redis_p99_by_p50)
    store = wait(traffic, [job], _ARRIVALS, random) if shard_busy < 1 else Waits(math.inf, math.inf, 1.0)
    controls = math.ceil(demand.rate * measured.control_micros / 1e6 / demand.fill)
    databases = math.ceil(demand.rate * measured.database_micros / 1e6 / demand.fill)
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
        ledger_busy=ledger_busy,
        lag_seconds=lag,
        control_cores=max(1, controls),
        database_cores=max(1, databases),
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
        breaks=tuple(_find_breaks(demand, shards, ledgers, shard_busy, shares[0] * demand.rate * each)),
    )


def _simulate_gateway(measured: Measured, demand: Demand, rate: float, random: Random) -> Waits:
    """Return the waits at one process. A stream is its request and its chunks: between chunks others are served."""
    added = measured.gateway_micros - measured.gateway_memory_micros
    chunks = rate * demand.streams * measured.stream_chunks
    chunk = measured.stream_micros / (measured.stream_chunks + 1) / 1e6
    begin = chunk + added / 1e6
    total = rate + chunks
    jobs = [
        Job(rate * (1 - demand.streams) / total, measured.gateway_micros / 1e6),
        Job(rate * demand.streams / total, begin),
        Job(chunks / total, chunk),
    ]
    return wait(Traffic(total, demand.burst), jobs, _ARRIVALS, random)


def _find_breaks(demand: Demand, shards: int, ledgers: int, shard_busy: float, hot_busy: float) -> list[str]:
    """Say what this rate asks for that does not exist, the first to break first."""
    found = []
    if ledgers > 1:
        found.append(f"one ledger is too slow: {ledgers} needed, one exists")
    if hot_busy > demand.fill:
        found.append(f"the largest account alone keeps a limit store {hot_busy:.0%} busy: no shard divides it")
    elif shards > 1:
        found.append(f"one limit store is too busy: {shards} needed, one exists")
    if shard_busy > 1:
        found.append("the limit store falls behind: gateways give up on it and decide alone, plan ÷ gateways")
    return found
