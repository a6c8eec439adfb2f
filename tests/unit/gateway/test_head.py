"""Heads: read once, remembered by their bytes, never by less."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.gateway.guard import Bounds, BrokenRequest
from techstone.gateway.head import Heads

RAW = b"POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nX-A: 1\r\n\r\n"


def _known() -> Heads:
    heads = Heads(Bounds())
    head, length = heads.read(RAW % 5)
    assert length == 5
    heads.keep(head)
    return heads


def test_head_is_taken_apart() -> None:
    """Method, path, query, headers in lower case, framing."""
    head, length = Heads(Bounds()).read(RAW % 7)
    assert (head.method, head.path, head.query, length) == (b"POST", b"/v1/chat/completions", b"a=b", 7)
    assert head.headers == {b"host": b"x", b"content-length": b"7", b"x-a": b"1"}
    assert (head.kept, head.legacy, head.framing.chunked) == (True, False, False)


def test_known_head_is_the_same_object_whatever_its_length() -> None:
    """Only the digits of Content-Length may differ."""
    heads = _known()
    first, _ = heads.read(RAW % 5)
    second, length = heads.read(RAW % 123)
    assert second is first
    assert length == 123


@pytest.mark.parametrize(
    "raw",
    [
        b"POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: y\r\nContent-Length: 5\r\nX-A: 1\r\n\r\n",
        b"POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n\r\n",
        b"POST /v1/chat/completions?a=b HTTP/1.0\r\nHost: x\r\nContent-Length: 5\r\nX-A: 1\r\n\r\n",
    ],
)
def test_any_other_byte_is_another_head(raw: bytes) -> None:
    """A head that differs elsewhere is parsed."""
    heads = _known()
    assert heads.read(raw)[0] is not heads.read(RAW % 5)[0]


def test_stranger_is_not_remembered() -> None:
    """A head that nobody said to keep is parsed again; a very long one always."""
    heads = Heads(Bounds())
    assert heads.read(RAW % 5)[0] is not heads.read(RAW % 5)[0]
    long = (RAW % 5).replace(b"X-A: 1", b"X-A: " + b"1" * 4000)
    head, _ = heads.read(long)
    heads.keep(head)
    assert heads.read(long)[0] is not head


@pytest.mark.parametrize(
    "value", [b"20971521", b"99999999999999999999", b"-1", b"0x5", b"5 ", b"", b"5\r\nContent-Length: 6"]
)
def test_bad_length_is_refused_of_a_known_head_too(value: bytes) -> None:
    """What the guard refuses, memory does not let in; trailing blanks are blanks."""
    heads = _known()
    raw = (RAW % 5).replace(b"Content-Length: 5", b"Content-Length: " + value)
    if value == b"5 ":
        assert heads.read(raw)[1] == 5
        return
    with pytest.raises(BrokenRequest):
        heads.read(raw)


@given(st.binary(max_size=40), st.integers(0, 200))
def test_memory_changes_no_judgement(junk: bytes, place: int) -> None:
    """With a known head or without one, bytes are read to the same values or refused."""
    raw = RAW % 5
    raw = raw[:place] + junk + raw[place:]
    if b"\r\n\r\n" not in raw:
        return
    raw = raw[: raw.index(b"\r\n\r\n") + 4]
    seen: list[object] = []
    for heads in (Heads(Bounds()), _known()):
        try:
            head, length = heads.read(raw)
            seen.append((head.method, head.path, head.query, head.kept, head.framing.chunked, length))
        except BrokenRequest as broken:
            seen.append(broken.error.message)
    assert seen[0] == seen[1]
