"""Slots for requests at a time: never more than the limit, and back by themselves where their holder vanished."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from techstone.core.leases import RENEWAL_SECONDS, SECONDS, Leases

_STEPS = st.lists(
    st.tuples(
        st.just(10.0) | st.floats(0, 20), st.sampled_from(["take", "give"]), st.sampled_from([b"a", b"b", b"c", b"d"])
    ),
    max_size=60,
)


@given(_STEPS, st.integers(0, 3))
def test_room_is_what_the_limit_leaves(steps: list[tuple[float, str, bytes]], limit: int) -> None:
    """There is room just where fewer than the limit are held, each for 30 s from its last renewal."""
    leases, now, ends = Leases(), 0.0, dict[bytes, float]()
    for pause, step, request in steps:
        now += pause
        held = {name for name, end in ends.items() if end > now}
        assert leases.count(now) == len(held)
        assert leases.room(now, limit) == (len(held) < limit)
        if step == "give":
            leases.give(request)
            ends.pop(request, None)
        elif request in held or len(held) < limit:
            leases.take(request, now)
            ends[request] = now + SECONDS


def test_slot_that_is_renewed_stays_and_one_that_is_not_comes_back() -> None:
    """The renewal comes three times as often as is needed; at 30 s sharp without one the slot is free."""
    assert SECONDS == 3 * RENEWAL_SECONDS
    leases, now = Leases(), 0.0
    for _ in range(10):
        leases.take(b"a", now)
        now += RENEWAL_SECONDS
        assert not leases.room(now, 1)
    assert not leases.room(now - RENEWAL_SECONDS + 29.9, 1)
    assert leases.room(now - RENEWAL_SECONDS + 30.0, 1)


def test_request_holds_one_slot_however_often_it_takes_it() -> None:
    """A renewal is no second slot, and to give back what is not held is nothing."""
    leases = Leases()
    leases.take(b"a", 0.0)
    leases.take(b"a", 1.0)
    assert leases.count(1.0) == 1
    leases.give(b"a")
    leases.give(b"a")
    assert leases.count(1.0) == 0
