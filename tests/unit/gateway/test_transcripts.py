"""Transcripts on their way: in order, bounded in size, and cut where one is long."""

from __future__ import annotations

from techstone.core.snapshot import Key
from techstone.gateway.transcripts import LARGEST, Transcripts

KEY = Key("key_1", "0" * 64, "acct_1", "n", "h")


def fill(transcripts: Transcripts, count: int, size: int = 10) -> None:
    for number in range(count):
        transcripts.take(b"req_%d" % number, KEY, number, b"b" * size, b"a" * size)


def test_oldest_are_shipped_first_and_stay_until_they_are() -> None:
    """A batch that control did not take is the same the next time."""
    transcripts = Transcripts()
    fill(transcripts, 5)
    first = transcripts.pick(1500)
    assert [one.request_id for one in first] == ["req_0", "req_1"]
    assert transcripts.pick(1500) == first
    transcripts.done(2)
    assert [one.request_id for one in transcripts.pick(10**6)] == ["req_2", "req_3", "req_4"]
    transcripts.done(3)
    assert (transcripts.pick(10**6), transcripts.size) == ((), 0)


def test_one_that_is_larger_than_a_batch_goes_alone() -> None:
    """It would never go otherwise."""
    transcripts = Transcripts()
    fill(transcripts, 2, 10_000)
    assert len(transcripts.pick(100)) == 1


def test_what_does_not_fit_is_dropped_and_counted() -> None:
    """However long control is away, the gateway's memory is bounded."""
    transcripts = Transcripts(room=10_000)
    fill(transcripts, 1000, 500)
    assert transcripts.size <= 10_000
    assert transcripts.dropped == 1000 - len(transcripts.pick(10**9))


def test_long_texts_are_cut() -> None:
    """And it is said."""
    transcripts = Transcripts()
    transcripts.take(b"req_1", KEY, 1, b"b" * (LARGEST + 1), b"a")
    transcripts.take(b"req_2", KEY, 1, b"b" * LARGEST, b"a")
    first, second = transcripts.pick(10**9)
    assert (len(first.body), first.cut, second.cut) == (LARGEST, True, False)


def test_texts_are_in_no_traceback() -> None:
    """A prompt is nobody's to read in a log."""
    transcripts = Transcripts()
    transcripts.take(b"req_1", KEY, 1, b"a prompt", b"an answer")
    assert "prompt" not in repr(transcripts.pick(1)) + str(transcripts.pick(1)[0])
