"""The queues of the simulator: what is known of them on paper holds in it."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from queueing import Job, Traffic, find_hottest, list_shares, wait


def test_an_idle_server_takes_its_service_time() -> None:
    """Nobody waits where hardly anybody comes."""
    found = wait(Traffic(0.01), [Job(1.0, 0.001)], 1000, Random(1))
    assert found.p50 == found.p99 == pytest.approx(0.001)


@pytest.mark.parametrize("spread", [1.0, 4.0])
@pytest.mark.parametrize("burst", [1.0, 1.5])
def test_a_server_is_as_busy_as_its_work(burst: float, spread: float) -> None:
    """Rate times seconds, whatever the bursts and the spread of service."""
    found = wait(Traffic(600, burst), [Job(1.0, 0.001, spread)], 200_000, Random(1))
    assert found.busy == pytest.approx(0.6, rel=0.03)


def test_half_busy_with_equal_jobs_half_do_not_wait() -> None:
    """M/D/1: who comes finds the server idle with the probability that it is; Erlang 1909."""
    found = wait(Traffic(490), [Job(1.0, 0.001)], 200_000, Random(1))
    assert found.p50 == pytest.approx(0.001)


def test_bursts_make_the_slowest_slower() -> None:
    """At the same mean rate."""
    calm, bursts = (wait(Traffic(700, burst), [Job(1.0, 0.001)], 100_000, Random(1)) for burst in (1.0, 2.0))
    assert bursts.p99 > 2 * calm.p99


def test_quantiles_are_of_what_counts() -> None:
    """A hundred chunks for each request keep the server busy, and are none of the times that are told."""
    jobs = [Job(0.01, 0.001), Job(0.99, 0.00001, counts=False)]
    found = wait(Traffic(1000), jobs, 100_000, Random(1))
    assert found.p50 == pytest.approx(0.001, rel=0.01)
    assert found.busy == pytest.approx(0.0199, rel=0.1)


def test_what_does_not_count_is_waited_for() -> None:
    """A request stands behind chunks: at 60 % of them its slowest is later than it would be alone."""
    alone = wait(Traffic(10), [Job(1.0, 0.001)], 100_000, Random(1))
    amid = wait(Traffic(610), [Job(10 / 610, 0.001), Job(600 / 610, 0.001, counts=False)], 100_000, Random(1))
    assert amid.p99 > 2 * alone.p99


@given(
    st.integers(1, 10**7), st.floats(0.5, 2.0), st.sampled_from((0.0, 0.5)), st.integers(1, 64), st.integers(0, 10**6)
)
def test_shares_are_of_one(accounts: int, exponent: float, hot: float, shards: int, seed: int) -> None:
    """Those that are listed come to 1 at most; the hottest shard has no less than the first account, or a fair part."""
    shares = list_shares(accounts, exponent, hot, most=100)
    assert sum(shares) <= 1 + 1e-9
    assert shares[0] >= hot
    assert sorted(shares[1:], reverse=True) == shares[1:]
    hottest = find_hottest(shares, shards, Random(seed))
    assert max(shares[0], 1 / shards) - 1e-9 <= hottest <= 1 + 1e-9
