"""The stream of a chat completion on its way through: what the client may see of what the upstream sent.

Bytes in, events out. A chunk of the form that is expected is copied with its head exchanged (the model's name) and its
`usage` cut; what else comes is decoded, brought to OpenAI's full form and written anew. Both ways give the same values
(a property test holds them equal). Held back: the usage, which the last chunk carries if it was asked for, and
`[DONE]`, which is the caller's to send once the request is settled. A stream is complete only with a finish_reason and
`[DONE]`, never because bytes ended.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from techstone.core import chunks
from techstone.core.sse import LINE_LIMIT, Splitter, StreamError
from techstone.core.tally import read_usage

if TYPE_CHECKING:
    from techstone.core.tally import Tally
    from techstone.wire.usage import BilledUsage

_CHOICES = b'"choices":['
# One choice with text, in the order of OpenAI's and vLLM's servers. Escapes are checked here, so that the text need not
# be decoded; a surrogate escape takes the slow way, where a lone one is refused.
_TEXT_CHUNK = re.compile(
    rb'"choices":\[\{"index":0,"delta":\{"content":"([^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4})'
    rb'[^"\\\x00-\x1f]*)*)"\}(?:,"logprobs":null)?,"finish_reason":null(?:,"logprobs":null)?\}\](,"usage":null)?\}'
)
# The same as a whole event: what one read mostly brings.
_TEXT_EVENT = re.compile(_TEXT_CHUNK.pattern + rb"\n\n")
DONE = b"data: [DONE]\n\n"


class Options(msgspec.Struct, frozen=True):
    """What the client asked for, and what the chunks get where the upstream left it out."""

    model: str
    include_usage: bool
    id: str
    created: int


class ChatStream:
    """One stream. After each `feed`, look at `done`, `error` and `broken`."""

    __slots__ = (
        "_asked",
        "_buffer",
        "_fix",
        "_head",
        "_head_out",
        "_line",
        "_options",
        "_reading",
        "_splitter",
        "_tail",
        "begun",
        "broken",
        "done",
        "error",
        "over",
        "tally",
    )

    def __init__(self, options: Options, tally: Tally) -> None:
        self._options = options
        self._asked = options.include_usage
        self._tail = b',"usage":null}' if self._asked else b"}"
        self._fix = chunks.Form(options.model, options.id, options.created, null_usage=self._asked)
        self._buffer = b""
        self._splitter: Splitter | None = None
        self._reading = False  # a first event came
        self._head: bytes | None = None
        self._head_out = b""
        self._line: bytes | None = None
        self.tally = tally
        self.begun = False  # an event for the client came
        self.over = False  # nothing more is to be relayed: done, error or broken says why
        self.done = False  # [DONE] came
        self.error: bytes | None = None  # the upstream's error event
        self.broken: str | None = None  # why the stream cannot be relayed further

    @property
    def finished(self) -> bool:
        """Whether every choice that began has a finish_reason."""
        return self._fix.finished

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the upstream, return whole events for the client."""
        line = self._line
        if line is not None and not self._buffer and data.startswith(line):
            # One read brought one chunk of text in the learned form, as they mostly come: nothing to split.
            match = _TEXT_EVENT.fullmatch(data, len(line))
            if match is not None and _is_utf8(data):
                self.tally.take_escaped(match[1])
                end = match.start(2) if match[2] else len(data) - 3
                return b"data: %b%b%b\n\n" % (self._head_out, data[len(line) : end], self._tail)
        if self._splitter is not None:
            return self._feed_slowly(data)
        buffer = self._buffer + data if self._buffer else data
        if b"\r" in buffer or buffer[:1] != b"d":
            # Not the plain form (`data: …` and LF): from here on the general splitter reads, to the end.
            self._splitter = Splitter(started=self._reading)
            self._line = None
            self._buffer = b""
            return self._feed_slowly(buffer)
        if buffer.endswith(b"\n\n"):
            events = buffer[:-2].split(b"\n\n")
            self._buffer = b""
        else:
            events = buffer.split(b"\n\n")
            rest = self._buffer = events.pop()
            if len(rest) > LINE_LIMIT:
                return self._give_up("an event of more than 1 MiB")
        for position, event in enumerate(events):
            if event[:6] != b"data: " or b"\n" in event:
                self._splitter = Splitter(started=self._reading or position > 0)
                self._line = None
                left = b"\n\n".join([*events[position:], self._buffer])
                self._buffer = b""
                return self._splice([event[6:] for event in events[:position]]) + self._feed_slowly(left)
        return self._splice([event[6:] for event in events])

    def _feed_slowly(self, data: bytes) -> bytes:
        try:
            return self._splice(self._splitter.feed(data) if self._splitter else [])
        except StreamError as error:
            return self._give_up(str(error))

    def _splice(self, payloads: list[bytes]) -> bytes:
        out = [self._splice_one(payload) for payload in payloads if not self.over]
        return out[0] if len(out) == 1 else b"".join(out)

    def _splice_one(self, payload: bytes) -> bytes:
        head = self._head
        if head is not None and payload.startswith(head):
            match = _TEXT_CHUNK.fullmatch(payload, len(head))
            if match is not None and _is_utf8(payload):
                self.tally.take_escaped(match[1])
                end = match.start(2) if match[2] else len(payload) - 1
                return b"data: %b%b%b\n\n" % (self._head_out, payload[len(head) : end], self._tail)
        if payload == b"[DONE]":
            self.done = self.over = True
            self._line = None
            return b""
        return self._splice_slowly(payload)

    def _give_up(self, why: str) -> bytes:
        self.broken = why
        self.over = True
        self._line = None
        self._buffer = b""
        self._splitter = None
        return b""

    def _splice_slowly(self, payload: bytes) -> bytes:
        self._reading = True
        try:
            found = self._fix.read(payload)
        except chunks.NotAChunk as problem:
            return self._give_up(str(problem))
        if found.error is not None:
            self.error = found.error
            self.over = True
            self._line = None
            return b""
        if found.usage is not None:
            usage = read_usage(found.usage)
            if usage is not None:
                self.tally.usage = usage
        for text, choice, part in found.texts:
            self.tally.take(text, choice, part)
        if not found.chunks:
            return b""
        self.begun = True
        if self._head is None:
            self._learn(payload)
        return b"".join([b"data: %b\n\n" % chunk for chunk in found.chunks])

    def _learn(self, payload: bytes) -> None:
        """Learn the head that every chunk of this stream has, up to its choices, and what it becomes.

        Only after a chunk with the role went the slow way, and only if the head alone is what makes the two differ.
        """
        at = payload.find(_CHOICES)
        if at < 0 or not self._fix.role_seen(0):
            return
        head = payload[:at]
        head_out = self._fix.head(head)
        if head_out is not None:
            self._head = head
            self._head_out = head_out
            if self._splitter is None:
                self._line = b"data: " + head

    def last_chunk(self, usage: BilledUsage) -> bytes:
        """Return the usage chunk if the client asked for it."""
        if not self._asked:
            return b""
        return b"data: %b\n\n" % self._fix.usage_chunk(usage)


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
