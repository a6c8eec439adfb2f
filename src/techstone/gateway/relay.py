"""Carries an upstream's answer to the client: a whole completion, or a stream chunk by chunk.

No coroutine step per chunk: the upstream's bytes go through `core.splice` straight into the client's transport, with
back-pressure from its buffer to the upstream's socket. The coroutine wakes once, at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.core import completion, failure
from techstone.core.errors import ApiError, ServerError, UpstreamFailed
from techstone.core.splice import DONE, ChatStream, Options
from techstone.gateway.dispatch import RefusedInStream
from techstone.gateway.idempotency import LARGEST_ANSWER
from techstone.gateway.ports import Answer, UpstreamProblem

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from techstone.core.tally import Tally
    from techstone.gateway.exchange import Exchange
    from techstone.wire.usage import BilledUsage

# The longest output on the market, 128,000 tokens, is 0.5 MB; thirty choices of it stay below. More is a defect or an
# attack, and must not take more memory than this (row M-3: 16 MB).
WHOLE_LIMIT = 15 * 1024 * 1024
# If the first chunk is not there by then, the head goes out with a comment, so that proxies and clients keep waiting.
FIRST_COMMENT_SECONDS = 15.0
_BOUNDLESS = 1 << 62
# After [DONE] only the end of the chunked body may follow.
_TAIL_LIMIT = 16 * 1024


async def read_whole(answer: Answer, model: str, fallback: Callable[[], tuple[str, int]], tally: Tally) -> bytes:
    """Return the body for the client; raise UpstreamProblem or RefusedInStream."""
    body = answer.take_whole(WHOLE_LIMIT) if answer.whole else await answer.read(WHOLE_LIMIT)
    try:
        return completion.rewrite(body, model, fallback, tally)
    except completion.NotACompletion as problem:
        if problem.error is not None:
            raise RefusedInStream(failure.judge_event(problem.error)) from problem
        raise UpstreamProblem("content", str(problem)) from problem


class StreamRelay:
    """One stream on its way; the sink of the upstream's answer. `head` gives the header lines of the client's answer.

    The first events start the client's answer; until then every failure may still go to another route.
    """

    __slots__ = (
        "_choked",
        "_ended",
        "_exchange",
        "_head",
        "_kept",
        "_kept_size",
        "_pending",
        "_room",
        "_stretch",
        "_timer",
        "answer",
        "first_byte",
        "problem",
        "refused",
        "stream",
    )

    def __init__(self, exchange: Exchange, options: Options, tally: Tally, head: Callable[[], bytes]) -> None:
        self._exchange = exchange
        self._head = head
        self._ended: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.stream = ChatStream(options, tally)
        self.answer: Answer | None = None
        self._kept: list[bytes] | None = None
        self._kept_size = 0
        self._room = _BOUNDLESS
        self._stretch: Callable[[Callable[[int | ApiError], None]], None] | None = None
        self._choked = False  # the client does not keep up
        self._pending = False  # another machine is asked for room
        self.refused: ApiError | None = None  # why it may not go on: a limit or the credit is used up
        self.problem: UpstreamProblem | None = None
        self.first_byte = 0.0

    async def prepare(self, answer: Answer) -> None:
        """Relay until the stream is over, or raise UpstreamProblem or RefusedInStream before the first byte."""
        kind = answer.header(b"content-type")
        if kind is not None and not kind.lower().startswith(b"text/event-stream"):
            raise UpstreamProblem("content", "not an event stream")
        loop = self._exchange.wire.loop
        self.answer = answer
        self._ended = loop.create_future()
        self._timer = loop.call_later(FIRST_COMMENT_SECONDS, self.start)
        self._exchange.flow = self
        try:
            answer.pipe(self)
            await self._ended
        finally:
            self._timer.cancel()
            self._exchange.flow = None
        if self._exchange.status == 0 and not self.stream.done:
            self._fail()

    def _fail(self) -> None:
        """Say why the stream ended before the first byte to the client."""
        if self.stream.error is not None:
            raise RefusedInStream(failure.judge_event(self.stream.error))
        if self.problem is not None:
            raise self.problem
        raise UpstreamProblem("content", self.stream.broken or "a stream without content")

    def start(self) -> None:
        """Send the head of the client's answer, if it is not sent yet."""
        if self._timer is not None:
            self._timer.cancel()
        exchange = self._exchange
        if exchange.status == 0 and not exchange.sent:
            self.first_byte = exchange.wire.loop.time()
            exchange.start_events(self._head())

    def body_received(self, data: bytes) -> None:
        """Take a piece of the upstream's stream."""
        stream = self.stream
        events = stream.feed(data)
        exchange = self._exchange
        if events and not exchange.sent:
            if exchange.status == 0:
                self.start()
            exchange.send_events(events)
            if self._kept is not None and self._kept_size <= LARGEST_ANSWER:
                self._kept.append(events)
                self._kept_size += len(events)
        if stream.over:
            self._end()
        elif stream.tally.size > self._room:
            self._ask_for_room()

    def pause(self) -> None:
        """Stop reading: the client does not keep up."""
        self._choked = True
        if self.answer is not None:
            self.answer.pause()

    def resume(self) -> None:
        """Read on."""
        self._choked = False
        if self.answer is not None and not self._pending:
            self.answer.resume()

    def ration(self, room: int, stretch: Callable[[Callable[[int | ApiError], None]], None]) -> None:
        """Set how large the texts may become; beyond, `stretch` tells how much further they may, or why not."""
        self._room = room
        self._stretch = stretch

    def _ask_for_room(self) -> None:
        if self._stretch is None:
            return
        self._room = 0
        self._stretch(self._take_room)
        if self._room == 0 and self.refused is None and self.answer is not None:
            # Another machine is asked: what comes meanwhile would be given unreserved.
            self._room = _BOUNDLESS
            self._pending = True
            self.answer.pause()

    def _take_room(self, further: int | ApiError) -> None:
        if self._pending:
            self._pending = False
            if self._ended is None or self._ended.done():
                return
            if self.answer is not None and not self._choked:
                self.answer.resume()
        if isinstance(further, int):
            self._room = further
            return
        self.refused = further
        if self.answer is not None:
            self.answer.close()
        self._end()

    def body_ended(self, problem: UpstreamProblem | None) -> None:
        """Hear that the upstream has nothing more."""
        self.problem = problem
        self._end()

    def _end(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
            if self.answer is None:
                return
            if self.stream.done:
                # Whole: let the connection come to its clean end by itself, so that it can be pooled.
                self.answer.pipe(_Tail(self.answer))
            elif self.stream.over:
                # Now, not when the coroutine wakes: libuv reads up to 32 times in one turn of the loop, 8 MB.
                self.answer.close()

    @property
    def complete(self) -> bool:
        """Whether the upstream's stream was whole."""
        return self.stream.done and self.stream.finished

    def last(self, usage: BilledUsage) -> bytes:
        """Return the last events of a complete stream."""
        return self.stream.last_chunk(usage) + DONE

    def keep(self) -> None:
        """Keep what is sent, for a replay, up to the size at which an answer is not stored."""
        self._kept = []

    @property
    def kept(self) -> bytes:
        """What was sent, if it is kept; more than is stored where it was too much."""
        return b"".join(self._kept or ())


def explain(stream: StreamRelay | None) -> ServerError:
    """Return what the client of a stream that broke off is told."""
    if stream is not None and stream.problem is not None and stream.problem.kind == "timeout":
        return UpstreamFailed("The upstream stopped answering in the middle of the stream.")
    return UpstreamFailed("The upstream failed in the middle of the stream. The answer is incomplete.")


class _Tail:
    """What may follow [DONE]: nothing of interest, and not much of it."""

    __slots__ = ("_answer", "_left")

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._left = _TAIL_LIMIT

    def body_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._answer.close()

    def body_ended(self, problem: UpstreamProblem | None) -> None:
        """Nothing is left to do."""
