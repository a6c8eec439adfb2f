"""spec/sse.json holds for what reads upstreams' streams: the splitter, and the chat stream with its fast way."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from vectors import Stream, read_streams, slice_at

from techstone.core.splice import ChatStream, Options
from techstone.core.sse import Splitter
from techstone.core.tally import Tally
from techstone.gateway import relay

if TYPE_CHECKING:
    from collections.abc import Iterable

STREAMS = read_streams()
# What the names of cuts say: the bytes before and after each place.
PLACES = {
    "between CR and LF": (rb"\r\Z", rb"\n"),
    "after a lone CR": (rb"\r\Z", rb"[^\n]"),
    "within a character": (rb"[\x80-\xff]\Z", rb"[\x80-\xbf]"),
    "within the byte order mark": (rb"\A\xef\xbb?\Z", rb""),
    "after the byte order mark": (rb"\A\xef\xbb\xbf\Z", rb""),
    "within the name of a field": (rb"(?:\A|[\r\n])(?:d|da|dat)\Z", rb"[at]"),
    "before the colon": (rb"(?:\A|[\r\n])data\Z", rb":"),
    "after the colon": (rb"(?:\A|[\r\n])data:\Z", rb""),
    "after the space": (rb"(?:\A|[\r\n])data: \Z", rb""),
    "before a blank line": (rb"[^\r\n](?:\r\n|\r|\n)\Z", rb"[\r\n]"),
    "between events": (rb"(?:\n\n|\r\n\r\n|\r\r)\Z", rb"[^\r\n]"),
    "within a comment": (rb"(?:\A|[\r\n]):[^\r\n]*\Z", rb"[^\r\n]"),
    "within an escape": (rb"(?:\\|\\u[0-9a-f]{1,3})\Z", rb""),
    "within [DONE]": (rb"data: ?\[[DONE]*\Z", rb"[DONE]*\]"),
}

each = pytest.mark.parametrize("vector", STREAMS, ids=lambda vector: vector.name)


def every_cut(vector: Stream) -> Iterable[tuple[str, list[bytes]]]:
    """Return the cuts of the vector, and those in two at every byte."""
    data = vector.data
    return [*vector.cut().items(), *((f"at {place}", slice_at(data, [place])) for place in range(1, len(data)))]


def say(payloads: Iterable[bytes]) -> str:
    """Return the text of chunks."""
    choices = [choice for payload in payloads for choice in json.loads(payload)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


@each
def test_splitter_sees_the_events_at_every_cut(vector: Stream) -> None:
    """Payload by payload, to the byte; it knows no end, so what stands behind it is seen too."""
    for name, pieces in every_cut(vector):
        splitter = Splitter()
        seen = [payload for piece in pieces for payload in splitter.feed(piece)]
        assert seen == vector.payloads + vector.unread, name


@each
def test_chat_stream_relays_the_text_and_knows_the_end_at_every_cut(vector: Stream) -> None:
    """Up to what ends the stream, and not a word behind it; a stream without an end is not taken for whole."""
    for name, pieces in every_cut(vector):
        stream = ChatStream(Options("m", include_usage=False, id="chatcmpl-0", created=1), Tally(lambda: 0))
        events = b"".join(stream.feed(piece) for piece in pieces).split(b"\n\n")
        assert events.pop() == b"", name
        assert say(event.removeprefix(b"data: ") for event in events) == say(vector.chunks), name
        assert (stream.done, stream.error, stream.broken is not None) == (
            vector.ends == "done",
            vector.payloads[-1] if vector.ends == "error" else None,
            vector.ends == "malformed",
        ), name


def test_usage_is_read_where_there_is_some() -> None:
    """From the chunk without choices, which the client gets only if it asked."""
    for vector in STREAMS:
        tally = Tally(lambda: 0)
        ChatStream(Options("m", include_usage=False, id="chatcmpl-0", created=1), tally).feed(vector.data)
        assert (tally.usage is not None) == (b'"prompt_tokens"' in vector.data), vector.name


def test_error_event_is_as_the_service_writes_it() -> None:
    """What a client gets when the upstream breaks off stands in the vectors word for word."""
    written = relay.explain(None).body()
    assert [vector.name for vector in STREAMS if vector.ends == "error" and vector.payloads[-1] == written]


@each
def test_end_is_what_the_last_event_says(vector: Stream) -> None:
    """The vectors do not contradict themselves: [DONE], an error, no chunk, or none of these."""
    last = vector.payloads[-1:]
    try:
        error = bool(json.loads(last[0]).get("error")) if last else False
        malformed = False
    except ValueError:
        error, malformed = False, last != [b"[DONE]"]
    ends = "done" if last == [b"[DONE]"] else "error" if error else "malformed" if malformed else "cut"
    assert ends == vector.ends
    assert not vector.unread or ends != "cut"
    assert vector.note or set(vector.readers) == {"service", "python", "node"}, "a reader is left out for a reason"


@each
def test_cuts_are_where_their_names_say(vector: Stream) -> None:
    """Each place lies within the stream, in order, between the bytes that its name tells of."""
    data = vector.data
    for name, places in vector.cuts.items():
        assert places == sorted({place for place in places if 0 < place < len(data)})
        before, after = PLACES[name]
        for place in places:
            assert re.search(before, data[:place]), (name, place)
            assert re.match(after, data[place:]), (name, place)


def test_every_name_of_a_cut_is_used() -> None:
    """And each vector has a name of its own."""
    assert {name for vector in STREAMS for name in vector.cuts} == PLACES.keys()
    assert len({vector.name for vector in STREAMS}) == len(STREAMS)
