"""What limits in Redis add to a request, against those in the gateway's memory: in turns, on the same core.

One gateway of each kind runs all the time and is pressed in turns, so that a busy machine presses both alike. CPU is of
the gateway's process alone, and of Redis, which has the other core, beside it.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import TYPE_CHECKING

from load import Press, press
from servers import Server, fixed_upstream, redis, techstone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from load import Figures

PRESSES = (Press("1 connection", 1), Press("32, 20 ms apart", 32, 20), Press("32, at its most", 32))
PLANS = ("postpaid", "prepaid")
_CREDIT = "1000000"
_WIDTHS = (18, 10, 10, 12, 11, 9, 9, 5)
_COLUMNS = ("load", "limits", "requests/s", "gateway µs", "Redis µs", "p50 ms", "p99 ms", "bad")


def compare_limits(folder: Path, cores: list[int], rounds: int, seconds: int) -> Iterator[str]:
    """Yield a table for each kind of plan."""
    with (
        fixed_upstream(folder / "limits-upstream", cores[1]) as upstream,
        redis(folder / "limits-redis", cores[1]) as store,
        techstone(folder / "memory", cores[0], upstream.port) as memory,
        techstone(folder / "shared", cores[0], upstream.port, limits=f"redis://127.0.0.1:{store.port}/0") as shared,
    ):
        for plan in PLANS:
            houses = {"memory": _enter(memory, plan), "Redis": _enter(shared, plan)}
            yield ""
            yield f"Limits of a {plan} account in memory and in Redis: CPU a request, median of {rounds} turns"
            yield "  ".join(f"{name:>{width}}" for name, width in zip(_COLUMNS, _WIDTHS, strict=True))
            for how in PRESSES:
                found: dict[str, list[tuple[Figures, float]]] = {name: [] for name in houses}
                for _ in range(rounds):
                    for name, house in houses.items():
                        before = store.cpu_seconds()
                        figures = press(house, folder, cores[1], seconds, how)
                        # Of the turn and of its warm-up, a second of the same.
                        requests = figures.rate * (seconds + 1)
                        found[name].append((figures, (store.cpu_seconds() - before) / requests * 1e6))
                yield from _tell(how, found)


def _enter(server: Server, plan: str) -> Server:
    """Return a server as an account of such a plan asks it."""
    if plan == "postpaid":
        return server
    email = "prepaid@example.com"
    server.ask("account", "create", email, "--plan", "pay-as-you-go", "--credit", _CREDIT)
    return replace(server, key=server.ask("key", "create", "--account", email)["key"])


def _tell(how: Press, found: dict[str, list[tuple[Figures, float]]]) -> Iterator[str]:
    middle: dict[str, tuple[float, float, float]] = {}
    for name, turns in found.items():
        cpu, p50, p99, rate = (
            statistics.median(getattr(figures, field) for figures, _ in turns)
            for field in ("cpu", "p50", "p99", "rate")
        )
        middle[name] = cpu, p50, p99
        cells = (
            how.name,
            name,
            f"{rate:,.0f}",
            f"{cpu:.1f}",
            f"{statistics.median(spent for _, spent in turns):.1f}" if name == "Redis" else "",
            f"{p50 / 1000:.2f}",
            f"{p99 / 1000:.2f}",
            str(sum(figures.bad for figures, _ in turns)),
        )
        yield "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
    cpu, p50, p99 = (there - here for here, there in zip(middle["memory"], middle["Redis"], strict=True))
    yield f"{'':>18}  Redis adds {cpu:.1f} µs of the gateway's CPU, p50 {p50 / 1000:.2f} ms, p99 {p99 / 1000:.2f} ms"
