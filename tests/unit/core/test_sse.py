"""Server-sent events: the same payloads whatever pieces the bytes come in."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.core.sse import LINE_LIMIT, Splitter, StreamError


@pytest.mark.parametrize(
    ("text", "payloads"),
    [
        (b"data: a\n\n", [b"a"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b": comment\n\nevent: x\nid: 1\nretry: 5\ndata: a\n\n", [b"a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data\n\n\n\n", [b""]),
        (b"data: never ended", []),
        (b"", []),
    ],
)
def test_payloads_are_read_as_the_standard_says(text: bytes, payloads: list[bytes]) -> None:
    """WHATWG HTML 9.2.6: line ends, the blank after the colon, comments, joined data, events end with an empty line."""
    assert Splitter().feed(text) == payloads


LINES = st.lists(
    st.sampled_from([b"data: a", b"data:b", b"data", b": c", b"event: x", b"data: \xc3\xbc", b"", b"", b"data:"]),
    max_size=12,
)
ENDS = st.lists(st.sampled_from([b"\n", b"\r\n", b"\r"]), min_size=12, max_size=12)


@given(LINES, ENDS, st.lists(st.integers(0, 120), max_size=8))
def test_every_split_gives_the_same_payloads(lines: list[bytes], ends: list[bytes], cuts: list[int]) -> None:
    """Cut anywhere, between CR and LF too, the payloads are those of the whole."""
    text = b"".join(line + end for line, end in zip(lines, ends, strict=False))
    whole = Splitter().feed(text)
    splitter = Splitter()
    pieces = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    parts = [splitter.feed(text[start:end]) for start, end in itertools.pairwise(pieces)]
    assert [payload for part in parts for payload in part] == whole


def test_resting_means_between_events() -> None:
    """Nothing of a next event has come."""
    splitter = Splitter()
    seen = [splitter.resting]
    for piece in (b"data: a", b"\n\n"):
        splitter.feed(piece)
        seen.append(splitter.resting)
    assert seen == [True, False, True]


@pytest.mark.parametrize("bom", [b"\xef\xbb\xbf", b"\xef\xbb", b"\xef"])
def test_byte_order_mark_may_come_in_pieces(bom: bytes) -> None:
    """One at the begin of the stream is skipped, whole; anywhere else it is data."""
    splitter = Splitter()
    rest = b"\xef\xbb\xbfdata: a\n\n"[len(bom) :] + b"data: \xef\xbb\xbf\n\n"
    assert [*splitter.feed(bom), *splitter.feed(rest)] == [b"a", b"\xef\xbb\xbf"]


ENDLESS = {
    "line": b"data: " + b"x" * LINE_LIMIT,
    "event": (b"data: " + b"x" * 1000 + b"\n") * 1100,
    "event of empty lines": b"data:\n" * (LINE_LIMIT + 1),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_event_without_end_is_given_up(name: str) -> None:
    """A line, or the lines of one event, over 1 MiB end the stream."""
    with pytest.raises(StreamError):
        Splitter().feed(ENDLESS[name])
