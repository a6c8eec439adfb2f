"""The plan: more traffic never needs less, what does not exist is said, and docs/scale.md has what it prints."""

from __future__ import annotations

import math
import subprocess
import sys
from heapq import heappop, heappush
from pathlib import Path
from random import Random

import pytest
from fleet import (
    SHIP_SECONDS,
    Demand,
    find_booking,
    find_ceilings,
    find_store_busy,
    list_jobs,
    plan,
    price_batch,
    price_gateway,
    price_store,
)
from hypothesis import given
from hypothesis import strategies as st
from simulate import read_measured, tell_runs, tell_table

from techstone.adapters.journal import shipping

ROOT = Path(__file__).parents[2]
MEASURED = read_measured()


def test_the_page_has_what_the_simulator_prints() -> None:
    """Its tables are the output for the figures in bench/measured.json: `simulate.py --table`."""
    page = (ROOT / "docs" / "scale.md").read_text()
    assert "\n".join(tell_table(MEASURED)).strip() in page
    assert "\n".join(tell_runs(MEASURED)) in page


def test_the_page_has_the_figures_that_it_follows_from() -> None:
    """What the page calls measured is what the simulator reads."""
    found, page = MEASURED, (ROOT / "docs" / "scale.md").read_text()
    rates = ", ".join(f"{number / took * 1000:,.0f}" for number, took in found.batch_milliseconds)
    fixed, each = price_batch(found)
    for line in (
        f"limits in memory, in Redis | {found.gateway_memory_micros:.0f}, {found.gateway_micros:.0f} µs |",
        f"a stream of {found.stream_chunks} chunks, limits in memory | {found.stream_micros:,.0f} µs |",
        f"one at a time, 32 at once | {found.redis_idle_micros:.0f}, {found.redis_full_micros:.0f} µs |",
        f"one request in its minute | {found.redis_bytes_an_account} bytes |",
        f"batches of 1, 100, 1,000 records: records a second | {rates} |",
        f", {found.wal_bytes:,} bytes |",
        f"of PostgreSQL, at 1,000 | {found.control_micros:.0f}, {found.database_micros:.0f} µs |",
        f"in the journal, in PostgreSQL, in SQLite | {found.journal_bytes}, {found.row_bytes:,}, ",
        f"in a gateway, in the snapshot | {found.key_bytes}, {found.snapshot_bytes_a_key} bytes |",
        f"({found.small_bytes:,} a request, {found.chunk_bytes} a chunk,",
        f"each batch takes some {fixed * 1000:.0f} ms and each record {each * 1000:.2f} ms",
        f"100 says {(fixed + 100 * each) * 1000:.0f} ms where {found.batch_milliseconds[1][1]:.0f} were measured",
    ):
        assert line in page, line


def test_the_page_says_in_words_what_the_plans_say() -> None:
    """Its sentences have the numbers of plans, too: when the ledger has no room, and what one account may ask for."""
    page = " ".join((ROOT / "docs" / "scale.md").read_text().split())
    room, many, ceilings = (
        plan(MEASURED, Demand(840)),
        plan(MEASURED, Demand(10_000)),
        find_ceilings(MEASURED, Demand(1)),
    )
    assert (room.gateways, room.ledgers, many.gateways / many.ledgers) == (5, 1, 5)
    late = plan(MEASURED, Demand(2000)).lone_ledger
    for words in (
        "Up to 840 requests/s**: five gateway processes",
        f"{plan(MEASURED, Demand(1000)).lone_ledger.busy * 100:.0f} % busy at 1,000",
        f"at 2,000 it is {late.busy * 100:.0f} % busy and {late.lag:.1f} s late",
        f"From {ceilings.ledger.full:,.0f} on it falls behind",
        f"run {many.ledgers} installations, each with five gateways",
        f"plan {round(ceilings.store.planned, -2):,.0f} requests a second of one account here;",
        f"at {round(ceilings.store.full, -3):,.0f} it is full",
    ):
        assert words in page, words


def test_a_gateways_figures_are_of_a_measured_run() -> None:
    """The one whose row on the page says that it shows nothing of the gateway."""
    assert MEASURED.gateway_micros == MEASURED.runs[1].gateway_micros


def test_the_same_demand_has_the_same_plan() -> None:
    """It is seeded; nothing else comes in."""
    assert plan(MEASURED, Demand(5000)) == plan(MEASURED, Demand(5000))


def test_more_traffic_needs_no_less() -> None:
    """Of every part."""
    plans = [plan(MEASURED, Demand(rate)) for rate in (100, 1000, 10_000, 100_000)]
    for name in ("gateways", "shards", "ledgers", "control_cores", "database_cores", "wal_bytes"):
        values = [getattr(found, name) for found in plans]
        assert values == sorted(values), name


def test_a_hot_account_is_divided_by_no_shard() -> None:
    """It has one hash tag, so that its limit store is what bounds it, however many there are."""
    found = plan(MEASURED, Demand(100_000, hot=0.5))
    assert found.shard_busy > 1
    assert math.isinf(found.store.p99)
    assert any("no shard divides it" in line for line in found.breaks)


def test_a_request_takes_what_it_costs_at_least() -> None:
    """Where hardly anybody comes, half take the gateway's CPU, the way to Redis and its script, or more."""
    found = plan(MEASURED, Demand(10))
    store = find_store_busy(MEASURED, 10) / 10 / 2
    # The script's time is spread: its median is below its mean.
    assert found.added_p50 >= MEASURED.gateway_micros / 1e6 + 0.0002 + store / 3
    assert found.added_p50 < found.added_p99


def test_a_mean_request_costs_what_its_jobs_do() -> None:
    """However a stream is divided into its first byte and its chunks."""
    jobs = list_jobs(MEASURED, 0.7)
    assert price_gateway(MEASURED, 0.7) == pytest.approx(sum(job.share * job.seconds for job in jobs))
    assert sum(job.share for job in jobs if job.counts) == pytest.approx(1.0)


@given(st.floats(1, 50_000))
def test_a_store_is_as_busy_as_its_price_at_that(rate: float) -> None:
    """Busy = rate by price(busy): calls that come together are cheaper, and come together where it is busy."""
    busy = find_store_busy(MEASURED, rate)
    assert busy == pytest.approx(rate * price_store(MEASURED, busy))


def test_a_store_is_full_at_its_ceiling() -> None:
    """As the page says of one store, and of one account, which is all of that one's traffic."""
    ceilings = find_ceilings(MEASURED, Demand(1))
    assert find_store_busy(MEASURED, ceilings.store.full) == pytest.approx(1)
    assert find_store_busy(MEASURED, ceilings.store.planned) == pytest.approx(Demand(1).fill)
    below, above = (plan(MEASURED, Demand(ceilings.store.full * part, accounts=1)) for part in (0.99, 1.01))
    assert below.shard_busy < 1 < above.shard_busy
    assert not any("falls behind: gateways" in line for line in below.breaks)
    assert any("falls behind: gateways" in line for line in above.breaks)


def test_a_gateway_is_full_at_its_ceiling() -> None:
    """At that rate one is wholly busy: what a plan says of it at another rate is in proportion."""
    few = plan(MEASURED, Demand(find_ceilings(MEASURED, Demand(1)).gateway.full / 10))
    assert few.gateways == 1
    assert few.gateway_busy == pytest.approx(0.1)


@pytest.mark.parametrize("rate", [1, 100, 1000, 30_000, 1_000_000])
def test_no_ledger_is_planned_too_busy(rate: float) -> None:
    """Of what records cost and of what batches cost beside; one ledger less would be too busy."""
    demand = Demand(rate)
    found = plan(MEASURED, demand)
    assert rate / found.ledgers * price_batch(MEASURED)[1] < found.ledger_busy <= demand.fill
    if found.ledgers > 1:
        fewer = found.ledgers - 1
        assert find_booking(MEASURED, math.ceil(found.gateways / fewer), rate / fewer).busy > demand.fill


def test_one_ledger_is_planned_for_its_share() -> None:
    """Just below that rate one is enough, just above it two are needed."""
    most = find_ceilings(MEASURED, Demand(1)).ledger.planned
    assert [plan(MEASURED, Demand(most * part)).ledgers for part in (0.99, 1.01)] == [1, 2]


def test_a_batch_costs_the_ledger_beside_its_records() -> None:
    """Gateways by what a batch costs, over the time between two of one gateway: they wait for one lock."""
    fixed, each = price_batch(MEASURED)
    found = find_booking(MEASURED, 6, 1000)
    assert found.busy == pytest.approx(6 * fixed / found.cycle + 1000 * each)


def test_usage_lags_by_shipping_waiting_and_booking() -> None:
    """The oldest record of a batch has waited for the last one; where records alone are too many it waits for ever."""
    fixed, each = price_batch(MEASURED)
    alone = find_booking(MEASURED, 1, 100)
    batch = fixed + 100 * alone.cycle * each
    assert alone.cycle == pytest.approx(SHIP_SECONDS + batch)
    assert alone.lag == pytest.approx(SHIP_SECONDS + 2 * batch)
    # With more gateways than it has time for, batches grow until the lock is never free.
    crowd = find_booking(MEASURED, 1000, 0.5 / each)
    assert crowd.cycle == pytest.approx(1000 * fixed / 0.5)
    assert crowd.busy == pytest.approx(1)
    assert math.isinf(find_booking(MEASURED, 1, 1.1 / each).lag)


@pytest.mark.parametrize(("gateways", "rate"), [(1, 100), (5, 800), (9, 1500), (12, 2000), (60, 1500)])
@pytest.mark.parametrize("scatter", [0.0, 1.0])
def test_gateways_that_wait_for_one_lock_do_as_planned(gateways: int, rate: float, scatter: float) -> None:
    """Played through, no ledger is busier than told, and no usage later; of equal batches it is busy just so."""
    told = find_booking(MEASURED, gateways, rate)
    busy, late = _play(gateways, rate, scatter)
    assert busy < told.busy + 0.05
    assert late < told.lag * 1.1
    if not scatter:
        assert busy == pytest.approx(told.busy, rel=0.03)


def _play(gateways: int, rate: float, scatter: float, seconds: float = 200.0) -> tuple[float, float]:
    """Return how busy one lock is and how late the oldest record of a batch is, with lognormal times of batches."""
    (fixed, each), random = price_batch(MEASURED), Random(1)
    ready = [(random.random() * SHIP_SECONDS, gateway) for gateway in range(gateways)]
    sent, free, worked, late = [0.0] * gateways, 0.0, 0.0, []
    while ready[0][0] < seconds:
        now, gateway = heappop(ready)
        took = fixed + max(1.0, rate / gateways * (now - sent[gateway])) * each
        took *= random.lognormvariate(-scatter * scatter / 2, scatter)
        free = max(now, free) + took
        if now > seconds / 10:  # until then the first batches, which all come at once, are worked off
            worked += took
            late.append(free - sent[gateway])
        sent[gateway] = now
        heappush(ready, (free + SHIP_SECONDS, gateway))
    return worked / (seconds * 0.9), sum(late) / len(late)


@given(st.integers(1, 10_000), st.floats(0.1, 0.9 / price_batch(MEASURED)[1]))
def test_a_ledger_that_keeps_up_is_never_over_full(gateways: int, rate: float) -> None:
    """Whoever waits for the lock sends nothing meanwhile, so that batches grow and are not more."""
    found = find_booking(MEASURED, gateways, rate)
    assert 0 < found.busy <= 1 + 1e-9
    assert found.cycle > SHIP_SECONDS
    assert found.lag > SHIP_SECONDS


def test_the_intervals_are_the_services_own() -> None:
    """What the model says of shipping is what the gateway does."""
    assert shipping._PACE_SECONDS == SHIP_SECONDS


@pytest.mark.parametrize("words", [("--rate", "0"), ("--streams", "2"), ("--fill", "1")])
def test_a_demand_that_cannot_be_is_refused(words: tuple[str, ...]) -> None:
    """In one line that names what may be said."""
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "simulate.py", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("simulate: --rate is above 0")
