"""The guard's own rules, byte by byte; the corpus in tests/system asks them over sockets."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.gateway.guard import Bounds, BrokenRequest, ChunkedBody, check_beginning, check_head, check_media


@given(
    st.lists(st.binary(min_size=1, max_size=50), max_size=6), st.lists(st.integers(0, 400), max_size=8), st.booleans()
)
def test_chunked_body_is_the_same_in_all_pieces(parts: list[bytes], cuts: list[int], extended: bool) -> None:  # noqa: FBT001 - Hypothesis passes by position
    """Cut anywhere, the decoded body and what follows it are those of the whole."""
    extension = b";a=b" if extended else b""
    text = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts) + b"0\r\nA: b\r\n\r\nNEXT"
    body = ChunkedBody(Bounds())
    pieces: list[bytes] = []
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    rest = b""
    for start, end in itertools.pairwise(places):
        if body.done:
            rest += text[start:end]
        else:
            pieces += body.feed(text[start:end])
            rest = body.rest
    assert body.done
    assert b"".join(pieces) == b"".join(parts)
    assert rest == b"NEXT"


def test_chunked_body_over_the_bound_is_refused_before_it_comes() -> None:
    """The sizes are added up as they are announced."""
    body = ChunkedBody(Bounds(body=10))
    body.feed(b"6\r\nabcdef\r\n")
    with pytest.raises(BrokenRequest):
        body.feed(b"5\r\n")


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_guard(junk: bytes) -> None:
    """Whatever comes, it passes or is refused."""
    for check in (check_beginning, check_head, lambda data, bounds: ChunkedBody(bounds).feed(data)):
        with contextlib.suppress(BrokenRequest):
            check(junk, Bounds())


@pytest.mark.parametrize(
    ("kind", "good"),
    [
        (b"application/json", True),
        (b"application/json; charset=utf-8", True),
        (b"Application/JSON", True),
        (b"application/vnd.api+json", True),
        (b"text/plain", False),
        (b"application/x-www-form-urlencoded", False),
        (b"multipart/form-data; boundary=x", False),
        (b"application/jsonp", False),
    ],
)
def test_body_must_be_json(kind: bytes, *, good: bool) -> None:
    """By its declared type; none at all is an SDK's habit and fine."""
    assert (check_media({b"content-type": kind}) is None) == good
    assert check_media({}) is None


def test_compressed_body_is_refused() -> None:
    """200 KB could be 200 MB (row J-3)."""
    assert check_media({b"content-encoding": b"gzip"}) is not None
