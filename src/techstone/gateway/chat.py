"""POST /v1/chat/completions: the one way that a chat request walks through the house."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.core import chat
from techstone.core.dialects import engine
from techstone.core.errors import ApiError
from techstone.core.splice import Options
from techstone.core.tally import Tally
from techstone.gateway import relay
from techstone.gateway.dispatch import Attempt
from techstone.gateway.relay import StreamRelay
from techstone.gateway.settlement import Outcome
from techstone.gateway.translation import Restored

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.core.chat import ChatRequest
    from techstone.core.snapshot import Provider
    from techstone.gateway.admission import Admission, Doorkeeper
    from techstone.gateway.dispatch import Dispatch
    from techstone.gateway.exchange import Exchange
    from techstone.gateway.ports import Answer
    from techstone.gateway.settlement import Settlement

_TRUE = msgspec.Raw(b"true")


class ChatCompletions:
    """The endpoint and its collaborators. `wall_clock` is in unix seconds."""

    def __init__(
        self, doorkeeper: Doorkeeper, dispatch: Dispatch, settlement: Settlement, wall_clock: Callable[[], float]
    ) -> None:
        self._doorkeeper = doorkeeper
        self._dispatch = dispatch
        self._settlement = settlement
        self._wall_clock = wall_clock

    async def create(self, exchange: Exchange) -> None:
        """Answer a chat request, whole or as a stream."""
        request = chat.read(exchange.body)  # 400
        exchange.body = b""
        admission = self._doorkeeper.admit(exchange, request.model)  # 404 403
        call = _ChatCall(exchange, request, self._wall_clock)
        try:
            if request.stream:
                await self._stream(call, admission)
            else:
                whole = await self._dispatch.open(admission, call, call.attempt)
                now = exchange.wire.loop.time()
                call.outcome.succeed(now)
                self._settle(call)
                exchange.send_json(200, whole, call.headers(now))
        except ApiError as error:
            call.outcome.status = error.status
            call.outcome.error_code = error.code or error.type
            raise
        except Exception:
            call.outcome.status = 500
            call.outcome.error_code = "internal_error"
            raise
        finally:
            if exchange.record is None:
                self._settle(call)

    async def _stream(self, call: _ChatCall, admission: Admission) -> None:
        """Relay a stream; its end is held back until it is settled."""
        try:
            await self._dispatch.open(admission, call, call.attempt)
        finally:
            stream = call.relay
            if stream is not None and stream.first_byte:
                call.outcome.first_byte = stream.first_byte
                call.outcome.delivered = True
        if stream is None or not stream.complete:
            call.attempt.fail(call.exchange.wire.loop.time())
            raise relay.explain(stream)
        stream.start()
        call.outcome.succeed(stream.first_byte)
        self._settle(call)
        stream.finish()

    def _settle(self, call: _ChatCall) -> None:
        self._settlement.settle(call.exchange, call.request.model, call.tally, call.attempt, call.outcome)


class _ChatCall:
    """One chat request on its way: what dispatch sends to an upstream, and makes of its answer."""

    __slots__ = ("_adapted", "_wall_clock", "attempt", "exchange", "outcome", "relay", "request", "tally")

    def __init__(self, exchange: Exchange, request: ChatRequest, wall_clock: Callable[[], float]) -> None:
        self.exchange = exchange
        self.request = request
        self.attempt = Attempt()
        self.outcome = Outcome(request.stream)
        self.tally = Tally(request.estimate)
        self.relay: StreamRelay | None = None
        self._adapted: engine.Request | None = None
        self._wall_clock = wall_clock

    @property
    def request_id(self) -> bytes:
        """What the upstream is told as `x-request-id`."""
        return self.exchange.request_id

    def encode(self, provider: Provider, model: str) -> bytes:
        """Return the body for a provider that knows the model by that name."""
        request = self.request
        if provider.kind == "engine":
            self._adapted = adapted = engine.adapt(request.fields, request.n)
            return chat.encode_adapted(request, adapted.fields, model, stream=request.stream and not adapted.whole)
        self._adapted = None
        return chat.encode(request, model)

    async def prepare(self, answer: Answer) -> bytes:
        """Return the whole answer for the client, or relay the stream to its end (then nothing is left to return)."""
        exchange, request = self.exchange, self.request
        if not request.stream:
            return await relay.read_whole(self._translate(answer), request.model, self._name_answer, self.tally)
        options = Options(request.model, request.include_usage, *self._name_answer())
        self.relay = current = StreamRelay(exchange, options, self.tally, self._begin)
        try:
            await current.prepare(self._translate(answer))
        finally:
            if not current.stream.done:
                answer.close()
        return b""

    def _translate(self, answer: Answer) -> Answer:
        adapted = self._adapted
        if adapted is None or not adapted.whole:
            return answer
        call_id = "call_" + self.exchange.request_id[4:].decode()
        return Restored(answer, engine.Form(adapted, call_id, self.request.fields.get("logprobs") == _TRUE))

    def _begin(self) -> bytes:
        # The route works: a stream that began need not end before its breaker closes.
        self.attempt.succeed()
        return self.headers(self.exchange.wire.loop.time())

    def _name_answer(self) -> tuple[str, int]:
        """Return the id and creation time for an upstream that gives none."""
        return "chatcmpl-" + self.exchange.request_id[4:].decode(), int(self._wall_clock())

    def headers(self, now: float) -> bytes:
        """Return the header lines of a chat answer."""
        return b"%bopenai-processing-ms: %d\r\n" % (
            self.attempt.served_by,
            int((now - self.exchange.started) * 1000),
        )
