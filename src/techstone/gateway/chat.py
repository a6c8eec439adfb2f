"""POST /v1/chat/completions: the one way that a chat request walks through the house."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from techstone.core import chat, completion, money, pricing, refusals, replicas
from techstone.core.dialects import engine
from techstone.core.errors import ApiError
from techstone.core.reservation import STEP
from techstone.core.splice import Options
from techstone.core.tally import Tally
from techstone.gateway import relay
from techstone.gateway.admission import Doorkeeper
from techstone.gateway.dispatch import Attempt, Dispatch
from techstone.gateway.idempotency import Claimed, Idempotency, replay
from techstone.gateway.ports import LimitStore, StoredAnswer
from techstone.gateway.relay import StreamRelay
from techstone.gateway.settlement import Account, Settlement
from techstone.gateway.soon import arrive
from techstone.gateway.transcripts import Transcripts
from techstone.gateway.translation import Restored

if TYPE_CHECKING:
    from techstone.core.chat import ChatRequest
    from techstone.core.limits import Grant, Refusal
    from techstone.core.snapshot import Provider
    from techstone.gateway.admission import Candidate
    from techstone.gateway.exchange import Exchange
    from techstone.gateway.ports import Answer
    from techstone.gateway.settlement import Bill

_TRUE = msgspec.Raw(b"true")
# The built-in engine is llama.cpp, too: what is asked and answered otherwise there is the same.
_LLAMA = frozenset(("engine", "llama.cpp"))
_BOUNDLESS = 1 << 62
# So many tokens before what is reserved is used up, more is asked for.
_MARGIN = 128


class Desk(msgspec.Struct, frozen=True):
    """Whom a chat request passes on its way. `wall_clock` is in unix seconds."""

    doorkeeper: Doorkeeper
    limits: LimitStore
    dispatch: Dispatch
    settlement: Settlement
    idempotency: Idempotency
    transcripts: Transcripts
    wall_clock: Callable[[], float]


class ChatCompletions:
    """The endpoint."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def create(self, exchange: Exchange) -> None:
        """Answer a chat request, whole or as a stream."""
        desk = self._desk
        request = chat.read(exchange.body)  # 400
        candidate = desk.doorkeeper.judge(exchange, request)  # 404 403
        claimed: Claimed | None = None
        if b"idempotency-key" in exchange.headers:
            now = int(desk.wall_clock() * 1000)
            found = await desk.idempotency.claim(exchange, candidate.principal.account.id, now)  # 400 409 503
            if isinstance(found, StoredAnswer):
                replay(exchange, found)
                return
            claimed = found
        said = exchange.body if candidate.principal.key.keeps else b""
        exchange.body = b""
        call: _ChatCall | None = None
        try:
            desk.settlement.require()  # 503
            grant = await desk.doorkeeper.admit(exchange, candidate)  # 429
            call = _ChatCall(exchange, request, candidate, grant, desk)
            call.claimed = claimed
            call.keeps = bool(said)
            if request.stream:
                await self._stream(call, candidate)
            else:
                # Nothing of a whole answer leaves before it is settled.
                whole = await desk.dispatch.open(candidate, call, call.account.attempt)
                now_in = call.account.first_byte = exchange.wire.loop.time()
                bill = await arrive(desk.settlement.price(call.account))
                cost = money.show(bill.cost)
                body = call.told = completion.put_usage(whole, bill.usage, cost)
                await desk.settlement.settle(call.account, bill, call.keep(body, bill) if claimed is not None else None)
                exchange.send_json(200, body, call.headers(now_in, cost))
        except ApiError as error:
            error.model = candidate.model.name
            if call is not None:
                call.account.fail(error.status, error.code or error.type)
            raise
        except Exception:
            if call is not None:
                call.account.fail(500, "internal_error")
            raise
        finally:
            if call is not None and exchange.record is None:
                desk.settlement.close(call.account)
            if claimed is not None:
                desk.idempotency.release(claimed)
            if call is not None and said:
                desk.transcripts.take(
                    call.exchange.request_id, candidate.principal.key, call.account.at, said, call.told
                )

    async def _stream(self, call: _ChatCall, candidate: Candidate) -> None:
        """Relay a stream; its end is held back until it is settled."""
        settlement, account = self._desk.settlement, call.account
        try:
            await self._desk.dispatch.open(candidate, call, account.attempt)
        finally:
            stream = call.relay
            if stream is not None and stream.first_byte:
                account.first_byte = stream.first_byte
        if stream is None or not stream.complete:
            if stream is not None and stream.refused is not None:
                raise stream.refused
            account.attempt.fail(call.exchange.wire.loop.time())
            raise relay.explain(stream)
        stream.start()
        account.first_byte = stream.first_byte
        settlement.end(account)
        bill = await arrive(settlement.price(account))
        last = stream.last(bill.shown)
        call.told = stream.kept + last
        await settlement.settle(account, bill, call.keep(call.told, bill))
        exchange = call.exchange
        exchange.finish(last)


class _ChatCall:
    """One chat request on its way: what dispatch sends to an upstream, and makes of its answer."""

    __slots__ = (
        "_adapted",
        "_candidate",
        "_desk",
        "_reservation",
        "account",
        "claimed",
        "exchange",
        "keeps",
        "relay",
        "request",
        "told",
    )

    def __init__(
        self, exchange: Exchange, request: ChatRequest, candidate: Candidate, grant: Grant, desk: Desk
    ) -> None:
        self.exchange = exchange
        self.request = request
        self.account = Account(
            exchange,
            request.model,
            request.stream,
            grant,
            candidate.price,
            Tally(request.estimate),
            Attempt(),
            int(desk.wall_clock() * 1000),
        )
        self.relay: StreamRelay | None = None
        self.claimed: Claimed | None = None
        self.keeps = False  # what is said and told is kept for the project
        self.told = b""
        self._candidate = candidate
        self._reservation = candidate.reservation
        self._adapted: engine.Request | None = None
        self._desk = desk

    @property
    def request_id(self) -> bytes:
        """What the upstream is told as `x-request-id`."""
        return self.exchange.request_id

    def fingerprint(self) -> int:
        """Return what the conversation is known by where its provider has several replicas."""
        candidate = self._candidate
        return replicas.fingerprint(candidate.model.name, candidate.principal.account.id, self.request.messages)

    def encode(self, provider: Provider, model: str) -> bytes:
        """Return the body for a provider that knows the model by that name."""
        request = self.request
        if self._reservation.enforced:
            request.max_tokens = self._reservation.output
            request.limited_by = _name_limit(provider)
        if provider.kind in _LLAMA:
            self._adapted = adapted = engine.adapt(request.fields, request.n)
            return chat.encode_adapted(request, adapted.fields, model, stream=request.stream and not adapted.whole)
        self._adapted = None
        return chat.encode(request, model)

    async def prepare(self, answer: Answer) -> bytes:
        """Return the whole answer for the client, or relay the stream to its end (then nothing is left to return)."""
        exchange, request = self.exchange, self.request
        if self.account.attempt.count > 1:
            self.account.tally = Tally(request.estimate)  # nothing of a route that failed before is counted
        if not request.stream:
            return await relay.read_whole(self._translate(answer), request.model, self._name_answer, self.account.tally)
        options = Options(request.model, request.include_usage, *self._name_answer())
        self.relay = current = StreamRelay(exchange, options, self.account.tally, self._begin)
        current.ration(self._room(), self._stretch)
        if self.claimed is not None or self.keeps:
            current.keep()
        try:
            await current.prepare(self._translate(answer))
        finally:
            if self.keeps:
                self.told = current.kept  # so far; the end comes to a stream that has one
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
        self.account.attempt.succeed()
        self._desk.settlement.begin(self.account)
        return self.headers(self.exchange.wire.loop.time())

    def keep(self, payload: bytes, bill: Bill) -> StoredAnswer | None:
        """Return the answer as it is stored for a replay, where the client sent an Idempotency-Key."""
        if self.claimed is None:
            return None
        request_id = self.exchange.request_id.decode()
        return self.claimed.store(request_id, payload, stream=self.request.stream, at=self.account.at, cost=bill.cost)

    def _room(self) -> int:
        """Return how large the stream's texts may become before it is looked at: a token has at least one byte."""
        reservation = self._reservation
        if reservation.whole and (
            reservation.nano == 0 or reservation.covered >= reservation.tokens - reservation.prompt
        ):
            return _BOUNDLESS
        return reservation.covered

    def _stretch(self, tell: Callable[[int | ApiError], None]) -> None:
        """Tell how large the texts may become now, more being reserved if they need it, or why they may not."""
        reservation, tally = self._reservation, self.account.tally
        counted = tally.counted().completion_tokens
        if counted + _MARGIN >= reservation.covered:
            step = STEP * self.request.n
            tokens = 0 if reservation.whole else step
            nano = pricing.highest(self.account.price, 0, step)
            refusal = self._desk.limits.top_up(self.account.grant, tokens, nano)
            if isinstance(refusal, Future):
                refusal.add_done_callback(lambda done: tell(self._judge(done.result(), step)))
            else:
                tell(self._judge(refusal, step))
        else:
            tell(tally.size + reservation.covered - counted)

    def _judge(self, refusal: Refusal | None, step: int) -> int | ApiError:
        """Return the same, once it is known whether so many tokens more can be had."""
        reservation, tally = self._reservation, self.account.tally
        counted = tally.counted().completion_tokens
        if refusal is None:
            reservation.covered += step
        elif counted >= reservation.covered:
            self._desk.limits.refused(self.account.grant.claim.principal, refusal, self.request.model)
            return refusals.explain(refusal)
        return tally.size + reservation.covered - counted

    def _name_answer(self) -> tuple[str, int]:
        """Return the id and creation time for an upstream that gives none."""
        return "chatcmpl-" + self.exchange.request_id[4:].decode(), int(self._desk.wall_clock())

    def headers(self, now: float, cost: str | None = None) -> bytes:
        """Return the header lines of a chat answer."""
        spent = int((now - self.exchange.started) * 1000)
        served_by = self.account.attempt.served_by
        if cost is None:
            return b"%bopenai-processing-ms: %d\r\n" % (served_by, spent)
        return b"%bopenai-processing-ms: %d\r\nx-techstone-cost: %b\r\n" % (served_by, spent, cost.encode())


def _name_limit(provider: Provider) -> str:
    """Return the field by which a provider is told a bound: OpenAI's reasoning models refuse the old one."""
    host = urlsplit(provider.base_url).hostname or ""
    return "max_completion_tokens" if host.endswith((".openai.com", ".azure.com")) else "max_tokens"
