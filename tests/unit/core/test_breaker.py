"""The breaker, on a moved clock."""

from techstone.core.breaker import FAILURES, OPEN_SECONDS, Breaker


def opened() -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.fail(0.0)
    return breaker


def test_opens_after_five_failures_in_a_row() -> None:
    """Four failures and a success do not open it; five in a row do."""
    breaker = Breaker()
    for _ in range(FAILURES - 1):
        breaker.fail(0.0)
    breaker.succeed()
    breaker.fail(0.0)
    assert breaker.allows(0.0)
    assert not opened().allows(OPEN_SECONDS - 0.1)


def test_one_probe_passes_when_the_time_is_over() -> None:
    """Half-open means exactly one call until its outcome is known."""
    breaker = opened()
    assert breaker.allows(OPEN_SECONDS)
    assert not breaker.allows(OPEN_SECONDS)
    breaker.succeed()
    assert breaker.allows(OPEN_SECONDS)


def test_failed_probe_opens_it_again() -> None:
    """A probe that fails costs another full wait."""
    breaker = opened()
    breaker.allows(OPEN_SECONDS)
    breaker.fail(OPEN_SECONDS)
    assert not breaker.allows(2 * OPEN_SECONDS - 0.1)
    assert breaker.wait(OPEN_SECONDS) == OPEN_SECONDS


def test_abandoned_probe_leaves_room_for_the_next() -> None:
    """A client that hangs up during the probe says nothing of the route."""
    breaker = opened()
    breaker.allows(OPEN_SECONDS)
    breaker.abandon()
    assert breaker.allows(OPEN_SECONDS)


def test_state_is_told_in_words() -> None:
    """For people and metrics; and how long until a call may be made."""
    closed, found = Breaker(), opened()
    assert (closed.closed, closed.state(0.0), closed.wait(0.0)) == (True, "closed", 0.0)
    assert (found.closed, found.state(OPEN_SECONDS - 0.1), found.wait(4.0)) == (False, "open", OPEN_SECONDS - 4.0)
    assert (found.state(OPEN_SECONDS), found.wait(OPEN_SECONDS + 5.0)) == ("half-open", 0.0)
