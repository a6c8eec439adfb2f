"""The guard's own rules, byte by byte; the corpus in tests/system asks them over sockets."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from corpus import KEPT, REFUSED
from hypothesis import given
from hypothesis import strategies as st

from techstone.gateway.guard import (
    Bounds,
    BrokenRequest,
    ChunkedBody,
    Framing,
    check_beginning,
    check_head,
    check_media,
    judge_head,
)
from techstone.gateway.head import Heads


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


def _judge(raw: bytes) -> None:
    """Let the guard see a whole request as the front shows it."""
    raw = raw.removeprefix(b"\r\n")
    end = raw.find(b"\r\n\r\n")
    if end < 0:
        check_beginning(raw, Bounds())
        return
    head, _ = Heads(Bounds()).read(raw[: end + 4])
    if head.framing.chunked:
        ChunkedBody(Bounds()).feed(raw[end + 4 :])


@pytest.mark.parametrize("name", REFUSED)
def test_corpus_is_refused_by_the_guard_alone(name: str) -> None:
    """No endpoint and no key is needed to refuse it; the connection is given up with a 4xx."""
    with pytest.raises(BrokenRequest) as caught:
        _judge(REFUSED[name])
    assert 400 <= caught.value.error.status < 500
    assert caught.value.error.closes


@pytest.mark.parametrize("name", KEPT)
def test_well_framed_corpus_passes_the_guard(name: str) -> None:
    """Whatever becomes of it later."""
    _judge(KEPT[name][0])


HOST = (b"host", b"x")


def _frame(*fields: tuple[bytes, bytes], version: str = "1.1") -> Framing:
    return judge_head(b"POST", version, [HOST, *fields], dict([HOST, *fields]), Bounds())


@pytest.mark.parametrize(
    ("fields", "version", "framing"),
    [
        ((), "1.1", (0, False, False)),
        (((b"content-length", b"7"),), "1.1", (7, False, False)),
        (((b"content-length", b"20971520"),), "1.1", (20 * 1024 * 1024, False, False)),
        (((b"transfer-encoding", b"CHUNKED"),), "1.1", (0, True, False)),
        (((b"content-length", b"7"), (b"expect", b"100-Continue")), "1.1", (7, False, True)),
        (((b"transfer-encoding", b"chunked"), (b"expect", b"100-continue")), "1.1", (0, True, True)),
        (((b"content-length", b"7"), (b"expect", b"100-continue")), "1.0", (7, False, False)),
        (((b"expect", b"100-continue"),), "1.1", (0, False, True)),
    ],
)
def test_framing_is_one_of_three(
    fields: tuple[tuple[bytes, bytes], ...], version: str, framing: tuple[int, bool, bool]
) -> None:
    """A length, chunks, or no body; `Expect` counts in HTTP/1.1 only (RFC 9110 section 10.1.1)."""
    found = _frame(*fields, version=version)
    assert (found.length, found.chunked, found.expects) == framing


def test_length_and_chunks_are_not_of_one_request() -> None:
    """The smuggling pair; llhttp refuses it too, but the rule is ours (RFC 9112 section 6.3)."""
    with pytest.raises(BrokenRequest):
        _frame((b"content-length", b"5"), (b"transfer-encoding", b"chunked"))


def test_chunks_are_not_of_http_1_0() -> None:
    """A proxy that speaks it would take the body for the next request (RFC 9112 section 6.1)."""
    with pytest.raises(BrokenRequest):
        _frame((b"transfer-encoding", b"chunked"), version="1.0")


def test_host_may_be_missing_in_http_1_0() -> None:
    """RFC 9112 section 3.2 asks for it in HTTP/1.1 only."""
    assert judge_head(b"GET", "1.0", [], {}, Bounds()).length == 0
    with pytest.raises(BrokenRequest):
        judge_head(b"GET", "1.1", [], {}, Bounds())


def test_bounds_are_what_they_say() -> None:
    """At the bound it passes, one more is refused: bytes and fields of a head, bytes of a body, of a chunk line."""
    line, host, end = b"GET / HTTP/1.1\r\n", b"Host: x\r\n", b"\r\n"
    room = 32 * 1024 - len(line + host + end) - len(b"A: \r\n")
    for extra, good in ((0, True), (1, False)):
        with contextlib.nullcontext() if good else pytest.raises(BrokenRequest):
            check_head(line + host + b"A: %b\r\n" % (b"b" * (room + extra)) + end, Bounds())
        with contextlib.nullcontext() if good else pytest.raises(BrokenRequest):
            check_head(line + host + b"A: b\r\n" * (99 + extra) + end, Bounds())
        with contextlib.nullcontext() if good else pytest.raises(BrokenRequest):
            _frame((b"content-length", b"%d" % (20 * 1024 * 1024 + extra)))
        with contextlib.nullcontext() if good else pytest.raises(BrokenRequest):
            ChunkedBody(Bounds()).feed(b"1;" + b"a" * (254 + extra) + b"\r\nx\r\n0\r\n\r\n")


def test_trailers_are_bounded_together() -> None:
    """Many small ones are one large one."""
    trailer = b"A: " + b"b" * 97 + b"\r\n"
    ChunkedBody(Bounds()).feed(b"0\r\n" + trailer * 80 + b"\r\n")
    with pytest.raises(BrokenRequest):
        ChunkedBody(Bounds()).feed(b"0\r\n" + trailer * 82 + b"\r\n")
