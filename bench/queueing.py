"""Queues, pure and seeded: who comes when, and how long each waits for one server. No clock, no socket.

Waiting is Lindley's recursion (1952): who comes waits as long as the one before did, and for its service, less the time
between the two. That is exact for one server that takes them in order, which a gateway process and Redis are.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random


class Traffic(NamedTuple):
    """Arrivals a second; a part of the time they come `burst` times as often, in bursts of so many seconds."""

    rate: float
    burst: float = 1.0
    burst_share: float = 0.1
    burst_seconds: float = 0.2


class Waits(NamedTuple):
    """Seconds from arrival to the end of service of what counts, and the share of time that the server was busy."""

    p50: float
    p99: float
    busy: float


class Job(NamedTuple):
    """A kind of work: its share of arrivals, its seconds of service, and p99 ÷ p50 of that (1: always the same).

    What somebody waits for counts; the rest (a stream's later chunks) only keeps the server busy.
    """

    share: float
    seconds: float
    spread: float = 1.0
    counts: bool = True


def list_shares(accounts: int, exponent: float, hot: float = 0.0, most: int = 10_000) -> list[float]:
    """Return the traffic's share of the largest accounts by Zipf's law; `hot`: the first has so much of all.

    Beyond `most` accounts the tail is told by its integral, and not listed: none of it is large.
    """
    listed = min(accounts, most)
    weights = [rank**-exponent for rank in range(1, listed + 1)]
    low, high = listed + 0.5, accounts + 0.5
    tail = math.log(high / low) if exponent == 1 else (high ** (1 - exponent) - low ** (1 - exponent)) / (1 - exponent)
    total = sum(weights) + max(0.0, tail)
    shares = [weight / total for weight in weights]
    if hot > shares[0]:
        left = (1 - hot) / (1 - shares[0])
        shares = [hot, *(share * left for share in shares[1:])]
    return shares


def find_hottest(shares: Sequence[float], shards: int, random: Random) -> float:
    """Return the share of the busiest of so many shards, where each account's is drawn by a hash."""
    loads = [max(0.0, 1 - sum(shares)) / shards] * shards
    for share in shares:
        loads[random.randrange(shards)] += share
    return max(loads)


def list_gaps(traffic: Traffic, random: Random) -> Iterator[float]:
    """Yield the seconds between arrivals: Poisson, of a rate that switches between calm and bursts around its mean."""
    calm = traffic.rate / (1 + traffic.burst_share * (traffic.burst - 1))
    lengths = (traffic.burst_seconds * (1 / traffic.burst_share - 1), traffic.burst_seconds)
    bursting, left, gap = False, random.expovariate(1 / lengths[0]), 0.0
    while True:
        # The rate's change is memoryless: what was drawn is cut off there, and drawn anew.
        step = random.expovariate(calm * (traffic.burst if bursting else 1.0))
        if step < left:
            left -= step
            yield gap + step
            gap = 0.0
        else:
            gap += left
            bursting = not bursting
            left = random.expovariate(1 / lengths[bursting])


def wait(traffic: Traffic, jobs: Sequence[Job], arrivals: int, random: Random) -> Waits:
    """Let so many arrive at one server; return how long those that count took. Service is lognormal where spread."""
    worked, elapsed, waited, before = 0.0, 0.0, 0.0, 0.0
    # How long one waits depends on who came before, not on one's own kind. So each arrival's wait stands for one that
    # counts, too: those alone would be few samples where 70 chunks come with each request.
    counted = _draw([job for job in jobs if job.counts], arrivals, random)
    times = []
    for gap, seconds, own in zip(list_gaps(traffic, random), _draw(jobs, arrivals, random), counted, strict=False):
        waited = max(0.0, waited + before - gap)
        before = seconds
        elapsed += gap
        worked += seconds
        times.append(waited + own)
    times.sort()
    return Waits(times[len(times) // 2], times[len(times) * 99 // 100], worked / elapsed)


def _draw(jobs: Sequence[Job], number: int, random: Random) -> Iterator[float]:
    """Yield seconds of service, of kinds by their shares. The mean stays a kind's `seconds`, whatever the spread."""
    laws = [(math.log(job.spread) / 2.3263, job.seconds) for job in jobs]  # 2.3263: the normal law's 99 % point
    for sigma, seconds in random.choices(laws, [job.share for job in jobs], k=number):
        yield seconds * math.exp(random.gauss(-sigma * sigma / 2, sigma)) if sigma else seconds
