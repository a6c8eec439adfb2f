"""Limits, credit and idempotency through the whole gateway, on real sockets."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tests.system.conftest import COMPLETION, House, Upstream
from wholes import tell_whole

from techstone.core.pricing import Price
from techstone.core.snapshot import Plan
from techstone.core.view import View
from techstone.gateway.ports import SettlementFailed

if TYPE_CHECKING:
    from collections.abc import Callable

_ASKED = b'{"model":"gpt-4o","max_tokens":2,"messages":[{"role":"user","content":"hi"}]}'
_STREAMED = b'{"model":"gpt-4o","stream":true,"max_tokens":%d,"messages":[{"role":"user","content":"hi"}]}'
# $1 a token: sums can be done in the head.
_DOLLAR = Price(1, 0, 10**15, 10**15)


def _answer(raw: bytes) -> tuple[int, dict[str, str], Any]:
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    body = body.removesuffix(b"<closed>")
    is_json = headers["content-type"] == "application/json"
    return int(lines[0].split()[1]), headers, json.loads(body) if is_json else body


async def _chat(house: House, body: bytes = _ASKED, *, extra: bytes = b"") -> tuple[int, dict[str, str], Any]:
    return _answer(await house.send(house.request(body, extra=extra + b"Connection: close\r\n"), seconds=5))


def _change(house: House, *, plan: Plan | None = None, price: Price | None = None, **account: Any) -> None:  # noqa: ANN401 - fields of an account, by name
    """Put another snapshot in force, as the control plane would."""
    snapshots = house.snapshots
    assert snapshots.view is not None
    old = tell_whole(snapshots.view)
    models = old.models
    if price is not None:
        models = tuple(msgspec.structs.replace(model, prices=(price,)) for model in models)
    accounts = tuple(msgspec.structs.replace(known, **account) for known in old.accounts)
    plans = (plan,) if plan is not None else old.plans
    snapshots.view = View(msgspec.structs.replace(old, plans=plans, accounts=accounts, models=models))


async def test_plan_is_never_exceeded_and_refusals_say_the_true_wait(house: House) -> None:
    """Of 20 at once on a plan of 5 a minute just 5 pass; the others are told of the minute that they must wait."""
    _change(house, plan=Plan("pro", 5, 10_000, 50, "postpaid"))
    answers = await asyncio.gather(*(_chat(house) for _ in range(20)))
    assert sorted(status for status, _, _ in answers) == [200] * 5 + [429] * 15
    assert sorted(int(headers["x-ratelimit-remaining"]) for status, headers, _ in answers if status == 200) == [
        0,
        1,
        2,
        3,
        4,
    ]
    for status, headers, body in answers:
        if status == 429:
            assert 55 <= int(headers["retry-after"]) <= 60
            assert headers["retry-after"] == headers["x-ratelimit-reset"]
            assert 0 <= int(headers["retry-after"]) * 1000 - int(headers["retry-after-ms"]) < 1000
            assert body["error"]["type"] == "rate_limit_error"
            assert body["error"]["code"] == "rate_limit_exceeded"
            assert f"retry after {headers['retry-after']} seconds" in body["error"]["message"]
            assert "5 requests per minute" in body["error"]["message"]
    assert len(house.upstream.received) == 5


async def test_tokens_are_reserved_and_given_back(house: House) -> None:
    """What a request reserved and did not take is there for the next one."""
    _change(house, plan=Plan("pro", 1000, 100, 50, "postpaid"))
    body = b'{"model":"gpt-4o","max_tokens":70,"messages":[{"role":"user","content":"hi"}]}'
    remaining = [int((await _chat(house, body))[1]["x-ratelimit-remaining-tokens"]) for _ in range(2)]
    assert remaining[0] - remaining[1] == 11, "the upstream's 9 and 2, in place of the 70 and more that were reserved"
    refused = await _chat(house, body.replace(b"70", b"700"))
    assert refused[0] == 429
    assert refused[1]["x-should-retry"] == "false", "it would never fit"
    assert "retry-after" not in refused[1]


async def test_slots_are_held_while_a_stream_runs_and_free_at_its_end(house: House) -> None:
    """The sixth of six streams on five slots is refused; once one hung up, its slot is free."""
    _change(house, plan=Plan("pro", 1000, 10**6, 5, "postpaid"))
    house.upstream.behave = _stream_slowly
    streams = [await asyncio.open_connection("127.0.0.1", house.port) for _ in range(5)]
    for reader, writer in streams:
        writer.write(house.request(_STREAMED % 50))
        await reader.readuntil(b"data: ")
    status, headers, body = await _chat(house)
    assert (status, headers["retry-after"]) == (429, "1")
    assert "5 concurrent requests" in body["error"]["message"]
    streams[0][1].transport.abort()
    house.upstream.behave = _answer_whole
    await _until(lambda: house.limits.running == 4)
    assert (await _chat(house))[0] == 200
    for _, writer in streams:
        writer.transport.abort()
    await _until(lambda: house.limits.running == 0)


async def test_credit_is_spent_to_the_last_request_and_never_below(house: House) -> None:
    """M-7: credit for just 7 holds, 50 at once: 7 pass, and nothing is owed."""
    price = Price(1, 0, 0, 10**15)
    _change(house, plan=Plan("pro", 1000, 10**6, 500, "prepaid"), price=price, granted=14 * 10**9)
    answers = await asyncio.gather(*(_chat(house) for _ in range(50)))
    assert sorted(status for status, _, _ in answers) == [200] * 7 + [429] * 43
    refused = next(answer for answer in answers if answer[0] == 429)
    assert refused[2]["error"]["code"] == "insufficient_quota"
    assert (refused[1].get("x-should-retry"), refused[1].get("retry-after")) == (None, "1"), "all of it is held"
    _, headers, _ = await _chat(house)
    assert (headers["x-should-retry"], "retry-after" in headers) == ("false", False), "all of it is spent"
    paid = [record.cost for record in house.books.records if record.state == "settled"]
    assert paid == [2 * 10**9] * 7


async def test_cost_stands_in_usage_and_header(house: House) -> None:
    """USD as a decimal string, the same that is recorded."""
    _change(house, price=_DOLLAR)
    _, headers, body = await _chat(house)
    assert headers["x-techstone-cost"] == body["usage"]["cost"] == "11.00"
    assert house.books.records[-1].cost == 11 * 10**9


async def test_stream_whose_credit_is_used_up_ends_with_an_error_and_is_billed_for_what_came(house: House) -> None:
    """The hold covers the beginning; when no more can be held, an error event ends it, and no [DONE]."""
    plan = Plan("pro", 1000, 10**9, 5, "prepaid")
    _change(house, plan=plan, price=Price(1, 0, 0, 10**15), granted=1500 * 10**9)
    house.upstream.behave = _stream_for_ever
    status, _, body = await _chat(house, _STREAMED % 100_000)
    assert status == 200
    assert b'"code":"insufficient_quota"' in body
    assert b"[DONE]" not in body
    (record,) = house.books.records
    assert record.state == "settled"
    assert 900 < record.completion_tokens <= 1500
    assert record.cost == record.completion_tokens * 10**9
    assert house.limits.running == 0


async def test_same_key_and_body_get_one_answer_that_is_billed_once(house: House) -> None:
    """M-5: of 50 at once one is answered, the others are told to come back, and then get the very same bytes."""
    house.upstream.behave = _answer_late
    key = b"Idempotency-Key: k-1\r\n"
    answers = await asyncio.gather(*(_chat(house, extra=key) for _ in range(50)))
    assert sorted(status for status, _, _ in answers) == [200] + [409] * 49
    conflict = next(headers for status, headers, _ in answers if status == 409)
    assert (conflict["x-should-retry"], conflict["retry-after"]) == ("true", "1")
    first = next(answer for answer in answers if answer[0] == 200)
    again = await _chat(house, extra=key)
    assert again[2] == first[2]
    assert again[1]["idempotent-replayed"] == "true"
    assert again[1]["x-request-id"] == first[1]["x-request-id"]
    assert again[1]["x-techstone-cost"] == first[1]["x-techstone-cost"]
    other = await _chat(house, _ASKED.replace(b"hi", b"ho"), extra=key)
    assert (other[0], other[1]["x-should-retry"]) == (400, "false")
    assert len(house.upstream.received) == 1
    assert sum(record.state == "settled" for record in house.books.records) == 1


async def test_stream_is_replayed_to_its_last_byte(house: House) -> None:
    """Streams are stored as they were sent."""
    house.upstream.behave = _stream_to_the_end
    key = b"Idempotency-Key: k-2\r\n"
    first = await _chat(house, _STREAMED % 50, extra=key)
    again = await _chat(house, _STREAMED % 50, extra=key)
    assert b"[DONE]" in first[2]
    assert _events(first[2]) == _events(again[2])
    assert len(house.upstream.received) == 1


async def test_failed_request_leaves_its_key_free(house: House) -> None:
    """A retry of what failed is a new try."""
    house.upstream.behave = _refuse
    key = b"Idempotency-Key: k-3\r\n"
    assert (await _chat(house, extra=key))[0] == 500
    house.upstream.behave = _answer_whole
    assert (await _chat(house, extra=key))[0] == 200


async def test_interrupted_stream_is_billed_for_what_came_and_nothing_if_nothing_came(house: House) -> None:
    """An upstream that breaks off after content, and one that does before."""
    _change(house, price=_DOLLAR)
    for behave, billed in ((_break_off, True), (_break_before, False)):
        house.upstream.behave = behave
        await _chat(house, _STREAMED % 50)
        record = house.books.records[-1]
        assert record.state == ("settled" if billed else "void")
        assert bool(record.cost) == billed
    assert house.limits.running == 0


async def test_wrong_keys_are_throttled_by_address_and_good_ones_pass(house: House) -> None:
    """After 20 a minute: 429 with the wait; a valid key from the same address is served."""
    guess = "ts_live_" + "a" * 46
    statuses = []
    for _ in range(22):
        raw = await house.send(house.request(_ASKED, key=guess, extra=b"Connection: close\r\n"))
        status, headers, _ = _answer(raw)
        statuses.append(status)
    assert statuses == [401] * 20 + [429] * 2
    assert int(headers["retry-after"]) == int(headers["x-ratelimit-reset"]) > 50
    assert (await _chat(house))[0] == 200


async def test_flood_is_refused_before_its_body_is_read(house: House) -> None:
    """Ten times the plan in a minute: refused on the head, so that the body is not even waited for."""
    _change(house, plan=Plan("pro", 1, 10**6, 5, "postpaid"))
    for _ in range(10):
        await _chat(house, b"{")
    raw = await house.send(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Length: 2000000\r\n\r\n"
        % house.key.encode()
    )
    assert raw.startswith(b"HTTP/1.1 429")
    assert b"10 times your plan" in raw


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", 401),
        (b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"PUT /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET /console HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
    ],
)
async def test_every_answer_has_both_headers(house: House, raw: bytes, status: int) -> None:
    """L-7: errors, unknown URLs, health and forwarded pages included."""
    answer = await house.send(raw)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    lines = [line.partition(b": ")[0].lower() for line in answer.partition(b"\r\n\r\n")[0].split(b"\r\n")]
    assert lines.count(b"x-ratelimit-remaining") == lines.count(b"x-ratelimit-reset") == 1


async def test_plan_change_counts_at_once(house: House) -> None:
    """L-8: the limits of the newest snapshot decide."""
    _change(house, plan=Plan("pro", 1, 10**6, 5, "postpaid"))
    assert [(await _chat(house))[0] for _ in range(2)] == [200, 429]
    _change(house, plan=Plan("pro", 3, 10**6, 5, "postpaid"))
    assert [(await _chat(house))[0] for _ in range(3)] == [200, 200, 429]
    _change(house, rpm=4)
    assert [(await _chat(house))[0] for _ in range(2)] == [200, 429]


async def test_estimate_says_what_a_request_would_take_and_calls_nobody(house: House) -> None:
    """Tokens, the highest price, the limits and the route; nothing is counted, and a refusal is told beforehand."""
    _change(house, plan=Plan("pro", 2, 10**6, 5, "prepaid"), price=_DOLLAR, granted=40 * 10**9)
    raw = house.request(_ASKED, extra=b"Connection: close\r\n").replace(b"/v1/chat/completions", b"/v1/estimate")
    status, headers, body = _answer(await house.send(raw))
    assert (status, headers["x-ratelimit-remaining"]) == (200, "2")
    assert body["object"] == "estimate"
    assert (body["prompt_tokens"], body["max_completion_tokens"]) == (7, 2)
    assert (body["cost"]["prompt"], body["cost"]["maximum"]) == ("7.00", "20.00")
    assert (body["limits"]["remaining_requests"], body["limits"]["credit"]) == (2, "40.00")
    assert body["route"] == [{"provider": "up", "model": "up"}]
    assert body["admissible"]
    _change(house, granted=0)
    _, _, body = _answer(await house.send(raw))
    assert not body["admissible"]
    assert "credit does not cover" in body["refusal"]
    assert house.upstream.received == []
    assert house.books.records == []


_CHUNK = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"up","choices":[{"index":0,"delta":%b,'
    b'"logprobs":null,"finish_reason":%b}]}\n\n'
)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_FIRST = _CHUNK % (b'{"role":"assistant","content":""}', b"null")
_WORD = _CHUNK % (b'{"content":" word"}', b"null")


def _frame(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _answer_whole(_: Upstream, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(COMPLETION), COMPLETION))


async def _answer_late(upstream: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.3)
    await _answer_whole(upstream, reader, writer)


async def _refuse(_: Upstream, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")


async def _stream_slowly(_: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + _frame(_FIRST + _WORD))
    await reader.read(1)


async def _stream_for_ever(_: Upstream, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + _frame(_FIRST))
    while True:
        writer.write(_frame(_WORD))
        await writer.drain()
        await asyncio.sleep(0)


async def _stream_to_the_end(_: Upstream, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(
        _HEAD + b"".join(map(_frame, (_FIRST, _WORD, _WORD, _CHUNK % (b"{}", b'"stop"'), b"data: [DONE]\n\n")))
    )
    writer.write(b"0\r\n\r\n")


async def _break_off(_: Upstream, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + _frame(_FIRST + _WORD + _WORD))
    await writer.drain()
    writer.close()


async def _break_before(_: Upstream, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD)
    await writer.drain()
    writer.close()


def _events(body: bytes) -> bytes:
    """Return a chunked body's data, without the chunks."""
    out = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        out += rest[: int(size, 16)]
        body = rest[int(size, 16) + 2 :]
    return out


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(2):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


async def test_nothing_of_a_route_that_failed_is_billed(house: House) -> None:
    """M-4: the first route sends a usage and breaks off, the second answers: what the second sent is billed."""
    failing = Upstream()
    server = await asyncio.start_server(failing.serve, "127.0.0.1", 0)
    failing.behave = _break_after_usage
    house.upstream.behave = _stream_without_usage
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    assert house.snapshots.view is not None
    old = tell_whole(house.snapshots.view)
    up, down = old.providers
    providers = (up, msgspec.structs.replace(down, base_url=url))
    house.snapshots.view = View(msgspec.structs.replace(old, providers=providers))
    status, _, body = await _chat(house, _STREAMED.replace(b"gpt-4o", b"both") % 50)
    server.close()
    assert (status, b"[DONE]" in body) == (200, True)
    record = house.books.records[-1]
    assert (record.provider, record.attempts, record.completion_tokens) == ("up", 2, 2)


async def test_whole_answer_that_cannot_be_recorded_is_not_owed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client gets 503 and nothing of the answer, also of one that had to be counted: nothing is billed."""
    _change(house, price=_DOLLAR)
    house.upstream.behave = _answer_sloppily

    async def fail(*_: object) -> None:
        raise SettlementFailed("disk full")

    monkeypatch.setattr(house.journal, "commit", fail)
    assert (await _chat(house))[0] == 503
    record = house.books.records[-1]
    assert (record.state, record.cost, house.limits.running) == ("void", 0, 0)


async def _break_after_usage(_: Upstream, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    usage = b'{"prompt_tokens":1000000,"completion_tokens":2000000,"total_tokens":3000000}'
    writer.write(_HEAD + _frame(b'data: {"choices":[],"usage":%b}\n\n' % usage))
    await writer.drain()
    writer.close()


async def _stream_without_usage(_: Upstream, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    pieces = (_FIRST, _WORD, _WORD, _CHUNK % (b"{}", b'"stop"'), b"data: [DONE]\n\n")
    writer.write(_HEAD + b"".join(map(_frame, pieces)) + b"0\r\n\r\n")


async def _answer_sloppily(_: Upstream, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    sloppy = COMPLETION.replace(b'"refusal":null', b'"x":1')
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(sloppy), sloppy))
