"""What gateways tell each other of an Idempotency-Key, and how much of it Redis keeps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from techstone.core import repeats
from techstone.core.repeats import Budget, Copy, Told

_DIGEST = b"d" * 32
_AT = 1_790_000_000_000
_DAY = 86_400_000


@given(some.binary(max_size=2000), some.booleans(), some.integers(0, 1 << 60), some.integers(1, 200))
def test_answer_is_read_back_whatever_it_is(payload: bytes, stream: bool, cost: int, times: int) -> None:  # noqa: FBT001 - Hypothesis gives it
    """Deflated and, above 64 KB, as it is."""
    copy = Copy("req_1", stream, _AT, cost, payload * times)
    assert repeats.read(repeats.keep(_DIGEST, copy)) == Told(_DIGEST, copy)


def test_claim_is_read_back_as_one_without_an_answer() -> None:
    """It says whose body is being answered; by whom is for the script."""
    assert repeats.read(repeats.claim(_DIGEST, b"g1")) == Told(_DIGEST, None)


@pytest.mark.parametrize("value", [b"", b"x", b"q" + _DIGEST + b"rest", b"z" + _DIGEST + b"no", b"p" + _DIGEST + b"no"])
def test_what_another_version_wrote_is_nothing(value: bytes) -> None:
    """It is neither an answer nor a free key."""
    assert repeats.read(value) is None


@given(some.text(min_size=1, max_size=255), some.text(min_size=1, max_size=255))
def test_name_has_the_hash_tag_and_one_length(one: str, other: str) -> None:
    """A key may hold braces and be 255 long; two are two names."""
    first, second = repeats.name("t", "a1", one), repeats.name("t", "a1", other)
    assert first.startswith(b"t:{a1}:i:")
    assert len(first) == len(second)
    assert (first == second) == (one == other)


@given(some.lists(some.integers(0, 500), max_size=60))
def test_budget_is_never_exceeded_and_the_oldest_go_first(sizes: list[int]) -> None:
    """What is told to go is what was added first, each once."""
    budget, gone = Budget(2000), list[bytes]()
    for number, size in enumerate(sizes):
        gone += budget.add(b"%03d" % number, size, _AT, _AT)
        assert budget.size <= 2000
    assert gone == [b"%03d" % number for number in range(len(gone))]


def test_answer_that_is_told_again_counts_once() -> None:
    """As after a restart, when it was counted by what lies on the disk; the one between is older by now."""
    budget = Budget(500)
    for _ in range(3):
        assert budget.add(b"one", 100, _AT, _AT) == []
        assert budget.add(b"two", 50, _AT, _AT) == []
    assert budget.add(b"one", 10, _AT, _AT) == []
    assert budget.add(b"three", 200, _AT, _AT) == [b"two"]


def test_what_is_over_is_not_deleted() -> None:
    """After a day its name may hold what another gateway answered since."""
    budget = Budget(400)
    assert budget.add(b"old", 100, _AT, _AT) == []
    assert budget.add(b"new", 200, _AT + _DAY, _AT + _DAY) == []
    assert repeats.seconds_left(_AT, _AT + _DAY) == 0
    assert repeats.seconds_left(_AT + 5000, _AT) == 86_400, "a clock that was set back lets nothing last for longer"
