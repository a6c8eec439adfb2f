"""Plan past the machine: what a rate of requests needs, from measured figures. Runs in seconds, asks nobody.

.venv/bin/python bench/simulate.py --rate 100000 --streams 0.7
.venv/bin/python bench/simulate.py --table     # the tables of docs/scale.md
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from fleet import Demand, Measured, Plan, find_ceilings, find_store_busy, plan, price_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

RATES = (1_000, 10_000, 100_000, 1_000_000)
_FIGURES = Path(__file__).parent / "measured.json"


def read_measured(path: Path = _FIGURES) -> Measured:
    """Read the figures that everything follows from; raise msgspec.ValidationError with the field that is wrong."""
    return msgspec.json.decode(path.read_bytes(), type=Measured)


def tell(demand: Demand, found: Plan) -> Iterator[tuple[str, str]]:
    """Yield what a plan says, a label and a value each."""
    yield "gateway processes, a core each", f"{found.gateways:,}"
    yield f"machines of {demand.cores} cores for them", f"{found.gateway_machines:,}"
    yield "gateway busy", f"{found.gateway_busy:.0%}"
    yield "limit store: calls a second", f"{found.redis_calls:,.0f}"
    yield "limit stores, a core each", f"{found.shards:,}"
    yield "busiest one", f"{found.shard_busy:.0%}"
    yield "ledgers (one lock each)", f"{found.ledgers:,}"
    yield "ledger busy", f"{found.ledger_busy:.0%}"
    yield "its oldest usage is late by, s", _tell_time(found.lag_seconds, 1)
    yield "cores of control, of PostgreSQL", f"{found.control_cores:,}, {found.database_cores:,}"
    yield "added latency p50, ms", _tell_time(found.added_p50, 1000)
    yield "added latency p99, ms", _tell_time(found.added_p99, 1000)
    yield "journals, MB/s", f"{found.journal_bytes / 1e6:,.1f}"
    yield "PostgreSQL's WAL, MB/s", f"{found.wal_bytes / 1e6:,.1f}"
    yield "network of gateways, MB/s", f"{found.network_bytes / 1e6:,.0f}"
    yield "rows a day, millions", f"{found.rows_a_day / 1e6:,.0f}"
    yield "USD a million requests", f"{found.dollars_a_million:.2f}"


def _tell_time(seconds: float, factor: float) -> str:
    # Above ten the bursts decide, which a seed draws: no digit behind the point would hold.
    return "grows" if math.isinf(seconds) else f"{seconds * factor:.{0 if seconds * factor >= 10 else 1}f}"


def tell_table(measured: Measured) -> Iterator[str]:
    """Yield the tables of docs/scale.md: ceilings; each rate, and what breaks; one account with half of it all."""
    yield from tell_ceilings(measured, Demand(1))
    yield ""
    for hot in (0.0, 0.5):
        demands = [Demand(rate, hot=hot) for rate in RATES]
        plans = [plan(measured, demand) for demand in demands]
        yield (
            f"| {'One account has half' if hot else 'Requests a second'} | "
            + " | ".join(f"{r:,}" for r in RATES)
            + " |"
        )
        yield "|---|" + "---|" * len(RATES)
        columns = [list(tell(demand, found)) for demand, found in zip(demands, plans, strict=True)]
        for row in zip(*columns, strict=True):
            yield f"| {row[0][0]} | " + " | ".join(value for _, value in row) + " |"
        yield ""
        for rate, found in zip(RATES, plans, strict=True):
            yield f"- {rate:,}: {'; '.join(found.breaks) or 'everything that is needed exists'}."
        yield ""


def tell_ceilings(measured: Measured, demand: Demand) -> Iterator[str]:
    """Yield the rates at which what exists today has all that it can do, the lowest that counts first."""
    found = find_ceilings(measured, demand)
    small = find_ceilings(measured, msgspec.structs.replace(demand, streams=0.0))
    rows = (
        (f"the ledger, with gateways for {demand.streams:.0%} streams", found.ledger),
        ("the limit store, and so any one account", found.store),
        (f"a gateway process, {demand.streams:.0%} streams", found.gateway),
        ("a gateway process, no streams", small.gateway),
    )
    yield f"| One of each, requests a second | planned ({demand.fill:.0%} busy) | full |"
    yield "|---|---|---|"
    for name, ceiling in rows:
        yield f"| {name} | {ceiling.planned:,.0f} | {ceiling.full:,.0f} |"


def tell_runs(measured: Measured) -> Iterator[str]:
    """Yield what the model says of each measured run, µs of CPU a request, and how far off it is."""
    yield "| Gateways, how pressed | requests/s | gateway: said, measured | off | Redis: said, measured | off |"
    yield "|---|---|---|---|---|---|"
    for run in measured.runs:
        store = find_store_busy(measured, run.rate) / run.rate * 1e6
        gateway = price_gateway(measured, 0.0) * 1e6
        yield (
            f"| {run.gateways}, {run.press} | {run.rate:,.0f} "
            f"| {gateway:.0f}, {run.gateway_micros:.0f} µs | {gateway / run.gateway_micros - 1:+.0%} "
            f"| {store:.0f}, {run.redis_micros:.0f} µs | {store / run.redis_micros - 1:+.0%} |"
        )


def main() -> None:
    """Print a plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measured", type=Path, default=_FIGURES, help="figures of your own, in the same form")
    parser.add_argument("--table", action="store_true", help="the tables of docs/scale.md")
    standard = Demand(10_000)
    for name in Demand.__struct_fields__:
        value = getattr(standard, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, help=f"default {value}")
    arguments = vars(parser.parse_args())
    measured = read_measured(arguments.pop("measured"))
    if arguments.pop("table"):
        print("\n".join([*tell_table(measured), *tell_runs(measured)]))
        return
    demand = Demand(**arguments)
    if demand.rate <= 0 or not 0 <= demand.streams <= 1 or not 0 <= demand.hot < 1 or not 0 < demand.fill < 1:
        raise SystemExit("simulate: --rate is above 0; --streams, --hot and --fill are parts of 1")
    found = plan(measured, demand)
    print(f"{demand.rate:,.0f} requests/s, figures {measured.note}")
    for label, value in tell(demand, found):
        print(f"  {label:36} {value:>14}")
    print("\n".join(tell_ceilings(measured, demand)))
    for line in found.breaks or ("everything that is needed exists",):
        print(f"  ! {line}" if found.breaks else f"  {line}")


if __name__ == "__main__":
    main()
