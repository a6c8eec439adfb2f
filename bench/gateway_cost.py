"""What a small chat request costs gateway, control plane and Redis, by limits and number of gateways. Prints JSON.

    .venv/bin/python bench/gateway_cost.py [--seconds 3] [--rounds 3] [--quota PERCENT]

`paced` leaves room (32 connections, each 20 ms after its answer), `most` takes all there is. All processes share two
cores with the load, so a rate is this machine's and not the gateway's; CPU a request is what holds elsewhere. With a
quota each gateway has so much of a core, and the rest is for what stands beside it: what a second one adds is seen.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from load import Press, measure, press
from quota import bounding
from servers import Server, fixed_upstream, redis, sse_upstream, techstone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

PRESSES = (Press("paced", 32, 20), Press("most", 32))
# Who is held back by a quota answers in bursts: each gateway must have enough to do for all of one.
BOUNDED = (Press("most", 128),)
HOUSES = (("memory", 1), ("Redis", 1), ("Redis", 2))


def run_rounds(
    server: Server, store: Server, folder: Path, arguments: argparse.Namespace, workers: int
) -> Iterator[dict[str, object]]:
    """Yield a row for each way to press; medians of the rounds."""
    core = max(os.sched_getaffinity(0))
    for how in BOUNDED if arguments.quota else PRESSES:
        turns = []
        for _ in range(arguments.rounds):
            planes, stored = server.planes(), store.cpu_seconds()
            figures = press(server, folder, core, arguments.seconds, how)
            # Of the turn and of its warm-up, a second of the same.
            requests = figures.rate * (arguments.seconds + 1)
            after = server.planes()
            spent = [(after[name] - planes[name]) / requests * 1e6 for name in ("gateway", "control")]
            turns.append(
                (figures.rate, *spent, (store.cpu_seconds() - stored) / requests * 1e6, figures.p50, figures.p99)
            )
        rate, gateway, control, limits, p50, p99 = (statistics.median(found) for found in zip(*turns, strict=True))
        yield {
            "press": how.name,
            "gateways": workers,
            "requests_a_second": round(rate),
            "gateway_cpu_micros": round(gateway, 1),
            "control_cpu_micros": round(control, 1),
            "redis_cpu_micros": round(limits, 1),
            "p50_milliseconds": round(p50 / 1000, 2),
            "p99_milliseconds": round(p99 / 1000, 2),
        }


def run_stream(folder: Path, cores: str, seconds: int) -> dict[str, object]:
    """Return the row of streams of 100 chunks, one every 2 ms, with limits in memory."""
    place = folder / "streams"
    with sse_upstream(folder / "sse", 1) as upstream, techstone(place, cores, upstream.port) as server:
        before = server.planes()["gateway"]
        figures = measure(server, place, 1, seconds, stream=True)
        spent = server.planes()["gateway"] - before
    # Of the run and of its warm-up, two seconds of the same.
    requests = figures.rate * (seconds + 2)
    return {
        "limits": "memory",
        "press": "streams",
        "gateways": 1,
        "requests_a_second": round(figures.rate),
        "gateway_cpu_micros": round(spent / requests * 1e6, 1),
        "p50_milliseconds": round(figures.p50 / 1000, 2),
        "p99_milliseconds": round(figures.p99 / 1000, 2),
    }


def _leaving(server: Server, quota: int | None) -> AbstractContextManager[None]:
    return bounding(server.gateways(), quota) if quota else nullcontext()


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", action="store_true", help="streams alone")
    parser.add_argument("--quota", type=int, help="hundredths of a core for each gateway; needs root")
    arguments = parser.parse_args()
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:2]))
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="gateway-") as name:
        folder = Path(name)
        if not arguments.quota:
            rows.append(run_stream(folder, cores, arguments.seconds))
        if arguments.streams:
            print(json.dumps(rows, indent=2))
            return
        with fixed_upstream(folder / "upstream", 1) as upstream, redis(folder / "redis", 1) as store:
            for limits, workers in HOUSES if not arguments.quota else HOUSES[1:]:
                address = "memory" if limits == "memory" else f"redis://127.0.0.1:{store.port}/{workers}"
                place = folder / f"{limits}-{workers}"
                with (
                    techstone(place, cores, upstream.port, limits=address, workers=workers) as server,
                    _leaving(server, arguments.quota),
                ):
                    rows += ({"limits": limits, **row} for row in run_rounds(server, store, place, arguments, workers))
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
