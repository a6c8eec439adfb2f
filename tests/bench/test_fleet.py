"""The plan: more traffic never needs less, what does not exist is said, and docs/scale.md has what it prints."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from fleet import SHIP_SECONDS, Demand, find_ceilings, find_cycle, plan, price_batch
from simulate import read_measured, tell_table

from techstone.adapters.journal import shipping

ROOT = Path(__file__).parents[2]
MEASURED = read_measured()


def test_the_page_has_what_the_simulator_prints() -> None:
    """Its tables are the output for the figures in bench/measured.json: `simulate.py --table`."""
    page = (ROOT / "docs" / "scale.md").read_text()
    assert "\n".join(tell_table(MEASURED)).strip() in page


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


def test_a_part_is_full_at_its_ceiling() -> None:
    """At that rate one of it is wholly busy: what a plan says of it at another rate is in proportion."""
    ceilings = find_ceilings(MEASURED, Demand(1).streams)
    assert plan(MEASURED, Demand(ceilings.ledger / 10)).ledger_busy == pytest.approx(0.1)
    few = plan(MEASURED, Demand(ceilings.gateway / 10))
    assert few.gateways == 1
    assert few.gateway_busy == pytest.approx(0.1)


def test_a_ledger_that_keeps_up_lags_by_the_shipping_interval() -> None:
    """With more gateways than it has time for, batches grow, and with too many records it falls behind for ever."""
    fixed, each = price_batch(MEASURED)
    assert find_cycle(1, 0.1 / each, fixed, each) == SHIP_SECONDS
    assert find_cycle(1000, 0.5 / each, fixed, each) == pytest.approx(1000 * fixed / 0.5)
    assert math.isinf(find_cycle(1, 1.1 / each, fixed, each))


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
