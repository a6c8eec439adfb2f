"""How a server does, by its checks."""

from techstone.core.health import FAILURES, Health


def test_down_after_three_failures_in_a_row() -> None:
    """One that fails makes it unknown, three make it down, and one that is answered makes it up."""
    health = Health()
    states = []
    for _ in range(FAILURES):
        health.fail()
        states.append(health.state)
    assert states == ["unknown", "unknown", "down"]
    assert health.succeed(), "it was down before"
    assert health.state == "up"
    assert not health.succeed()


def test_server_that_answers_requests_is_busy_and_not_dead() -> None:
    """Checks that are late say nothing while requests are answered, also of one that was taken for dead."""
    health = Health()
    for _ in range(2 * FAILURES):
        health.fail(alive=True)
    assert health.state == "unknown"
    for _ in range(FAILURES):
        health.fail()
    health.fail(alive=True)
    assert health.state == "unknown"


def test_down_server_stays_down() -> None:
    """Until a check is answered."""
    health = Health()
    for _ in range(FAILURES + 1):
        health.fail()
    assert health.state == "down"
