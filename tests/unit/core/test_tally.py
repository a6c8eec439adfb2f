"""The count of an answer: the upstream's where it is plausible, else our own, the same for whole and streamed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.core import tokens
from techstone.core.tally import Tally, read_usage
from techstone.wire.usage import Usage

GOOD = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}


def test_plausible_usage_is_taken() -> None:
    """As it came, details included."""
    usage = read_usage(json.dumps(GOOD).encode())
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (9, 2, 11)


def test_wrong_total_is_put_right() -> None:
    """The total is a sum; where it alone is wrong it is counted again."""
    usage = read_usage(json.dumps({**GOOD, "total_tokens": 5}).encode())
    assert usage is not None
    assert usage.total_tokens == 11


@pytest.mark.parametrize(
    "raw",
    [
        b"null",
        b"{}",
        b"[]",
        b'"9"',
        b'{"prompt_tokens": -1, "completion_tokens": 2, "total_tokens": 1}',
        b'{"prompt_tokens": 9, "completion_tokens": 999999999, "total_tokens": 1000000008}',
        b'{"prompt_tokens": 9.5, "completion_tokens": 2, "total_tokens": 11}',
        b'{"prompt_tokens": null, "completion_tokens": 2, "total_tokens": 2}',
        b"{",
    ],
)
def test_absurd_usage_is_no_usage(raw: bytes) -> None:
    """Negative, huge, null, no number, no object (row M-3)."""
    assert read_usage(raw) is None


@given(st.lists(st.text(max_size=40), max_size=10), st.booleans())
def test_pieces_count_like_the_whole(pieces: list[str], escaped: bool) -> None:  # noqa: FBT001 - Hypothesis passes by position
    """Streamed in any pieces, by either way in, a text counts what it counts whole (row M-8)."""
    tally = Tally(lambda: 7)
    for piece in pieces:
        if escaped:
            tally.take_escaped(json.dumps(piece, ensure_ascii=False)[1:-1].encode("utf-8", "replace"))
        else:
            tally.take(piece, 0, "content")
    text = "".join(pieces)
    if escaped:
        text = text.encode("utf-8", "replace").decode()
    assert tally.counted().completion_tokens == tokens.count(text)
    assert tally.counted().prompt_tokens == 7


def test_choices_and_parts_count_by_themselves() -> None:
    """Interleaved choices and tool arguments do not run into each other."""
    tally = Tally(lambda: 0)
    for piece in ("Hel", "lo"):
        tally.take(piece, 0, "content")
        tally.take(piece, 1, "content")
        tally.take(piece, 0, "tool 0 arguments")
    assert tally.counted().completion_tokens == 3 * tokens.count("Hello")


def test_usage_settles_before_our_count() -> None:
    """Our own count is for upstreams that say nothing; the prompt is not even estimated."""
    tally = Tally(lambda: 1 // 0)
    tally.take("Hello", 0, "content")
    tally.usage = read_usage(json.dumps(GOOD).encode())
    assert tally.settled().total_tokens == 11


def test_much_text_is_counted_on_the_way() -> None:
    """Pieces are held for a while only; the count is that of the whole."""
    tally, piece = Tally(lambda: 0), b"Hello, world. " * 100
    for _ in range(200):
        tally.take_escaped(piece)
    assert sum(map(len, tally._pieces)) < len(piece) * 200
    assert tally.counted().completion_tokens == tokens.count(piece.decode() * 200)


def test_no_tokens_at_all_are_no_count_of_a_text() -> None:
    """An upstream that sends text and says 0 does not count: then we do; without a text 0 is the truth."""
    tally = Tally(lambda: 7)
    tally.usage = Usage(0, 0, 0)
    assert tally.settled() == Usage(0, 0, 0)
    tally.take("two words", 0, "content")
    assert tally.settled() == Usage(7, 2, 9)


@pytest.mark.parametrize(
    "details",
    [
        b'"prompt_tokens_details":{"cached_tokens":-1}',
        b'"completion_tokens_details":{"reasoning_tokens":1000000000000}',
    ],
)
def test_details_beyond_belief_make_the_usage_absurd(details: bytes) -> None:
    """They are priced by themselves, so that a negative one would be money."""
    assert read_usage(b'{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,%b}' % details) is None
