"""Reports to the control plane once a second: the gateway's state, and the refusals since the last time.

A task of its own beside the requests, and best effort: what cannot be told now is told the next time, as far as there
is room for it, and nobody waits for it.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from techstone.adapters.errand import Errand
from techstone.core.engines import ENGINES
from techstone.gateway.ports import UpstreamProblem
from techstone.wire.report import ReplicaState, Report, RouteState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from techstone.adapters.errand import Line
    from techstone.core.breaker import Breaker
    from techstone.gateway.blotter import Blotter
    from techstone.gateway.dispatch import RouteName
    from techstone.gateway.servers import Server
    from techstone.wire.report import GatewayState

    Times = Mapping[tuple[str, str], tuple[int, float]]
    """By model and provider: how many requests had a first byte since the start, and seconds until it, summed."""

PACE_SECONDS = 1.0
_ENCODER = msgspec.json.Encoder()


def report(line: Line, look: Callable[[], GatewayState], blotter: Blotter) -> Errand:
    """Return the errand that reports; `look` returns the state as it is now."""

    async def attempt() -> bool:
        notes, dropped = blotter.take()
        try:
            await line.post("reports", "application/json", _ENCODER.encode(Report(look(), notes, dropped)))
        except (UpstreamProblem, OSError):
            # While control is away its pages are, too; /readyz and the metrics tell of it.
            blotter.put_back(notes, dropped)
        return False

    return Errand(attempt, PACE_SECONDS)


class Watch:
    """Tells of routes: their breakers, and how soon they have answered in the last minute."""

    def __init__(self, reports: int = 60) -> None:
        self._seen: dict[tuple[str, str], deque[tuple[int, float]]] = {}
        self._reports = reports

    def describe(self, breakers: Mapping[RouteName, Breaker], times: Times, now: float) -> tuple[RouteState, ...]:
        """Return the routes that were used since the start; called once a report."""
        recent = {names: self._follow(names, *summed) for names, summed in times.items()}
        found = []
        for (model, provider, upstream_model, replica), breaker in breakers.items():
            requests, seconds = recent.get((model, provider), (0, 0.0))
            age = now - breaker.failed_at if breaker.error else 0.0
            mean = seconds / requests * 1000 if requests else 0.0
            state = breaker.state(now)
            told = (breaker.error, age, requests, mean, replica)
            found.append(RouteState(model, provider, upstream_model, state, *told))
        return tuple(found)

    def _follow(self, names: tuple[str, str], requests: int, seconds: float) -> tuple[int, float]:
        """Return what came to the sums in the last minute."""
        seen = self._seen.get(names)
        if seen is None:
            # The first look finds them at what they have become, and the route at nothing.
            seen = self._seen[names] = deque([(0, 0.0)], maxlen=self._reports)
        then = seen[0]
        seen.append((requests, seconds))
        return requests - then[0], seconds - then[1]


def describe_servers(servers: Iterable[Server]) -> tuple[ReplicaState, ...]:
    """Return the servers that are checked or are one of several; of others the routes say all."""
    found = []
    for server in servers:
        provider, told = server.target.provider, server.reported
        checked = provider.kind in ENGINES
        if checked or server.number:
            found.append(
                ReplicaState(
                    provider.name,
                    server.address,
                    server.number,
                    server.health.state if checked else None,
                    server.in_flight,
                    told.running if told else None,
                    told.waiting if told else None,
                    told.cache if told else None,
                )
            )
    return tuple(found)


def measure_memory() -> int:
    """Return the resident bytes of this process, 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - once a second, without a path object
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
