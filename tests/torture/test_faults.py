"""M-3: whatever an upstream does, nothing stays reserved, and the bill is what the client received."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal

import pytest
from faults import Fault, Link, Seen, faults
from haste import LONG
from house import House, Upstream, keep_house, keep_house_apart

from techstone.adapters.journal.segments import recover
from techstone.core import errors, keys, money, tokens
from techstone.core.pricing import Price
from techstone.core.snapshot import Account, Key, Model, Plan, Provider, Route, Snapshot
from techstone.core.view import View
from techstone.gateway.settlement import HUNG_UP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from techstone.core.usage import UsageRecord

# The long run is `make torture`'s: 20 times every case.
ROUNDS = 20 if LONG else 1
# Every breaker opens at the fifth failure, and one goes before.
WEIGHED_ROUNDS = 3 if LONG else 1
# The row says 0.5 s: of a machine of its own. `make test` runs beside others, and asks that a time-out ends it.
SLACK_SECONDS = 0.5 if LONG else 10.0
RSS_MB = 16.0
# Those that work; those that wait for a time-out, which take no time of each other.
_AT_ONCE = {False: 8, True: 24}
_LOOK_SECONDS = 0.005
# Nano-dollars a token.
_INPUT, _CACHED, _OUTPUT = 2_000, 500, 10_000
_PRICE = Price(7, 0, _INPUT * 10**6, _OUTPUT * 10**6, cached_input=_CACHED * 10**6)
_PROMPT = tokens.PER_MESSAGE + tokens.PRIMING + tokens.count("hi")
_TYPES = {400: "invalid_request_error", 500: "server_error", 503: "service_unavailable_error"}
_LIMITS = {"insufficient_quota": "insufficient_quota", "rate_limit_exceeded": "rate_limit_error"}


class Call:
    """One case: a model of its own, what its client received, and what is wrong with it."""

    def __init__(self, number: int, fault: Fault, random: Random) -> None:
        self.name = f"c{number}"
        self.fault = fault
        self.random = random
        self.key = keys.compose(number.to_bytes(keys.RANDOM_BYTES, "big"))
        # 127/8 is all this machine: no connection can be another case's.
        self.address = f"127.0.{1 + number // 250}.{1 + number % 250}"
        self.include_usage = random.random() < 0.5
        self.attempts = 0
        self.sent = bytearray()
        self.received = b""
        self.at_last, self.left, self.over = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.began = self.struck = self.ended = 0.0
        self.complaints: list[str] = []

    def request(self) -> bytes:
        asked: dict[str, Any] = {"model": self.name, "messages": [{"role": "user", "content": "hi"}]}
        if self.fault.stream:
            asked |= {"stream": True, "stream_options": {"include_usage": self.include_usage}}
        body = json.dumps(asked)
        return (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.key}\r\n"
            f"Content-Type: application/json\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    async def play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Be the upstream."""
        self.attempts += 1
        link = Link(reader, writer, self.random, self.sent)
        try:
            for step in self.fault.steps:
                self.struck = time.monotonic()
                if step is self.fault.steps[-1]:
                    self.at_last.set()
                if isinstance(step, Seen):
                    await self._have(step.events)
                else:
                    await link.perform(step)
        finally:
            self.left.set()

    async def ask(self, port: int) -> None:
        """Be the client: read to the end, or leave when its time has come."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self.began = self.struck = time.monotonic()
        writer.write(self.request())
        receiving = asyncio.create_task(self._receive(reader))
        try:
            async with asyncio.timeout(20):
                if self.fault.leaves is None:
                    await receiving
                else:
                    await self.at_last.wait()
                    await self._have(self.fault.leaves)
                    receiving.cancel()
                    writer.transport.abort()
                    self.struck = time.monotonic()
                    await self.left.wait()
        except TimeoutError:
            self.check(False, "no end")
        self.ended = time.monotonic()
        self.over.set()
        writer.transport.abort()

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(65536):
            self.received += data

    async def _have(self, events: int) -> None:
        """Wait until the client has so many events."""
        while self.received.count(b"data: ") < events and not self.over.is_set():  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.005)

    def check(self, right: bool, complaint: str) -> None:  # noqa: FBT001 - a condition
        if not right:
            self.complaints.append(f"{self.fault.title}: {complaint}")


class Answer:
    """What a client makes of the bytes that it received."""

    def __init__(self, received: bytes) -> None:
        head, _, body = received.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        self.status = int(lines[0].split()[1]) if received else HUNG_UP
        self.stream = self.headers.get("content-type", "").startswith("text/event-stream")
        self.framed = True
        self.text = ""
        self.error: dict[str, Any] | None = None
        self.usage: dict[str, Any] | None = None
        self.done = self.finished = False
        if self.stream:
            self._read_events(body)
        elif received:
            self._read_whole(body)

    def _read_whole(self, body: bytes) -> None:
        self.framed = len(body) == int(self.headers["content-length"])
        value = json.loads(body)
        self.error = value.get("error")
        if self.error is None:
            self.text = value["choices"][0]["message"]["content"]
            self.usage = value["usage"]
            self.done = self.finished = value["choices"][0]["finish_reason"] == "stop"

    def _read_events(self, body: bytes) -> None:
        data, self.framed = unchunk(body)
        *events, rest = data.decode().split("\n\n")
        self.framed = self.framed and not rest
        for event in events:
            assert self.error is None, "something came behind the error"
            assert not self.done, "something came behind [DONE]"
            if event == "data: [DONE]":
                self.done = True
                continue
            value = json.loads(event.removeprefix("data: "))
            self.error = value.get("error")
            self.usage = value.get("usage") or self.usage
            for choice in value.get("choices", ()):
                self.text += choice["delta"].get("content") or ""
                self.finished = self.finished or choice["finish_reason"] == "stop"


def unchunk(body: bytes) -> tuple[bytes, bool]:
    """Return the data of a chunked body, and whether its end is there."""
    out = b""
    while body:
        size, found, rest = body.partition(b"\r\n")
        length = int(size, 16) if found else len(body)
        if length == 0:
            return out, rest == b"\r\n"
        out += rest[:length]
        body = rest[length + 2 :]
    return out, False


class Stage:
    """The world around the gateway: an upstream for every case, and an internal address that no redirect may reach."""

    def __init__(self, random: Random, wanted: Callable[[Fault], bool]) -> None:
        self._random = random
        self._wanted = wanted
        self._ports: dict[str, int] = {"nobody": 1}
        self.internal = Upstream()
        self.calls: dict[str, Call] = {}
        self.rested: Callable[[], None] = lambda: None  # called when nothing runs

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Stage]:
        upstream = Upstream()
        upstream.behave = self._behave
        with (
            socket.create_server(("0.0.0.0", 0), backlog=0) as full,
            socket.socket() as first,
            socket.socket() as second,
        ):
            # Its queue is full: who connects is not even refused.
            for waiting in (first, second):
                waiting.setblocking(False)
                waiting.connect_ex(full.getsockname())
            internal = await asyncio.start_server(self.internal.serve, "127.0.0.1", 0)
            server = await asyncio.start_server(upstream.serve, "0.0.0.0", 0)
            async with internal, server:
                self._ports |= {"here": _port(server), "full": full.getsockname()[1], "internal": _port(internal)}
                self.set()
                yield self

    def set(self) -> None:
        """Make every case anew, in its place."""
        every = filter(self._wanted, faults(self._random, f"127.0.0.1:{self._ports['internal']}"))
        calls = [Call(number, fault, self._random) for number, fault in enumerate(every)]
        self.calls = {call.name: call for call in calls}

    def url(self, call: Call) -> str:
        return f"http://{call.address}:{self._ports[call.fault.where]}/v1"

    async def play(self, port: int, wanted: Callable[[Fault], bool]) -> None:
        """Ask for every case once: those that can be, at once."""
        calls = [call for call in self.calls.values() if wanted(call.fault)]
        self._random.shuffle(calls)
        for waits, at_once in _AT_ONCE.items():
            gate = asyncio.Semaphore(at_once)
            together = [call for call in calls if not call.fault.alone and bool(call.fault.timeout) == waits]
            await asyncio.gather(*(_ask_behind(gate, call, port) for call in together))
        self.rested()
        for call in calls:
            if call.fault.alone:
                await call.ask(port)
                await asyncio.sleep(0.02)
                self.rested()

    async def _behave(self, upstream: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.calls[json.loads(upstream.received.pop()[1])["model"]].play(reader, writer)


async def _ask_behind(gate: asyncio.Semaphore, call: Call, port: int) -> None:
    async with gate:
        await call.ask(port)


def _port(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


class Watch:
    """Watches for how long others had this process's processor: a busy machine makes nobody late."""

    def __init__(self) -> None:
        self._stalls: list[tuple[float, float]] = []  # when it ended, and its seconds

    async def look(self) -> None:
        wall, worked = time.monotonic(), time.thread_time()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            passed, took = time.monotonic() - wall, time.thread_time() - worked
            wall, worked = wall + passed, worked + took
            if passed - took > 2 * _LOOK_SECONDS:
                self._stalls.append((wall, passed - took - _LOOK_SECONDS))

    def since(self, start: float, end: float) -> float:
        """Return the seconds between two times, without those of others."""
        return end - start - sum(stall for at, stall in self._stalls if start < at <= end + _LOOK_SECONDS)


def _judge(call: Call, records: list[UsageRecord], late: float) -> None:
    """Hold what the client got and what it is billed against the case."""
    fault, answer = call.fault, Answer(call.received)
    call.check(late <= SLACK_SECONDS, f"{late:.2f} s late")
    call.check(call.attempts == (fault.where == "here"), f"asked {call.attempts} times")
    call.check(b"sk-upstream" not in call.received, "the provider's key")
    if fault.leaves is None:
        _judge_answer(call, answer)
    finals = [record for record in records if record.state != "open"]
    call.check(len(finals) == 1 and records[-1] is finals[0], f"{len(finals)} of {len(records)} records end it")
    if finals:
        _judge_bill(call, answer, finals[0])


def _judge_answer(call: Call, answer: Answer) -> None:
    fault = call.fault
    call.check(answer.status == fault.status, f"status {answer.status}, not {fault.status}")
    call.check(answer.framed, "no proper end of the body")
    call.check({"x-ratelimit-remaining", "x-ratelimit-reset"} <= answer.headers.keys(), "no limits in the head")
    call.check(answer.done == fault.whole and (answer.finished or not fault.whole), f"[DONE]: {answer.done}")
    call.check((answer.error is None) == fault.whole, f"error: {answer.error}")
    call.check(("retry-after" in answer.headers) == (answer.status == 503), "retry-after")
    if answer.error is not None:
        call.check(answer.error.keys() == {"type", "code", "message", "param"}, f"form {answer.error}")
        kind = _LIMITS[fault.code] if fault.code else _TYPES[500 if answer.stream else answer.status]
        call.check(answer.error["type"] == kind, f"type {answer.error}")
        call.check(fault.code in {None, answer.error["code"]}, f"code {answer.error}")
        call.check(bool(answer.error["message"]), "no message")


def _judge_bill(call: Call, answer: Answer, record: UsageRecord) -> None:
    fault = call.fault
    words = tokens.count(answer.text)
    prompt, completion, cached = _PROMPT, words, 0
    if fault.whole and fault.usage is not None:
        prompt, completion, cached = fault.usage
    elif fault.leaves is not None and record.completion_tokens > words:
        # What is on its way to a client that leaves is delivered as far as anybody can know.
        completion = min(record.completion_tokens, tokens.count(Answer(bytes(call.sent)).text))
    elif not words:
        prompt = 0
    cost = (prompt - cached) * _INPUT + cached * _CACHED + completion * _OUTPUT
    billed = (record.prompt_tokens, record.completion_tokens, record.cost)
    owed = (prompt, completion, min(cost, fault.granted))
    call.check(billed == owed, f"billed {billed}, owed {owed}")
    call.check(record.state == ("settled" if prompt else "void"), record.state)
    status = fault.status if fault.status != 200 or fault.whole else 429 if fault.code else 500
    call.check(record.status == status, f"status {record.status} in the record")
    call.check(record.id == answer.headers.get("x-request-id", record.id), "another request's record")
    if answer.usage is not None:
        shown = (answer.usage["prompt_tokens"], answer.usage["completion_tokens"], answer.usage["cost"])
        call.check(shown == (*billed[:2], money.show(record.cost)), f"shown {shown}, billed {billed}")
    call.check((answer.usage is not None) == (fault.whole and (not fault.stream or call.include_usage)), "usage")


def _find_leaks(house: House, calls: Iterable[Call]) -> list[str]:
    """Return what is still taken, once everything is over."""
    view, now = house.snapshots.view, time.monotonic()
    assert view is not None
    spent = {record.account: record for record in house.books.records}
    leaks = [f"{house.limits.running} requests run"] if house.limits.running else []
    for call in calls:
        principal = view.principals[keys.digest(call.key.encode())]
        record, standing = spent.get(call.name), house.limits.standing(principal)
        took = record.prompt_tokens + record.completion_tokens if record else 0
        held = call.fault.granted - (record.cost if record else 0) - house.limits.credit(principal)
        slots = house.limits._accounts[call.name].leases.count(now)
        found = (held, standing.limit_tokens - standing.remaining_tokens - took, slots)
        if found != (0, 0, 0):
            leaks.append(f"{call.fault.title}: held {found[0]} nano-dollars, {found[1]} tokens, {found[2]} slots")
    return leaks


def _find_busy(house: House) -> list[str]:
    """Return the upstream connections that still carry a call."""
    upstreams = house.gateway.upstreams
    return [f"a call to {one.answer.call.origin}" for one in upstreams._connections if one.answer is not None]


class Matrix:
    """Rounds of cases, each in a house of its own, and what came of them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._random = Random(seed)
        self.watch = Watch()
        self.cases = 0
        self.latest = 0.0
        self.violations: list[str] = []
        self.leaks: list[str] = []
        self.states: Counter[str] = Counter()

    async def play(self, wanted: Callable[[Fault], bool], spoil: Callable[[House], None] | None = None) -> None:
        """Run every wanted case once."""
        folder = self._folder / f"{self.cases}"
        folder.mkdir()
        async with Stage(self._random, wanted).open() as stage:
            calls = stage.calls.values()
            async with keep_house(folder) as house:
                if spoil is not None:
                    spoil(house)
                house.snapshots.view = _view(stage)
                await stage.play(house.port, _is_any)
                with contextlib.suppress(TimeoutError):
                    await _until(lambda: len(house.books.records) >= len(calls) and not _find_busy(house))
                self.leaks += _find_leaks(house, calls) + _find_busy(house)
                self.violations += [f"defect: {defect!r}" for defect in house.books.defects]
                house.books.defects.clear()
            if stage.internal.connections:
                self.violations.append("a redirect was followed")
        by_account: dict[str, list[UsageRecord]] = {}
        for _, record in recover(folder / "journal", lambda: "").records:
            by_account.setdefault(record.account, []).append(record)
        for call in calls:
            self._judge(call, by_account.get(call.name, []))
        self.cases += len(calls)

    def _judge(self, call: Call, records: list[UsageRecord]) -> None:
        began = call.began if call.fault.timeout == "total" else call.struck
        late = 0.0 if call.fault.whole else self.watch.since(began, call.ended) - call.fault.seconds
        self.latest = max(self.latest, late)
        try:
            _judge(call, records, late)
        except (AssertionError, LookupError, ValueError) as problem:
            call.check(False, f"unreadable: {problem!r}: {call.received[:500]!r}")
        self.violations += call.complaints
        self.states.update(record.state for record in records if record.state != "open")


def _view(stage: Stage, billing: Literal["prepaid", "postpaid"] = "prepaid") -> View:
    """Return a snapshot in which every case has an account of its own."""
    plan = Plan("plan", 100, 10**9, 5, billing)
    calls = stage.calls.values()
    return View(
        Snapshot(
            2,
            (plan,),
            tuple(Account(c.name, c.name, "plan", granted=c.fault.granted, tpm=c.fault.tpm) for c in calls),
            tuple(Key(c.name, keys.digest(c.key.encode()).hex(), c.name, c.name, "ts_live_…") for c in calls),
            tuple(Model(c.name, (Route(c.name, c.name),), prices=(_PRICE,)) for c in calls),
            tuple(Provider(c.name, "openai", stage.url(c), "UP_KEY", timeouts=c.fault.timeouts) for c in calls),
        )
    )


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(2):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


async def _weigh(folder: Path, seed: int) -> float:
    """Return by how many MB a gateway in a process of its own has grown, at the most that it has while it rests."""
    weights: list[int] = []
    async with Stage(Random(seed), lambda fault: not fault.code).open() as stage:
        with keep_house_apart(folder, _view(stage, "postpaid")) as (port, pid):
            for number in range(WEIGHED_ROUNDS + 1):
                stage.set()
                if number == 1:
                    stage.rested = lambda: weights.append(_resident(pid))
                    stage.rested()
                wanted = _is_any if LONG and number else _is_quick
                await stage.play(port, wanted)
                asked = [call for call in stage.calls.values() if wanted(call.fault) and call.fault.where == "here"]
                assert all(call.attempts == 1 for call in asked), "not every fault has struck"
    return (max(weights) - weights[0]) / 1024**2


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * 4096


def _is_quick(fault: Fault) -> bool:
    return fault.timeout is None


def _is_any(_: Fault) -> bool:
    return True


@pytest.mark.parametrize("seed", [int(os.environ.get("SEED", "1"))])
async def test_every_upstream_fault_is_told_released_and_billed_right(tmp_path: Path, seed: int) -> None:
    """Violations 0, leaked 0, no error later than its time-out and 0.5 s, a gateway's memory grown by 16 MB at most."""
    matrix = Matrix(tmp_path, seed)
    looking = asyncio.create_task(matrix.watch.look())
    for _ in range(ROUNDS):
        await matrix.play(lambda _: True)
    looking.cancel()
    grown = await _weigh(tmp_path, seed)
    figures = {
        "id": "M-3", "seed": seed, "cases": matrix.cases, "violations": len(matrix.violations),
        "leaked": len(matrix.leaks), "rss_growth_mb": round(grown, 1), "latest_s": round(matrix.latest, 2),
    }  # fmt: skip
    print(json.dumps(figures))
    assert (matrix.violations, matrix.leaks) == ([], []), figures
    assert grown <= RSS_MB
    assert min(matrix.states["settled"], matrix.states["void"]) > 50 * ROUNDS, matrix.states


def _twice(append: Callable[[UsageRecord], None]) -> Callable[[UsageRecord], None]:
    def record(found: UsageRecord) -> None:
        append(found)
        append(found)

    return record


# What is exchanged in a gateway, and what must be seen of it.
_SPOILT: dict[str, tuple[str, Callable[[House], tuple[object, str, object]]]] = {
    "nothing is given back": ("slots", lambda house: (house.limits, "settle", lambda *_: None)),
    "a bill too high": ("owed", lambda house: (house.limits, "cover", lambda _, cost: cost + 1)),
    "an end recorded twice": ("end it", lambda house: (house.journal, "append", _twice(house.journal.append))),
    "no end recorded": ("end it", lambda house: (house.journal, "append", lambda _: None)),
    "[DONE] behind an error": ("[DONE]: True", lambda _: (errors.ApiError, "body", lambda _: b"{}\n\ndata: [DONE]")),
}


@pytest.mark.parametrize("how", _SPOILT)
async def test_harness_sees_a_spoilt_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """The same cases with one thing broken must violate something, or the harness would be blind."""
    mark, spoil = _SPOILT[how]
    matrix = Matrix(tmp_path, seed=1)
    wanted = {"500", "fin, middle", "good"}
    await matrix.play(lambda fault: fault.name in wanted, lambda house: monkeypatch.setattr(*spoil(house)))
    found = matrix.violations + matrix.leaks
    print(json.dumps({"id": "M-3 control", "spoilt": how, "found": len(found)}))
    assert any(mark in one for one in found), found
