"""L-7: `X-RateLimit-*` and `Retry-After` on every answer are true, and a client that obeys them is served."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import openai
import pytest
from client import Answer, ask, connect, post
from customers import make_key, open_account
from haste import LONG
from puppet import Puppet, compose, configure, describe_model, describe_plan
from service import Service, serving, wait_until

from techstone.adapters.limits.memory import MemoryLimits
from techstone.control.keys.records import NewKey
from techstone.core.errors import RateLimited
from techstone.core.pricing import FREE
from techstone.core.reservation import Reservation
from techstone.core.snapshot import Account, Key, Model, Plan, Snapshot
from techstone.core.view import View, make_principal
from techstone.gateway.admission import Candidate, Doorkeeper
from techstone.gateway.exchange import Exchange
from techstone.gateway.head import NO_HEAD
from techstone.gateway.quota import Quota

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from techstone.gateway.exchange import Wire
    from techstone.gateway.ports import Snapshots

# The long run is `make torture`'s.
SEED = int(os.environ.get("SEED", "1"))
RPM = 40


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, upstream: Puppet) -> Iterator[Service]:
    configuration = configure(
        upstream.url,
        *map(describe_model, ("heads", "obeyed", "closed")),
        describe_plan("few", 3, rpm=RPM),
        describe_plan("slow", 3, rpm=4),
    )
    with serving(tmp_path_factory.mktemp("headers"), configuration) as running:
        yield running


class Headers:
    """What both headers must say: of an account by the upstream's count, of a stranger by that of his bad keys."""

    def __init__(self, service: Service, upstream: Puppet) -> None:
        self.service = service
        self.upstream = upstream
        self.seen: Counter[int] = Counter()
        self.strangers = 0

    async def expect(self, status: int, raw: bytes, *, known: bool = True) -> Answer:
        """Ask; `known` says that the answer goes to somebody whose key was read."""
        answer = await ask(self.service, raw)
        self.strangers += status == 401 and b"Bearer ts_live" in raw
        self.check(status, answer, RPM - self.upstream.count("calls", "heads") if known else 20 - self.strangers)
        assert known == ("x-ratelimit-remaining-tokens" in answer.headers)
        return answer

    def check(self, status: int, answer: Answer, left: int) -> None:
        headers = answer.headers
        assert (answer.status, int(headers["x-ratelimit-remaining"])) == (status, left), answer
        assert 0 <= int(headers["x-ratelimit-reset"]) <= 60
        assert ("retry-after" in headers) == (status in {409, 429, 503})
        if status == 429:
            assert headers["retry-after"] == headers["x-ratelimit-reset"]
        self.seen[status] += 1


async def test_every_answer_tells_what_is_left(service: Service, upstream: Puppet) -> None:
    """L-7: both headers on every answer of every status, streamed, replayed or not; what is left is what was called."""
    email, key = await asyncio.to_thread(open_account, service, "few")
    closed = await asyncio.to_thread(make_key, service, NewKey(email, models=("closed",)))
    heads = Headers(service, upstream)
    wait_until(lambda: service.get("/healthz")[2]["x-ratelimit-remaining"] == "20", 61)
    late = [asyncio.ensure_future(ask(service, part)) for part in (b"POST", post(key, b"{}")[:-1]) if LONG]
    for stream in (False, True):
        await _expect_by_body(heads, key, closed, stream=stream)
        await _expect_conflict(heads, key, stream=stream)
    await _expect_by_head(heads, key)
    await _expect_crowd(heads, key)
    while upstream.count("calls", "heads") < RPM:
        await heads.expect(200, post(key, compose("heads")))
    for stream in (False, True):
        await heads.expect(429, post(key, compose("heads", stream=stream)))
    for _ in range(20):
        await heads.expect(401, post("ts_live_" + "a" * 46, compose("heads")), known=False)
    await heads.expect(429, post("ts_live_" + "a" * 46, compose("heads")), known=False)
    for answer in await asyncio.gather(*late):  # a head may take 10 s, a body 30
        heads.check(408, answer, 0)
    print(json.dumps({"id": "L-7", "answers": heads.seen.total(), "statuses": dict(sorted(heads.seen.items()))}))


async def _expect_by_body(heads: Headers, key: str, closed: str, *, stream: bool) -> None:
    """Ask what is answered by what the body says."""
    named = f"Idempotency-Key: heads-{stream}"
    wanted = compose("heads", stream=stream)
    await heads.expect(200, post(key, wanted, named))
    replayed = await heads.expect(200, post(key, wanted, named))
    assert replayed.headers["idempotent-replayed"] == "true"
    await heads.expect(400, post(key, wanted | {"max_tokens": 7}, named))
    await heads.expect(400, post(key, wanted | {"temperature": 9}))
    await heads.expect(403, post(closed, wanted))
    await heads.expect(404, post(key, wanted | {"model": "nothing"}))
    for status in (400, 500, 503):
        await heads.expect(status, post(key, compose("heads", stream=stream, fault=str(status))))
    if stream:
        await heads.expect(200, post(key, compose("heads", stream=True, fault="cut")))


async def _expect_conflict(heads: Headers, key: str, *, stream: bool) -> None:
    """Ask for what is being answered."""
    raw = post(key, compose("heads", stream=stream, wait=0.3), f"Idempotency-Key: busy-{stream}")
    running = asyncio.ensure_future(ask(heads.service, raw))
    await _until(lambda: heads.upstream.count("now", "heads") == 1)
    await heads.expect(409, raw)
    assert (await running).whole


async def _expect_by_head(heads: Headers, key: str) -> None:
    """Ask what is answered by what the head says."""
    bearer = b"GET %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key.encode() + b"\r\n\r\n"
    await heads.expect(200, bearer % b"/v1/models")
    await heads.expect(404, bearer % b"/v1/models/nothing")
    await heads.expect(200, bearer % b"/v1/limits")
    await heads.expect(200, post(key, compose("heads"), path="/v1/estimate"))
    await heads.expect(400, post(key, b"{"))
    await heads.expect(415, post(key, b"{}", "Content-Type: text/plain"))
    length, empty = b"Content-Length: 0", post(key, b"")
    await heads.expect(413, empty.replace(length, b"Transfer-Encoding: chunked") + b"fffffff\r\n")
    await heads.expect(413, empty.replace(length, b"Content-Length: 99999999"), known=False)
    for status, start in (
        (431, b"GET /v1/models HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 40_000),
        (400, b"GET /v1/models HTTP/1.1\r\n\r\n"),
        (405, b"PUT /v1/chat/completions HTTP/1.1\r\nHost: x\r\n\r\n"),
        *((status, b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path) for path, status in _PATHS.items()),
    ):
        await heads.expect(status, start, known=False)


_PATHS = {b"/v1/models": 401, b"/v1/x": 404, b"/x": 404, b"/": 302, b"/docs": 200, b"/healthz": 200, b"/metrics": 200}


async def _expect_crowd(heads: Headers, key: str) -> None:
    """Ask while all slots are taken."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            _, writer = await stack.enter_async_context(connect(heads.service))
            writer.write(post(key, compose("heads", stream=True, pause=30)))
        await _until(lambda: heads.upstream.count("now", "heads") == 3)
        for stream in (False, True):
            await heads.expect(429, post(key, compose("heads", stream=stream)))
    await _until(lambda: heads.upstream.count("now", "heads") == 0)


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - what is waited for is another process's
            await asyncio.sleep(0.005)


class Desk:
    """The doorkeeper on a clock that is moved, for one customer; answers with a status and the headers as sent."""

    peer, secure = "", False  # as `Wire`

    def __init__(self, rpm: int, tpm: int, key_rpm: int | None) -> None:
        self.now = 1000.0
        self.admitted: list[float] = []
        plan, key = Plan("p", rpm, tpm, 5, "postpaid"), Key("k", "0" * 64, "a", "n", "h", rpm=key_rpm)
        self.principal = make_principal(key, Account("a", "a@x", "p"), plan)
        self._rpm = min(rpm, key_rpm or rpm)
        self._limits = MemoryLimits(lambda: self.now, lambda: self.now)
        self._view = View(Snapshot(1))
        quota = Quota(self._limits, lambda: self.now)
        self._doorkeeper = Doorkeeper(cast("Snapshots", None), self._limits, quota, lambda: self.now)

    async def ask(self, tokens: int) -> tuple[int, dict[str, int]]:
        reservation = Reservation(0, None, False, tokens, tokens, 0, whole=True)
        candidate = Candidate(self.principal, Model("m", ()), self._view, FREE, reservation)
        exchange = Exchange(cast("Wire", self), NO_HEAD, b"%f" % self.now, self.now)
        refused: list[tuple[bytes, bytes]] = []
        try:
            grant = await self._doorkeeper.admit(exchange, candidate)
        except RateLimited as error:
            refused = error.headers()
        else:
            self._limits.settle(grant, tokens, 0)
            self.admitted.append(self.now)
        lines = (line.split(b": ") for line in exchange.limits.split(b"\r\n")[:-1])
        headers = {name.decode(): int(value) for name, value in [*lines, *refused] if value.isdigit()}
        counted = sum(at + 60 > self.now for at in self.admitted)
        assert headers["x-ratelimit-remaining"] == self._rpm - counted
        return (429 if refused else 200), headers


@pytest.mark.parametrize("rule", ["x-ratelimit-reset", "retry-after-ms", "retry-after"])
@pytest.mark.parametrize(("rpm", "tpm", "key_rpm"), [(3, 10_000, None), (60, 10_000, None), (60, 10_000, 7)])
async def test_client_that_obeys_is_not_refused_again(rule: str, rpm: int, tpm: int, key_rpm: int | None) -> None:
    """L-7, ten virtual minutes: who waits for Reset once nothing remains is never refused, no other twice in a row."""
    desk, chance = Desk(rpm, tpm, key_rpm), random.Random(SEED)
    statuses, tokens = [], 500
    while desk.now < 1600:
        status, headers = await desk.ask(tokens)
        statuses.append(status)
        none_left = not headers["x-ratelimit-remaining"] or headers["x-ratelimit-remaining-tokens"] < 1000
        if status == 429 or (none_left and rule == "x-ratelimit-reset"):
            desk.now += headers[rule] / (1000 if rule.endswith("ms") else 1)
        else:
            desk.now += chance.expovariate(rpm / 30)
        if status == 200:
            tokens = chance.randint(1, 1000)
    twice = sum(pair == (429, 429) for pair in itertools.pairwise(statuses))
    figures = {"id": "L-7 virtual", "rule": rule, "rpm": rpm, "key rpm": key_rpm, "admitted": statuses.count(200)}
    print(json.dumps(figures | {"refused": statuses.count(429), "twice in a row": twice}))
    assert twice == 0
    assert rule != "x-ratelimit-reset" or 429 not in statuses


@pytest.mark.skipif(not LONG, reason="waits through minutes of the real clock")
async def test_official_sdk_and_plain_client_wait_as_told_and_are_served(service: Service) -> None:
    """L-7 on a plan of 4 a minute, real time: openai-python with 2 retries, and one that waits `retry-after-ms`."""
    statuses: dict[str, list[int]] = {"sdk": [], "plain": []}

    async def note(response: Any) -> None:  # noqa: ANN401 - of the HTTP library that the SDK brings
        statuses["sdk"].append(response.status_code)

    async def wait_plainly(key: str) -> None:
        while statuses["plain"].count(200) < 10:
            answer = await ask(service, post(key, compose("obeyed")))
            statuses["plain"].append(answer.status)
            await asyncio.sleep(int(answer.headers.get("retry-after-ms", "0")) / 1000)

    _, official, _, plain = [word for _ in range(2) for word in await asyncio.to_thread(open_account, service, "slow")]
    waiting = asyncio.ensure_future(wait_plainly(plain))
    async with openai.AsyncOpenAI(
        api_key=official,
        base_url=f"{service.url}/v1",
        max_retries=2,
        http_client=openai.DefaultAsyncHttpxClient(event_hooks={"response": [note]}),
    ) as client:
        for _ in range(10):
            await client.chat.completions.create(model="obeyed", messages=[{"role": "user", "content": "{}"}])
    await waiting
    print(json.dumps({"id": "L-7 real", **statuses}))
    for seen in statuses.values():
        assert seen.count(200) == 10
        assert (429, 429) not in itertools.pairwise(seen)
