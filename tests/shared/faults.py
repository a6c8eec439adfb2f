"""What an upstream may do wrong (row M-3), as scripts for a raw server, with what a client must get of each.

A fault strikes at a position of a good answer: before anything, after the head, the first chunk, the middle or the last
chunk. The answer's words and form, the cuts between writes and what a case leaves open come from a seed.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import socket
import struct
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from techstone.core.snapshot import Timeouts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from random import Random

Patience = Literal["connect", "first_byte", "between_bytes", "total"]
# The one time-out that is to end a fault is short; no other may be in its way, on a busy machine too.
_PATIENT = {"connect": 5.0, "first_byte": 5.0, "between_bytes": 5.0, "total": 10.0}
_IMPATIENT = {"connect": 0.4, "first_byte": 0.4, "between_bytes": 0.4, "total": 1.0}
GRANTED = 10**9  # nano-dollars
USAGE = (23, 41)  # of a good answer: neither the prompt's count nor the words'

_WORDS = (" word", " naïve", "漢字", " 42", "\n", "😀", ' "said"', "\\", " internationalisation", "\t", " ₤7,5")
POSITIONS = ("head", "first", "middle", "last")
_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
_END = b"0\r\n\r\n"
_DONE = b"data: [DONE]\n\n"
_BOMB = gzip.compress(bytes(20_000_000), 1)
# Of what was sent so much is kept: more than any client that leaves can have.
_KEPT = 64 * 1024
# How soon a hang-up is noticed.
_LOOK = 0.02


class Pump(NamedTuple):
    """Pieces that are written for as long as somebody reads, with a pause after each."""

    pieces: Iterable[bytes]
    pause: float = 0.0


class Seen(NamedTuple):
    """Waits until the client has so many events: what comes next cannot destroy them on their way."""

    events: int


Step = bytes | Pump | Seen | Literal["reset", "close", "stay"]


class Fault(NamedTuple):
    """What the upstream does, and what must come of it.

    `status` is the client's; under 200 the answer breaks off with an error event, or, if it is `whole`, is billed at
    `usage`: prompt, completion, cached; None: our own count. `timeout` is what ends it; None: it is seen at once.
    """

    name: str
    stream: bool
    steps: list[Step]
    status: int
    whole: bool = False
    usage: tuple[int, int, int] | None = None
    timeout: Patience | None = None
    where: Literal["here", "nobody", "full"] = "here"
    leaves: int | None = None  # after so many events the client hangs up; 0: once the upstream was asked
    code: str | None = None  # of the error
    granted: int = GRANTED
    tpm: int | None = None
    alone: bool = False  # so much data that others would be late beside it

    @property
    def timeouts(self) -> Timeouts:
        """The provider's."""
        return Timeouts(**{name: self.seconds if name == self.timeout else long for name, long in _PATIENT.items()})

    @property
    def seconds(self) -> float:
        """How long it may go on: from when it struck, or, for the total time-out, from the request."""
        return _IMPATIENT[self.timeout] if self.timeout else 0.0

    @property
    def title(self) -> str:
        """The name, with the kind of answer that was asked for."""
        return f"{'stream' if self.stream else 'whole'} {self.name}"


class Reply:
    """A good answer of random words: the `events` of a stream, the `body` of a whole one."""

    def __init__(self, random: Random, *, stream: bool, usage: bytes | None = None) -> None:
        self._ascii = random.random() < 0.5
        self._random = random
        self.stream = stream
        self.words = random.choices(_WORDS, k=random.randint(3, 12))
        self.head = _OK + (b"Content-Type: text/event-stream\r\n" if stream else b"Content-Type: application/json\r\n")
        usage = _usage(*USAGE) if usage is None else usage
        told = [b'data: {"id":"c","choices":[],"usage":%b}\n\n' % usage] if usage else []
        spoken = [self.chunk({"content": word}) for word in self.words]
        self.events = [self.chunk({"role": "assistant", "content": ""}), *spoken, self.chunk({}, "stop"), *told, _DONE]
        # In OpenAI's full form, which the gateway copies, or in a sloppy one, which it writes anew.
        form = random.choice(({"refusal": None}, {}))
        message = {"role": "assistant", "content": "".join(self.words), **form}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        base = {"id": "c", "object": "chat.completion", "created": 1, "model": "x", "choices": [choice]}
        self.body = self._write(base)[:-1] + (b',"usage":%b}' % usage if usage else b"}")

    def _write(self, value: object) -> bytes:
        return json.dumps(value, ensure_ascii=self._ascii, separators=(",", ":")).encode()

    def chunk(self, delta: dict[str, str], finish: str | None = None, usage: bytes = b"null") -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "x", "choices": [choice]}
        return b'data: %b,"usage":%b}\n\n' % (self._write(base)[:-1], usage)

    @property
    def payload(self) -> bytes:
        return b"".join(self.events) if self.stream else self.body

    def split(self, position: str) -> tuple[bytes, bytes, Seen]:
        """Return the payload up to a position and from there on, and what the client must have by then."""
        if not self.stream:
            size = {"head": 0, "first": 1, "middle": len(self.body) // 2, "last": len(self.body) - 1}[position]
            return self.body[:size], self.body[size:], Seen(0)
        seen = {"head": 0, "first": 1, "middle": 1 + len(self.words) // 2, "last": len(self.words) + 2}[position]
        sent = seen if position != "last" else len(self.events) - self._random.randint(1, 2)  # with usage or without
        return b"".join(self.events[:sent]), b"".join(self.events[sent:]), Seen(seen)

    def whole(self) -> list[Step]:
        """Return the answer as a good upstream sends it, in any of three framings."""
        if self._random.random() < 0.5:
            return [self.head + b"Content-Length: %d\r\n\r\n%b" % (len(self.payload), self.payload)]
        if self._random.random() < 0.2:
            return [self.head + b"\r\n" + self.payload, "close"]
        return [self.head + _CHUNKED + b"".join(map(_part, self.events if self.stream else [self.body])) + _END]


def faults(random: Random, internal: str) -> Iterator[Fault]:
    """Yield every case once; `internal` is the address that a redirect points to."""
    for stream in (False, True):
        yield from _before(internal, stream=stream)
        for position in POSITIONS:
            yield from _within(random, position, stream=stream)
            yield from _framed(random, position, stream=stream)
        yield from _whole(random, stream=stream)
        yield from _billed(random, stream=stream)
    for position in POSITIONS:
        yield from _told_in_stream(random, position)
    yield from _told_whole(random)
    yield from _endless(random)
    yield from _left(random)


def _before(internal: str, *, stream: bool) -> Iterator[Fault]:
    """Yield what goes wrong before an answer has begun."""
    elsewhere = b"Location: http://%b/\r\n" % internal.encode()
    kind = b"Content-Type: text/event-stream\r\n" if stream else b""
    at_once: dict[str, tuple[int, list[Step]]] = {
        "reset": (503, ["reset"]),
        "fin": (503, ["close"]),
        "429": (503, [_status(b"429 Too Many Requests", b"Retry-After: 7\r\n")]),
        "500": (500, [_status(b"500 Internal Server Error", body=b'{"error":{"message":"no"}}')]),
        "503": (503, [_status(b"503 Service Unavailable", body=b"")]),
        "500 of 100 MB": (500, [b"HTTP/1.1 500 Oh\r\n" + _CHUNKED, Pump(_flood())]),
        "redirect": (500, [_status(b"302 Found", elsewhere)]),
        "redirect with its body": (500, [_status(b"307 Temporary Redirect", elsewhere)]),
        "length and chunked": (500, [_OK + kind + b"Content-Length: 2\r\n" + _CHUNKED + _part(b"{}") + _END]),
        "gzip bomb": (500, [_status(b"200 OK", kind + b"Content-Encoding: gzip\r\n", _BOMB)]),
        "endless headers": (500, [_OK, Pump(itertools.repeat(b"A: b\r\n" * 1000))]),
        "endless header": (500, [_OK + b"A: ", Pump(itertools.repeat(b"b" * 10_000))]),
        "endless interim answers": (500, [Pump(itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 99))]),
        "no HTTP": (500, [b"SSH-2.0-OpenSSH_9\r\n"]),
    }
    for name, (status, steps) in at_once.items():
        yield Fault(name, stream, steps, status)
    yield Fault("refused", stream, [], 503, where="nobody")
    yield Fault("no connection", stream, [], 503, timeout="connect", where="full")
    yield Fault("silence", stream, ["stay"], 503, timeout="first_byte")
    yield Fault("head drips", stream, [Pump(_bytes(_OK + b"A: b\r\n" * 9), 0.1)], 503, timeout="first_byte")


def _strike(name: str, position: str, reply: Reply, steps: list[Step], status: int, **more: Any) -> Fault:  # noqa: ANN401 - fields of a fault, by name
    """Return the fault at a position: a status where nothing was sent yet, else an event in the stream."""
    begun = reply.stream and position != "head"
    return Fault(f"{name}, {position}", reply.stream, steps, 200 if begun else status, **more)


def _within(random: Random, position: str, *, stream: bool) -> Iterator[Fault]:
    """Yield what breaks an answer off that comes in the chunked coding."""
    reply = Reply(random, stream=stream)
    sent, left, seen = reply.split(position)
    begin: list[Step] = [reply.head + _CHUNKED + (_part(sent) if sent else b""), seen]
    rest = _part(left) + _END
    yield _strike("reset", position, reply, [*begin, "reset"], 503)
    yield _strike("fin", position, reply, [*begin, "close"], 503)
    yield _strike("no chunk", position, reply, [*begin, b"zz\r\n" + rest], 500)
    yield _strike("end too soon", position, reply, [*begin, _END], 500)
    slow, drip = Pump(_bytes(rest), 1.0), Pump(_bytes(rest), 0.2)
    yield _strike("slow drip", position, reply, [*begin, slow], 503, timeout="between_bytes")
    yield _strike("drip", position, reply, [*begin, drip], 503, timeout="total")
    yield _strike("line of 100 MB", position, reply, [*begin, Pump(_flood())], 500, alone=True)


def _framed(random: Random, position: str, *, stream: bool) -> Iterator[Fault]:
    """Yield what ends otherwise than its framing said."""
    reply = Reply(random, stream=stream)
    sent, left, seen = reply.split(position)
    long = reply.head + b"Content-Length: %d\r\n\r\n%b" % (len(reply.payload) + 10, sent)
    short = reply.head + b"Content-Length: %d\r\n\r\n%b" % (len(sent), sent)
    yield _strike("length too long and closed", position, reply, [long, seen, "close"], 503)
    yield _strike("length too long and silence", position, reply, [long, seen, "stay"], 503, timeout="between_bytes")
    yield _strike("length too short", position, reply, [short, seen, left], 500)
    yield _strike("end of the connection", position, reply, [reply.head + b"\r\n" + sent, seen, "close"], 500)


def _told_in_stream(random: Random, position: str) -> Iterator[Fault]:
    """Yield events that are none, with the rest of the good answer behind them."""
    reply = Reply(random, stream=True)
    sent, left, seen = reply.split(position)
    begin: list[Step] = [reply.head + _CHUNKED + (_part(sent) if sent else b""), seen]
    word = reply.chunk({"content": "#"})
    wrong = {
        "garbage": random.choice(
            (b"data: {nonsense\n\n", b"data: [1]\n\n", b'data: {"choices":7}\n\n', b"data: \0\n\n")
        ),
        "invalid UTF-8": word.replace(b"#", random.choice((b"\xff", b"\xc0\xaf", b"\xed\xa0\x80"))),
        "lone surrogate": word.replace(b"#", b"\\ud800"),
        "control byte": word.replace(b"#", b"\0"),
        "error": random.choice((b'data: {"error":{"message":"no"}}\n\n', b'data: {"error":"overloaded"}\n\n')),
        "error 429": b'data: {"error":{"message":"slow down","code":429}}\n\n',
        "bare error": b'event: error\ndata: {"object":"error","message":"no"}\n\n',
    }
    for name, event in wrong.items():
        yield _strike(name, position, reply, [*begin, _part(event + left) + _END], 500)
    refusal = _part(b'data: {"error":{"message":"too long","code":400}}\n\n')
    yield _strike("error of the client", position, reply, [*begin, refusal + _part(left) + _END], 400)
    if position != "last":
        yield _strike("[DONE] too soon", position, reply, [*begin, _part(_DONE + left) + _END], 500)
    comments = Pump(itertools.repeat(_part(b": ping\n\n")), 0.05)
    yield _strike("comments for ever", position, reply, [*begin, comments], 503, timeout="total")


def _told_whole(random: Random) -> Iterator[Fault]:
    """Yield bodies that are no answer."""
    body = Reply(random, stream=False).body
    place = random.randrange(len(body))
    wrong = {
        "garbage": (500, body[:place] + b"\0" + body[place:]),
        "invalid UTF-8": (500, body.replace(b'"content":"', b'"content":"' + random.choice((b"\xff", b"\xc0\xaf")))),
        "lone surrogate": (500, body.replace(b'"content":"', b'"content":"\\udc00')),
        "empty": (500, b""),
        "error": (500, b'{"error":{"message":"no","code":null}}'),
        "error 429": (500, b'{"error":{"message":"slow down","code":429}}'),
        "error of the client": (400, b'{"error":{"message":"too long","code":400}}'),
        "events": (500, Reply(random, stream=True).payload),
    }
    for name, (status, data) in wrong.items():
        yield Fault(name, False, [_status(b"200 OK", body=data)], status)


def _whole(random: Random, *, stream: bool) -> Iterator[Fault]:
    """Yield answers that are whole, however they come."""
    reply = Reply(random, stream=stream)
    good: dict[str, Any] = {"whole": True, "usage": (*USAGE, 0)}
    yield Fault("good", stream, reply.whole(), 200, **good)
    yield Fault("close-delimited", stream, [reply.head + b"\r\n" + reply.payload, "close"], 200, **good)
    if stream:
        long = reply.head + b"Content-Length: %d\r\n\r\n%b" % (len(reply.payload) + 10, reply.payload)
        yield Fault("length too long behind [DONE]", stream, [long, "close"], 200, **good)
        yield Fault(
            "garbage behind [DONE]",
            stream,
            [reply.head + b"\r\n" + reply.payload + b"data: {\n\n", "close"],
            200,
            **good,
        )
        yield Fault("not a stream", stream, [_status(b"200 OK", Reply(random, stream=False).head[17:], b"{}")], 500)


def _billed(random: Random, *, stream: bool) -> Iterator[Fault]:
    """Yield whole answers whose usage is odd: believed where it is plausible, else counted by ourselves."""
    of_these = _usage(9, 2)[:-1] + b',"%b_tokens_details":{"%b_tokens":%d}}'
    odd: dict[str, tuple[bytes, tuple[int, int, int] | None]] = {
        "absent": (b"", None),
        "null": (b"null", None),
        "of nulls": (b'{"prompt_tokens":null,"completion_tokens":null,"total_tokens":null}', None),
        "negative": (_usage(random.choice((-1, -(10**12))), 5), None),
        "negative completion": (_usage(5, random.choice((-1, -(10**12)))), None),
        "floats": (b'{"prompt_tokens":9.5,"completion_tokens":2.0,"total_tokens":1e1}', None),
        "words": (b'{"prompt_tokens":"9","completion_tokens":"2","total_tokens":"11"}', None),
        "a list": (b"[9,2,11]", None),
        "empty": (b"{}", None),
        "of a wrong total": (b'{"prompt_tokens":9,"completion_tokens":2,"total_tokens":-7}', (9, 2, 0)),
        "cached": (of_these % (b"prompt", b"cached", 4), (9, 2, 4)),
        "of more cached than prompt": (of_these % (b"prompt", b"cached", 400), (9, 2, 9)),
        "of less than no cached": (of_these % (b"prompt", b"cached", -(10**6)), None),
        "of less than no reasoning": (of_these % (b"completion", b"reasoning", -(10**6)), None),
        "beyond the credit": (_usage(9, 50_000_000), (9, 50_000_000, 0)),
        "huge": (_usage(9, 10 ** random.choice((9, 12, 15))), None),
        "monstrous": (_usage(10**30, 9), None),
    }
    for name, (usage, billed) in odd.items():
        reply = Reply(random, stream=stream, usage=usage)
        yield Fault(f"usage {name}", stream, reply.whole(), 200, whole=True, usage=billed)
    if stream:
        yield from _billed_twice(random)


def _billed_twice(random: Random) -> Iterator[Fault]:
    """Yield streams with several usages: the last plausible one counts."""
    for name, usages, billed in (
        ("two usages", (_usage(1, 2), _usage(3, 4)), (3, 4, 0)),
        ("a usage and an absurd one", (_usage(1, 2), _usage(3, -4)), (1, 2, 0)),
        ("two absurd usages", (_usage(-1, 2), _usage(3, 10**12)), None),
    ):
        reply = Reply(random, stream=True, usage=usages[1])
        first = Reply(random, stream=True, usage=usages[0]).events[-2]
        reply.events.insert(random.choice((0, 1, len(reply.events) - 2)), first)
        yield Fault(name, True, reply.whole(), 200, whole=True, usage=billed)
    reply = Reply(random, stream=True)
    reply.events[1:-3] = [reply.chunk({"content": word}, usage=_usage(9, n)) for n, word in enumerate(reply.words, 1)]
    yield Fault("usage on every chunk", True, reply.whole(), 200, whole=True, usage=(*USAGE, 0))
    del reply.events[-2]
    yield Fault("usage on every chunk only", True, reply.whole(), 200, whole=True, usage=(9, len(reply.words), 0))


def _endless(random: Random) -> Iterator[Fault]:
    """Yield answers that only a time-out, a limit or the client ends."""
    reply = Reply(random, stream=True)
    begin = reply.head + _CHUNKED + _part(reply.events[0])
    words = [_part(event) for event in reply.events[1:-3]]
    yield Fault("for ever", True, [begin, Pump(itertools.cycle(words), 0.01)], 200, timeout="total")
    # 3,000 tokens of either; as fast as it is taken.
    limits: dict[str, dict[str, Any]] = {
        "little credit": {"granted": 3000 * 10_000, "code": "insufficient_quota"},
        "few tokens": {"tpm": 3000, "code": "rate_limit_exceeded"},
    }
    for name, more in limits.items():
        fast = Pump(itertools.repeat(_part(b"".join(reply.events[1:-3]) * 10)))
        yield Fault(f"for ever on {name}", True, [begin, fast], 200, **more)
    body = Reply(random, stream=False)
    sent, _, _ = body.split("middle")
    begin = body.head + _CHUNKED + _part(sent)
    yield Fault(
        "for ever",
        False,
        [begin, Pump(itertools.repeat(_part(b"word ")), 0.01)],
        503,
        timeout="total",
    )


def _left(random: Random) -> Iterator[Fault]:
    """Yield answers that the client does not wait for: billed for what it has, and at most for what was sent."""
    for stream in (False, True):
        yield Fault("left before the head", stream, ["stay"], 499, leaves=0)
        reply = Reply(random, stream=stream)
        for position in POSITIONS:
            sent, _, seen = reply.split(position)
            steps: list[Step] = [reply.head + _CHUNKED + (_part(sent) if sent else b""), "stay"]
            yield Fault(f"left, {position}", stream, steps, 499, leaves=seen.events)
    words = Pump(map(_part, itertools.cycle(reply.events[1:-3])), 0.005)
    yield Fault("left while it comes", True, [reply.head + _CHUNKED + _part(reply.events[0]), words], 499, leaves=20)


def _usage(prompt: int, completion: int) -> bytes:
    return b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}' % (prompt, completion, prompt + completion)


def _part(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _bytes(data: bytes) -> Iterator[bytes]:
    return (data[place : place + 1] for place in range(len(data)))


def _flood() -> Iterator[bytes]:
    """100 MB without a line end."""
    return itertools.chain([_part(b"data: ")], itertools.repeat(_part(b"x" * 250_000), 400))


def _status(line: bytes, extra: bytes = b"", body: bytes = b"{}") -> bytes:
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (line, extra, len(body), body)


# Playing them


class Link(NamedTuple):
    """The upstream's side of a connection. `sent` is the beginning of what was written."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    random: Random
    sent: bytearray

    @property
    def gone(self) -> bool:
        """Whether the gateway has hung up."""
        return self.reader.at_eof() or self.writer.is_closing()

    async def perform(self, step: Step) -> None:
        """Do one step, but for waiting for the client, whom only the test knows."""
        if isinstance(step, bytes):
            await self._pump(Pump(_cut(self.random, step)))
        elif isinstance(step, Pump):
            await self._pump(step)
        elif step == "close":
            self.writer.close()
        elif step == "reset":
            # An abort alone is no reset.
            self.writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            self.writer.transport.abort()
        elif step == "stay":
            await self._pump(Pump(itertools.repeat(b""), 0.01))

    async def _pump(self, step: Pump) -> None:
        clock = asyncio.get_running_loop().time
        for piece in step.pieces:
            if self.gone:
                return
            if len(self.sent) < _KEPT:
                self.sent.extend(piece)
            self.writer.write(piece)
            await self.writer.drain()
            until = clock() + step.pause
            while not self.gone:
                await asyncio.sleep(max(0.0, min(until - clock(), _LOOK)))
                if clock() >= until:
                    break


def _cut(random: Random, data: bytes) -> list[bytes]:
    """Return the data as it may be written: at once, in a few pieces, or in many."""
    cuts = sorted(random.sample(range(len(data)), min(len(data), random.choice((0, 0, 1, 3, 30)))))
    return [data[start:end] for start, end in itertools.pairwise([0, *cuts, len(data)])]
