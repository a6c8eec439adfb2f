"""POST /v1/chat/completions: the one way that a chat request walks through the house."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.core import chat
from techstone.core.errors import ApiError
from techstone.core.splice import Options
from techstone.core.tally import Tally
from techstone.gateway import relay
from techstone.gateway.dispatch import Attempt
from techstone.gateway.relay import StreamRelay
from techstone.gateway.settlement import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.core.chat import ChatRequest
    from techstone.core.snapshot import Provider
    from techstone.gateway.admission import Admission, Doorkeeper
    from techstone.gateway.dispatch import Dispatch
    from techstone.gateway.exchange import Exchange
    from techstone.gateway.ports import Answer
    from techstone.gateway.settlement import Settlement


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
        tally = Tally(request.prompt_tokens)
        attempt = Attempt()
        outcome = Outcome(stream=request.stream)
        try:
            if request.stream:
                await self._stream(exchange, request, admission, (tally, attempt, outcome))
            else:
                await self._whole(exchange, request, admission, (tally, attempt, outcome))
        except ApiError as error:
            outcome.status = error.status
            outcome.error_code = error.code or error.type
            raise
        finally:
            self._settlement.settle(exchange, request.model, tally, attempt, outcome)

    async def _whole(
        self,
        exchange: Exchange,
        request: ChatRequest,
        admission: Admission,
        books: tuple[Tally, Attempt, Outcome],
    ) -> None:
        tally, attempt, outcome = books
        model = request.model
        fallback = self._fallback(exchange)

        def encode(provider: Provider, name: str) -> bytes:  # noqa: ARG001 - dialects differ by provider
            return chat.encode(request, name)

        async def prepare(answer: Answer) -> bytes:
            return await relay.read_whole(answer, model, fallback, tally)

        opened = await self._dispatch.open(admission, exchange.request_id, encode, prepare, attempt)
        outcome.status = 200
        outcome.error_code = None
        outcome.delivered = True
        outcome.first_byte = exchange.wire.loop.time()
        exchange.send_json(200, opened.prepared, self._headers(exchange, attempt, outcome.first_byte))

    async def _stream(
        self,
        exchange: Exchange,
        request: ChatRequest,
        admission: Admission,
        books: tuple[Tally, Attempt, Outcome],
    ) -> None:
        tally, attempt, outcome = books
        request_id, created = self._fallback(exchange)
        options = Options(request.model, request.include_usage, request_id, created)
        current: StreamRelay | None = None

        def encode(provider: Provider, name: str) -> bytes:  # noqa: ARG001 - dialects differ by provider
            return chat.encode(request, name)

        def begin() -> bytes:
            attempt.work()
            return self._headers(exchange, attempt, exchange.wire.loop.time())

        async def prepare(answer: Answer) -> StreamRelay:
            nonlocal current
            current = StreamRelay(exchange, options, tally, begin)
            try:
                await current.prepare(answer)
            finally:
                if not current.stream.done:
                    answer.close()
            return current

        try:
            opened = await self._dispatch.open(admission, exchange.request_id, encode, prepare, attempt)
        finally:
            if current is not None and current.first_byte:
                outcome.first_byte = current.first_byte
                outcome.delivered = True
        if not opened.prepared.complete:
            opened.breaker.fail(exchange.wire.loop.time())
            raise opened.prepared.error()
        outcome.status = 200
        outcome.error_code = None
        outcome.delivered = True
        opened.prepared.finish()

    def _fallback(self, exchange: Exchange) -> tuple[str, int]:
        """Return the id and creation time for an upstream that gives none."""
        return "chatcmpl-" + exchange.request_id[4:].decode(), int(self._wall_clock())

    @staticmethod
    def _headers(exchange: Exchange, attempt: Attempt, now: float) -> bytes:
        """Return the header lines of a chat answer."""
        return b"openai-version: 2020-10-01\r\nopenai-processing-ms: %d\r\nx-techstone-served-by: %b\r\n" % (
            int((now - exchange.started) * 1000),
            f"{attempt.provider}/{attempt.model}".encode("ascii", "replace"),
        )
