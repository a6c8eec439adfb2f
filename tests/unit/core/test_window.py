"""The sliding log, against an oracle that keeps every admission for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from techstone.core.window import SECONDS, Entry, Window

_STEPS = st.lists(st.tuples(st.floats(0, 40), st.integers(1, 50), st.integers(-50, 20)), max_size=60)


class _Oracle:
    """Every admission with its present tokens; sums by brute force."""

    def __init__(self) -> None:
        self.all: list[list[float]] = []

    def requests(self, now: float) -> int:
        return sum(at + SECONDS > now for at, _ in self.all)

    def tokens(self, now: float) -> int:
        return int(sum(tokens for at, tokens in self.all if at + SECONDS > now))

    def most(self) -> int:
        """Return the most admissions in any 60 s."""
        return max((sum(at <= other < at + SECONDS for other, _ in self.all) for at, _ in self.all), default=0)


@given(_STEPS, st.integers(1, 8), st.integers(1, 120))
def test_admits_just_what_an_oracle_admits(steps: list[tuple[float, int, int]], rpm: int, tpm: int) -> None:
    """Request by request the decision is that of counting every admission of the last 60 s."""
    window, oracle, now = Window(), _Oracle(), 0.0
    for pause, tokens, change in steps:
        now += pause
        window.expire(now)
        fits = oracle.requests(now) < rpm and oracle.tokens(now) + tokens <= tpm
        waits = (window.wait_for_request(now, rpm), window.wait_for_tokens(now, tpm, tokens))
        assert (waits == (0.0, 0.0)) == fits
        if fits:
            entry = window.add(now, 1, tokens)
            lowered = max(change, -tokens)
            window.change(entry, lowered)
            oracle.all.append([now, tokens + lowered])
        assert (window.requests, window.tokens) == (oracle.requests(now), oracle.tokens(now))
    assert oracle.most() <= rpm


@given(_STEPS, st.integers(1, 8), st.integers(50, 120))
def test_wait_is_honest(steps: list[tuple[float, int, int]], rpm: int, tpm: int) -> None:
    """After the wait that was told, and not before, the request fits; no wait is longer than 60 s."""
    window, now = Window(), 0.0
    for pause, tokens, _ in steps:
        now += pause
        window.expire(now)
        wait = max(window.wait_for_request(now, rpm), window.wait_for_tokens(now, tpm, tokens) or 0.0)
        assert wait <= SECONDS + 1e-9
        if wait > 1e-6:
            window.expire(now + wait * 0.999)
            early = max(window.wait_for_request(now, rpm), window.wait_for_tokens(now, tpm, tokens) or 0.0)
            assert early > 0
            now += wait
            now += 1e-9 * now  # seconds add with an error in the last digit
            window.expire(now)
        assert window.wait_for_request(now, rpm) == window.wait_for_tokens(now, tpm, tokens) == 0.0
        window.add(now, 1, tokens)


def test_what_never_fits_has_no_wait() -> None:
    """More tokens than the limit are refused for ever, not for 60 s."""
    assert Window().wait_for_tokens(0.0, 100, 101) is None


def test_entry_out_of_its_window_changes_nothing() -> None:
    """A request that is settled after 60 s corrects no sum: its reservation is gone already."""
    window = Window()
    entry = window.add(0.0, 1, 50)
    window.expire(60.0)
    window.change(entry, -20)
    assert (window.requests, window.tokens) == (0, 0)


@given(st.lists(st.floats(0, 0.02), min_size=1, max_size=200))
def test_merged_entries_count_at_least_as_long(pauses: list[float]) -> None:
    """Above 5,000 a minute entries are merged: no admission is forgotten before it is 60 s old."""
    window, now, times = Window(), 0.0, []
    for pause in pauses:
        now += pause
        window.add(now, 1, 1, limit=10_000)
        times.append(now)
    for age in (59.98, 59.99, 60.0, 60.005, 60.02):
        later = times[0] + age
        if later >= now:
            window.expire(later)
            assert window.requests >= sum(at + SECONDS > later for at in times)


def test_reset_is_the_age_of_the_youngest() -> None:
    """The window is empty once its youngest entry is 60 s old."""
    window = Window()
    assert window.reset(5.0) == 0.0
    window.add(5.0, 1, 1)
    window.add(7.0, 1, 1)
    assert window.reset(10.0) == 57.0


def test_entry_knows_its_time() -> None:
    """An entry starts and counts from the same moment."""
    assert Entry(3.0, 1, 2).first == Entry(3.0, 1, 2).at == 3.0
