"""GET /v1/limits through the whole gateway, on real sockets: what is left, and who was refused by what."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from wholes import tell_whole

from techstone.core.pricing import Price
from techstone.core.snapshot import Plan
from techstone.core.view import View
from techstone.wire.limits import ConcurrentLimit, Limits

if TYPE_CHECKING:
    from tests.system.conftest import House, Upstream

_ASKED = b'{"model":"gpt-4o","max_tokens":2,"messages":[{"role":"user","content":"hi"}]}'
_STREAMED = b'{"model":"gpt-4o","stream":true,"max_tokens":100000,"messages":[{"role":"user","content":"hi"}]}'
_CLOSE = b"Connection: close\r\n"
_PLAN = Plan("pro", 60, 150_000, 5, "postpaid")
# $1 a token: sums can be done in the head.
_DOLLAR = Price(1, 0, 10**15, 10**15)


async def _send(house: House, raw: bytes) -> tuple[int, dict[str, str], Any]:
    head, _, body = (await house.send(raw, seconds=5)).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    body = body.removesuffix(b"<closed>")
    return int(lines[0].split()[1]), headers, json.loads(body) if body[:1] == b"{" else body


async def _chat(house: House, body: bytes = _ASKED, key: str | None = None) -> tuple[int, dict[str, str], Any]:
    return await _send(house, house.request(body, key=key, extra=_CLOSE))


def _get(key: str, path: bytes = b"/v1/limits", method: bytes = b"GET") -> bytes:
    return b"%b %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n%b\r\n" % (method, path, key.encode(), _CLOSE)


async def _look(house: House, key: str | None = None) -> Limits:
    status, _, body = await _send(house, _get(key or house.key))
    assert status == 200, body
    return msgspec.convert(body, Limits, strict=True)


def _change(house: House, plan: Plan = _PLAN, *, price: Price | None = None, key: dict[str, Any] | None = None,
            **account: Any) -> None:  # noqa: ANN401 - fields of an account, by name  # fmt: skip
    """Put another snapshot in force, as the control plane would; `key` are fields of the first key."""
    assert house.snapshots.view is not None
    old = tell_whole(house.snapshots.view)
    first, *others = old.keys
    models = old.models if price is None else tuple(msgspec.structs.replace(one, prices=(price,)) for one in old.models)
    house.snapshots.view = View(
        msgspec.structs.replace(
            old,
            plans=(plan,),
            accounts=tuple(msgspec.structs.replace(one, **account) for one in old.accounts),
            keys=(msgspec.structs.replace(first, **key or {}), *others),
            models=models,
        )
    )


def _reasons(found: Limits) -> list[tuple[str, str, str | None, int | None]]:
    return [(refused.axis, refused.scope, refused.model, refused.retry_after) for refused in found.refused]


async def test_what_was_used_is_told_by_the_books_that_decide(house: House) -> None:
    """Requests, tokens as they were settled, slots while they are held; the headers of the answer say the same."""
    _change(house)
    untouched = await _look(house)
    assert (untouched.plan, untouched.key, untouched.credit, untouched.caps) == ("pro", None, None, [])
    assert (untouched.account.requests.used, untouched.account.requests.reset_seconds) == (0, 0.0)
    await _chat(house)
    await _chat(house)
    status, headers, body = await _send(house, _get(house.key))
    requests, tokens = body["account"]["requests"], body["account"]["tokens"]
    assert (status, body["object"], body["account"]["concurrent"]) == (200, "limits", {"limit": 5, "used": 0})
    assert 55 < requests.pop("reset_seconds") <= 60
    assert 55 < tokens.pop("reset_seconds") <= 60
    assert requests == {"limit": 60, "used": 2, "remaining": 58}
    assert tokens == {"limit": 150_000, "used": 22, "remaining": 149_978}, "the upstream's 9 and 2, twice"
    for what, told in (("requests", requests), ("tokens", tokens)):
        assert int(headers[f"x-ratelimit-limit-{what}"]) == told["limit"]
        assert int(headers[f"x-ratelimit-remaining-{what}"]) == told["remaining"]


async def test_looking_takes_nothing_and_asks_nobody(house: House) -> None:
    """On a plan of one request a minute: a hundred looks, with and without /v1, and the request is still there."""
    _change(house, Plan("pro", 1, 1000, 1, "postpaid"))
    for path in (b"/v1/limits", b"/limits") * 50:
        status, headers, _ = await _send(house, _get(house.key, path))
        assert (status, headers["x-ratelimit-remaining"]) == (200, "1")
    assert (await _send(house, _get(house.key, method=b"HEAD")))[2] == b""
    assert house.upstream.received == []
    assert house.books.records == []
    assert (await _chat(house))[0] == 200
    assert (await _look(house)).refused == []


async def test_running_stream_holds_a_slot_and_its_reservation(house: House) -> None:
    """Both are told while it runs, and gone when it was given up."""
    _change(house)
    asked = asyncio.Event()
    house.upstream.behave = _Stall(asked)
    _, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(house.request(_STREAMED))
    await asyncio.wait_for(asked.wait(), 5)
    running = (await _look(house)).account
    assert (running.concurrent.used, running.requests.used) == (1, 1)
    assert running.tokens.used > 100_000
    writer.transport.abort()
    async with asyncio.timeout(5):
        while house.limits.running:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)
    ended = (await _look(house)).account
    assert (ended.concurrent.used, ended.requests.used, ended.tokens.used) == (0, 1, 0)


async def test_refusals_are_told_newest_first_with_what_the_client_was_told(house: House) -> None:
    """Which limit, whose, for which model, by which key, and when to come back; the time is that of the refusal."""
    _change(house, Plan("pro", 1, 200, 5, "postpaid"), key={"hint": "ts_live_...abcd"})
    before = time.time()
    too_large = await _chat(house, _ASKED.replace(b":2", b":500"))
    assert (await _chat(house))[0] == 200
    too_many = await _chat(house)
    other = await _chat(house, _ASKED.replace(b"gpt-4o", b"closed"), house.limited)
    assert [answer[0] for answer in (too_large, too_many, other)] == [429] * 3
    found = await _look(house)
    assert _reasons(found) == [
        ("requests", "account", "closed", int(other[1]["retry-after"])),
        ("requests", "account", "gpt-4o", int(too_many[1]["retry-after"])),
        ("tokens", "account", "gpt-4o", None),
    ]
    assert "retry-after" not in too_large[1]
    assert [refused.key_hint for refused in found.refused] == ["ts_live_…", "ts_live_...abcd", "ts_live_...abcd"]
    times = [before, *(refused.at for refused in reversed(found.refused)), time.time()]
    assert times == sorted(times)
    assert (await _look(house, house.limited)).refused == found.refused, "they are the account's"


async def test_key_with_limits_of_its_own_is_told_them_and_another_is_not(house: House) -> None:
    """Beside those of the account, and with what this key alone used; null each where it has none."""
    _change(house, key={"rpm": 1, "concurrent": 2})
    assert (await _chat(house))[0] == 200
    assert (await _chat(house))[0] == 429
    found = await _look(house)
    assert found.key is not None
    assert found.key.requests is not None
    assert (found.key.requests.limit, found.key.requests.used, found.key.requests.remaining) == (1, 1, 0)
    assert (found.key.tokens, found.key.concurrent) == (None, ConcurrentLimit(2, 0))
    assert (found.account.requests.limit, found.account.requests.remaining) == (60, 59)
    assert _reasons(found)[0][:2] == ("requests", "key")
    other = await _look(house, house.limited)
    assert (other.key, other.account.requests.remaining) == (None, 59)


async def test_money_is_told_with_what_refused(house: House) -> None:
    """Credit and caps in USD; of several reasons the one that the client was told."""
    prepaid = Plan("pro", 60, 150_000, 5, "prepaid")
    _change(house, prepaid, price=_DOLLAR, granted=40 * 10**9, key={"daily_cap": 25 * 10**9})
    assert (await _chat(house))[0] == 200
    found = await _look(house)
    assert found.credit == "29.00"
    assert [msgspec.to_builtins(cap) for cap in found.caps] == [
        {"scope": "key", "period": "day", "limit": "25.00", "spent": "11.00", "remaining": "14.00"}
    ]
    assert (await _chat(house))[0] == 429
    _change(house, prepaid, price=_DOLLAR, granted=11 * 10**9)
    assert (await _chat(house))[0] == 429
    assert _reasons(await _look(house)) == [
        ("credit", "account", "gpt-4o", None),
        ("daily_cap", "key", "gpt-4o", None),
    ]
    assert (await _look(house)).credit == "0.00"


async def test_stream_that_was_ended_for_a_limit_is_one_refusal(house: House) -> None:
    """It was admitted, ran until no more could be reserved, and was refused then; no sooner and no more often."""
    _change(house, Plan("pro", 60, 4000, 5, "postpaid"))
    house.upstream.behave = _stream_for_ever
    status, _, body = await _chat(house, _STREAMED.replace(b',"max_tokens":100000', b""))
    assert (status, b"rate_limit_exceeded" in body) == (200, True)
    (refused,) = (await _look(house)).refused
    assert (refused.axis, refused.scope, refused.model) == ("tokens", "account", "gpt-4o")


async def test_flood_is_told_without_a_model_and_does_not_hide_the_limits(house: House) -> None:
    """Who sends ten times the plan is refused unread, and may still look why; looking is no flood."""
    _change(house, Plan("pro", 1, 1000, 5, "postpaid"))
    for _ in range(12):
        status, headers, _ = await _chat(house, b"{")
    assert status == 429
    found = await _look(house)
    assert _reasons(found)[0] == ("flood", "account", None, int(headers["retry-after"]))
    assert {refused.axis for refused in found.refused} == {"flood"}


@pytest.mark.parametrize(
    ("method", "authorization", "status"),
    [
        (b"GET", b"", 401),
        (b"GET", b"Authorization: Bearer ts_live_wrong\r\n", 401),
        (b"POST", b"Content-Length: 0\r\n", 405),
    ],
)
async def test_nobody_else_learns_anything(house: House, method: bytes, authorization: bytes, status: int) -> None:
    """Without a valid key it is 401, and there is nothing to be posted."""
    raw = b"%b /v1/limits HTTP/1.1\r\nHost: x\r\n%b%b\r\n" % (method, authorization, _CLOSE)
    found, headers, body = await _send(house, raw)
    assert found == status
    assert set(body) == {"error"}
    assert "x-ratelimit-remaining" in headers


_CHUNK = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"up","choices":[{"index":0,"delta":%b,'
    b'"logprobs":null,"finish_reason":null}]}\n\n'
)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_FIRST = _CHUNK % b'{"role":"assistant","content":""}'
_WORD = _CHUNK % b'{"content":" word"}'


def _frame(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class _Stall:
    """Begin a stream, say so, and never end it."""

    def __init__(self, begun: asyncio.Event) -> None:
        self._begun = begun

    async def __call__(self, _: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_HEAD + _frame(_FIRST))
        await writer.drain()
        self._begun.set()
        await reader.read(1)


async def _stream_for_ever(_: Upstream, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + _frame(_FIRST))
    while True:
        writer.write(_frame(_WORD) * 20)
        await writer.drain()
        await asyncio.sleep(0)
