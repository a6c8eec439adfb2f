"""L-4, L-5, L-7, M-5, M-7: slots, headers, keys and credit of `techstone serve`, judged by an upstream that counts.

The upstream is a process of its own, and this very file: run as a script, it serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import pytest
from service import Service, is_running, serving, wait_until

from techstone.adapters.limits.memory import MemoryLimits
from techstone.app.cli.context import perform
from techstone.control.accounts.records import NewAccount
from techstone.control.keys.records import NewKey
from techstone.core.errors import RateLimited
from techstone.core.pricing import FREE
from techstone.core.reservation import Reservation
from techstone.core.snapshot import Account, Key, Model, Plan, Snapshot, View, make_principal
from techstone.gateway.admission import Candidate, Doorkeeper
from techstone.gateway.exchange import Exchange
from techstone.gateway.head import NO_HEAD
from techstone.gateway.quota import Quota

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator

    from techstone.control.accounts.records import AccountShown
    from techstone.control.ledger.records import RequestShown
    from techstone.control.operations import Operations
    from techstone.gateway.exchange import Wire
    from techstone.gateway.ports import Snapshots

_R = TypeVar("_R")

# The long run is `make torture`'s.
LONG = bool(os.environ.get("TORTURE"))
SEED = int(os.environ.get("SEED", "1"))
CROWD = 200
STREAMS = 5000 if LONG else 200
ENDS = 10_000 if LONG else 500
WORKERS = 32
KEYS = 50
HUNG = 2000 if LONG else 100
PAID = 37
RPM = 40

_MODEL = """
[[models]]
name = "%s"
max_output_tokens = 100
price = {input = "%s", output = "1000000"}
routes = [{provider = "%s", model = "%s"}]
"""
_PLAN = """
[plans.%s]
rpm = %d
tpm = 1000000000
concurrent = %d
billing = "prepaid"
"""
_PROVIDER = """
[[providers]]
name = "%s"
base_url = "%s"
timeouts = {first_byte = %s, between_bytes = %s}
"""


def _configure(url: str) -> str:
    """Return a configuration with a model for each test: each has a breaker and a count of its own."""
    names = ("slots-5", "slots-50", "held", "heads", "once", "obeyed", "closed")
    models = [_MODEL % (name, "1", "up", name) for name in names]
    models += [_MODEL % (f"ends-{number}", "1", "hasty", f"ends-{number}") for number in range(WORKERS)]
    # Input is free: what is held for a request is what it costs, if it takes all the tokens that it asked for.
    models.append(_MODEL % ("paid", "0", "up", "paid"))
    plans = [_PLAN % ("five", 10**6, 5), _PLAN % ("fifty", 10**6, 50), _PLAN % ("many", 10**6, CROWD)]
    plans += [_PLAN % ("few", RPM, 3), _PLAN % ("slow", 4, 3)]
    providers = [_PROVIDER % ("up", url, "60.0", "60.0"), _PROVIDER % ("hasty", url, "1.0", "1.0")]
    return "".join([*providers, *models, *plans, "[engine]\nenabled = false\n"])


class Upstream:
    """The other process, as tests see it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"

    def count(self, what: str, model: str) -> int:
        """Return how many requests for a model run (`now`), ran at a time (`most`) or ever came (`calls`)."""
        with urllib.request.urlopen(self.url) as answer:
            return int(json.load(answer)[what].get(model, 0))


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    shared = {"PYTHONPATH": str(Path(__file__).parents[1] / "shared")}
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | shared) as process:
        assert process.stdout is not None
        yield Upstream(int(process.stdout.readline()))
        process.terminate()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("limits"), _configure(upstream.url)) as running:
        yield running


class Customer(NamedTuple):
    """An account with a key."""

    email: str
    key: str


def _operate(service: Service, work: Callable[[Operations], Awaitable[_R]]) -> _R:
    """Do what a command does, without the time that its process takes to start."""
    return perform(str(service.folder / "techstone.toml"), str(service.folder / "data"), work)


def _open_account(service: Service, plan: str, credit: str = "1000000") -> Customer:
    """Return a new account with a key, once this is in force."""
    email = f"{os.urandom(4).hex()}@example.com"
    _operate(service, lambda operations: operations.accounts.create(NewAccount(email, plan, credit)))
    return Customer(email, _make_key(service, NewKey(email)))


def _make_key(service: Service, wanted: NewKey) -> str:
    key = _operate(service, lambda operations: operations.keys.create(wanted)).key
    # Not by trying it, which counts as guessing keys.
    revision = _operate(service, lambda operations: operations.doctor()).revision
    wait_until(lambda: json.loads(service.get("/readyz")[1])["revision"] >= revision)
    return key


class Answer(NamedTuple):
    """What came, and when: its head and its last byte, by the monotonic clock. All in lower case but the body."""

    status: int
    headers: dict[str, str]
    body: bytes
    begun: float
    ended: float

    @property
    def whole(self) -> bool:
        """Whether it is all that was asked for."""
        whole_json = self.headers["content-type"] == "application/json"
        return self.status == 200 and (whole_json or self.body.endswith(b"data: [DONE]\n\n"))


def _script(model: str, *, stream: bool = False, tokens: int = 50, **told: Any) -> dict[str, Any]:  # noqa: ANN401 - for `_Script`, which says what there is
    """Return a chat request that tells the upstream what to do."""
    message = {"role": "user", "content": json.dumps(told)}
    return {"model": model, "stream": stream, "max_tokens": tokens, "messages": [message]}


def _post(key: str, wanted: dict[str, Any] | bytes, *fields: str, path: str = "/v1/chat/completions") -> bytes:
    body = wanted if isinstance(wanted, bytes) else json.dumps(wanted).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {key}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *fields, "", ""]).encode() + body


@contextlib.asynccontextmanager
async def _connect(service: Service) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader) -> Answer:
    """Read one answer to its last byte; raise OSError or EOFError where it breaks off."""
    line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().lower().split("\r\n")
    begun = time.monotonic()
    headers = dict(field.split(": ", 1) for field in fields)
    assert len(headers) == len(fields), "no header comes twice"
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        parts = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readexactly(2)
        body = b"".join(parts)
    return Answer(int(line.split()[1]), headers, body, begun, time.monotonic())


async def _ask(service: Service, raw: bytes) -> Answer:
    async with _connect(service) as (reader, writer):
        writer.write(raw)
        return await _read(reader)


async def _insist(service: Service, raw: bytes) -> Answer:
    """Ask again, as an SDK does but without end, where the connection broke off, and after 409 and 503."""
    while True:
        with contextlib.suppress(OSError, EOFError):
            answer = await _ask(service, raw)
            # 401: where control is slow to come back, a gateway serves by its copy on disk, which may lack the key.
            if answer.status not in {401, 409, 503}:
                return answer
            assert answer.headers.get("x-should-retry") != "false", answer
            await asyncio.sleep(int(answer.headers.get("retry-after-ms", "100")) / 1000)
        await asyncio.sleep(0.02)


async def _gather(coroutines: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    return list(await asyncio.gather(*coroutines))


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST; what waits to be sent is dropped."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _gauge(service: Service, name: str) -> float:
    lines = service.get("/metrics")[1].splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"techstone_{name} "))


def _list_bills(service: Service, customer: Customer) -> list[RequestShown]:
    """Return the settled requests of an account, once all are booked."""
    wait_until(lambda: _gauge(service, "journal_waiting_bytes") == 0)
    records = _operate(service, lambda operations: operations.ledger.list_requests(customer.email, 0))
    return [record for record in records if record.state == "settled"]


def _show(service: Service, customer: Customer) -> AccountShown:
    return _operate(service, lambda operations: operations.accounts.show(customer.email))


def _nano(usd: str) -> int:
    whole, _, part = usd.partition(".")
    return int(whole) * 10**9 + int(part.ljust(9, "0"))


def _percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


class Crowd:
    """200 clients that want streams all the time, and soon ask again when they are refused."""

    def __init__(self, service: Service, key: str, model: str, seconds: float) -> None:
        self._service = service
        self._key = key
        self._model = model
        self._seconds = seconds
        self.begun: list[float] = []
        self.ended: list[float] = []
        self.refused = 0

    async def run(self) -> None:
        await asyncio.gather(*(self._want() for _ in range(CROWD)))

    async def _want(self) -> None:
        async with _connect(self._service) as (reader, writer):
            while len(self.ended) < STREAMS:
                pause = self._seconds * random.uniform(0.2, 1.8) / 4
                writer.write(_post(self._key, _script(self._model, stream=True, words=4, pause=pause)))
                answer = await _read(reader)
                if answer.whole:
                    self.begun.append(answer.begun)
                    self.ended.append(answer.ended)
                else:
                    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
                    self.refused += 1
                    await asyncio.sleep(random.uniform(0.2, 0.4))


@pytest.mark.parametrize(("plan", "slots", "seconds"), [("five", 5, 0.04), ("fifty", 50, 0.25)])
def test_plan_holds_at_any_moment_and_a_slot_is_used_again_at_once(
    service: Service, upstream: Upstream, plan: str, slots: int, seconds: float
) -> None:
    """L-4: the upstream never has more than the plan's streams; from an end to the next admission p99 <= 50 ms."""
    crowd = Crowd(service, _open_account(service, plan).key, f"slots-{slots}", seconds)
    asyncio.run(crowd.run())
    most = upstream.count("most", f"slots-{slots}")
    # Each end makes room for the admission that comes so many places later; it may come before the client read the end.
    pairs = zip(sorted(crowd.ended), sorted(crowd.begun)[slots:], strict=False)
    reused = [max(0.0, begun - ended) * 1000 for ended, begun in pairs]
    figures = {
        "id": "L-4", "plan": slots, "streams": len(crowd.ended), "refused": crowd.refused, "most": most,
        "reuse p50 ms": round(_percentile(reused, 0.5), 1), "reuse p99 ms": round(_percentile(reused, 0.99), 1),
        "reuse max ms": round(max(reused), 1),
    }  # fmt: skip
    print(json.dumps(figures))
    assert most == slots, figures
    if LONG:  # there the machine has nothing else to do, which would decide
        assert _percentile(reused, 0.99) <= 50, figures


class End(NamedTuple):
    """How a request ends: what the upstream is told, whether it is a stream (None: either), what the client does."""

    told: dict[str, Any]
    stream: bool | None
    client: str = "reads"
    within: float = 0.0  # seconds: the client acts at some moment until then

    @property
    def trips(self) -> bool:
        """Whether the route's breaker counts it: after five in a row the upstream would not be asked any more."""
        return self.told.get("fault") in {"500", "503", "reset", "silent"}


ENDINGS = {
    "whole": End({}, stream=False),
    "streamed": End({"pause": 0.002}, stream=True),
    "refused by the upstream": End({"fault": "400"}, stream=None),
    "upstream error": End({"fault": "500"}, stream=None),
    "upstream busy": End({"fault": "503"}, stream=None),
    "upstream reset": End({"fault": "reset"}, stream=None),
    "upstream cut off": End({"fault": "cut"}, stream=True),
    "upstream silent": End({"fault": "silent"}, stream=None),
    "upstream stalled": End({"fault": "stall"}, stream=True),
    "reset before the head": End({"wait": 0.05}, None, "resets", 0.04),
    "reset in the stream": End({"words": 20, "pause": 0.005}, True, "resets after the head", 0.1),
    "closed in the stream": End({"words": 20, "pause": 0.005}, True, "closes after the head", 0.1),
    "half-closed": End({"words": 5, "pause": 0.005}, None, "half-closes", 0.05),
    "reset at any moment": End({"pause": 0.002}, None, "resets", 0.02),
    "closed at any moment": End({"pause": 0.002}, None, "closes", 0.02),
    "reset in its body": End({}, None, "sends a part", 0.01),
    "never read": End({"words": 5000}, True, "never reads", 0.05),
}  # fmt: skip


class Ender:
    """Asks and ends, for a model of its own, so that nobody else's failures open its breaker."""

    def __init__(self, service: Service, key: str, number: int) -> None:
        self._service = service
        self._key = key
        self._model = f"ends-{number}"
        self._chance = random.Random(SEED * 1000 + number)
        self.ended: Counter[str] = Counter()
        self.named: list[bytes] = []

    async def run(self, turns: Iterator[int]) -> None:
        """Take turns with the others, as long as there are any."""
        for _ in turns:
            name = self._chance.choice(list(ENDINGS))
            await self._end(name)
            if ENDINGS[name].trips:
                await self._end("whole")

    async def _end(self, name: str) -> None:
        end, chance = ENDINGS[name], self._chance
        self.ended[name] += 1
        stream = chance.random() < 0.5 if end.stream is None else end.stream
        wanted = _script(self._model, stream=stream, tokens=max(50, end.told.get("words", 0)), **end.told)
        if chance.random() < 0.3:
            raw = _post(self._key, wanted, f"Idempotency-Key: {self._model}-{self.ended.total()}")
            self.named.append(raw)
        else:
            raw = _post(self._key, wanted)
        async with _connect(self._service) as (reader, writer):
            await self._act(end, raw, reader, writer)

    async def _act(self, end: End, raw: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        moment = self._chance.random() * end.within
        if end.client == "never reads":
            cast("asyncio.ReadTransport", writer.transport).pause_reading()
        writer.write(raw[: self._chance.randrange(len(raw))] if end.client == "sends a part" else raw)
        if end.client == "reads":
            answer = await _read(reader)
            assert answer.whole == ("fault" not in end.told), answer
            return
        if end.client.endswith("after the head"):
            await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(moment)
        if end.client == "half-closes":
            writer.write_eof()
            with contextlib.suppress(OSError):
                await reader.read()
        elif not end.client.startswith("closes"):
            _reset(writer)


def test_slots_and_credit_come_back_however_a_request_ends(service: Service, upstream: Upstream) -> None:
    """L-5: no way to end keeps a slot, credit, a request of the upstream's or an Idempotency-Key."""
    customer = _open_account(service, "fifty")
    enders = [Ender(service, customer.key, number) for number in range(WORKERS)]
    began = time.monotonic()
    turns = iter(range(ENDS))
    asyncio.run(_gather(ender.run(turns) for ender in enders))
    seconds = time.monotonic() - began
    back = wait_until(lambda: _gauge(service, "requests_admitted") == 0, 5)
    ended = sum((ender.ended for ender in enders), Counter[str]())
    spent = sum(_nano(bill.cost) for bill in _list_bills(service, customer))
    left = {name: _gauge(service, name) for name in ("requests_admitted", "streams_running", "defects_total")}
    left["upstream's"] = sum(upstream.count("now", f"ends-{number}") for number in range(WORKERS))
    left["held"] = _nano("1000000") - spent - _credit(service, customer)
    left["held as booked"] = _nano(_show(service, customer).held)
    named = random.Random(SEED).sample([raw for ender in enders for raw in ender.named], 100)
    again = asyncio.run(_gather(_ask(service, raw) for raw in named))
    left["keys in use"] = sum(answer.status == 409 for answer in again)
    figures = {
        "id": "L-5", "seed": SEED, "requests": ended.total(), "ways": len(ended), "fewest": min(ended.values()),
        "seconds": round(seconds, 1), "back after ms": round(back * 1000), **left,
    }  # fmt: skip
    print(json.dumps(figures))
    assert not any(left.values()), figures
    assert len(ended) == len(ENDINGS)
    assert sorted(asyncio.run(_fill(service, customer.key, 51))) == [200] * 50 + [429]


def _credit(service: Service, customer: Customer) -> int:
    """Return what the gateway itself would still let the account spend, in nano-dollars."""
    answer = asyncio.run(_ask(service, _post(customer.key, _script("held"), path="/v1/estimate")))
    return _nano(json.loads(answer.body)["limits"]["credit"])


async def _fill(service: Service, key: str, streams: int) -> list[int]:
    """Open so many streams at once, keep them until the last is answered, and return the statuses."""
    async with contextlib.AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(_connect(service)) for _ in range(streams)]
        for _, writer in opened:
            writer.write(_post(key, _script("held", stream=True, pause=30)))
        lines = await asyncio.gather(*(reader.readline() for reader, _ in opened))
    return [int(line.split()[1]) for line in lines]


def _kill(service: Service, child: str | None = None) -> None:
    """Kill one process, or all at once."""
    assert service.process is not None
    children = service.children()
    everybody = [*children.values(), service.process.pid] if child is None else [children[child]]
    for pid in everybody:
        os.kill(pid, signal.SIGKILL)
    if child is None:
        service.process.wait(10)
    wait_until(lambda: not any(map(is_running, everybody)))


def _strike(service: Service, number: int) -> None:
    """Kill the gateway, and every other time everything (which also ends the supervisor's growing patience)."""
    if number % 2 == 0:
        _kill(service, "gateway")
    else:
        _kill(service)
        service.start()


def test_slots_of_a_killed_gateway_come_back(service: Service) -> None:
    """L-5: kill -9 while 5 of 5 slots are held; 5 new streams are admitted within 30 s of it."""
    customer = _open_account(service, "five")
    took = [asyncio.run(_lose_slots(service, customer.key)) for _ in range(6 if LONG else 1)]
    wait_until(lambda: _gauge(service, "requests_admitted") == 0, 5)
    figures = {"id": "L-5 kill", "kills": len(took), "seconds to 5 of 5": [round(seconds, 2) for seconds in took]}
    print(json.dumps(figures))
    assert max(took) <= 30, figures


async def _lose_slots(service: Service, key: str) -> float:
    """Kill the gateway while all slots are held; return the seconds until as many new streams are admitted."""
    raw = _post(key, _script("held", stream=True, pause=60))
    async with contextlib.AsyncExitStack() as stack:
        held = [await stack.enter_async_context(_connect(service)) for _ in range(5)]
        for reader, writer in held:
            writer.write(raw)
            assert b" 200 " in await reader.readline()
        assert (await _ask(service, raw)).status == 429
        _kill(service, "gateway")
        began = time.monotonic()
        async with asyncio.timeout(60):
            await asyncio.gather(*(_get_in(service, raw, stack) for _ in range(5)))
        return time.monotonic() - began


async def _get_in(service: Service, raw: bytes, stack: contextlib.AsyncExitStack) -> None:
    """Ask until a stream is admitted, and keep it."""
    line = b""
    while b" 200 " not in line:
        await asyncio.sleep(0.01)
        with contextlib.suppress(OSError):
            reader, writer = await stack.enter_async_context(_connect(service))
            writer.write(raw)
            line = await reader.readline()


def test_one_key_is_one_call_one_bill_and_the_same_bytes(service: Service, upstream: Upstream) -> None:
    """M-5: 50 at once, whole and streamed, retried on 409; then again after a restart and after kill -9."""
    customer = _open_account(service, "many")
    before = upstream.count("calls", "once")
    raws = [_name(f"both-{kind}", customer.key, stream=kind == 1, wait=0.3) for kind in (0, 1)]
    answers = asyncio.run(_gather(_insist(service, raw) for raw in raws * KEYS))
    ends = (partial(_kill, service, "gateway"), partial(_kill, service), service.stop)
    for end in ends if LONG else ends[:1]:
        end()
        if service.process is None or service.process.poll() is not None:
            service.start()
        replayed = asyncio.run(_gather(_insist(service, raw) for raw in raws))
        assert all(answer.headers["idempotent-replayed"] == "true" for answer in replayed)
        answers += replayed
    bodies = {len({answer.body for answer in answers[kind::2]}) for kind in (0, 1)}
    bills = _list_bills(service, customer)
    figures = {
        "id": "M-5", "requests": len(answers), "keys": 2, "upstream calls": upstream.count("calls", "once") - before,
        "bills": len(bills), "different answers to a key": max(bodies),
    }  # fmt: skip
    print(json.dumps(figures))
    assert (figures["upstream calls"], len(bills), bodies) == (2, 2, {1}), figures
    shown = service.ask("usage", "--requests", "--since", "1h", "--account", customer.email)
    assert {bill["request_id"] for bill in shown} == {answer.headers["x-request-id"] for answer in answers}


def _name(name: str, key: str, *, stream: bool, **told: Any) -> bytes:  # noqa: ANN401 - as of `_script`
    """Return a request with an Idempotency-Key."""
    return _post(key, _script("once", stream=stream, **told), f"Idempotency-Key: {name}")


def test_key_is_billed_once_whenever_the_gateway_is_killed_under_it(service: Service) -> None:
    """M-5: each key that is retried until it is answered comes to one answer, which stays, and to one bill."""
    customer, chance = _open_account(service, "many"), random.Random(SEED)
    answers: list[tuple[Answer, Answer]] = []
    for kill in range(20 if LONG else 1):
        names = [f"{kill}-{number}" for number in range(KEYS)]
        raws = [_name(name, customer.key, stream=name[-1] in "02468", pause=0.01) for name in names]
        answers += asyncio.run(_outlive(service, raws, kill, chance.uniform(0.0, 0.15)))
    bills = _list_bills(service, customer)
    changed = sum(first.body != again.body for first, again in answers)
    figures = {"id": "M-5 kill", "seed": SEED, "keys": len(answers), "bills": len(bills), "changed": changed}
    print(json.dumps(figures))
    assert changed == 0
    assert sorted(bill.request_id for bill in bills) == sorted(first.headers["x-request-id"] for first, _ in answers)


async def _outlive(service: Service, raws: list[bytes], kill: int, after: float) -> list[tuple[Answer, Answer]]:
    """Strike so many seconds after all have asked; return what each got in the end, and got again."""
    asking = asyncio.ensure_future(_gather(_insist(service, raw) for raw in raws))
    await asyncio.sleep(after)
    await asyncio.to_thread(_strike, service, kill)
    first = await asking
    return list(zip(first, await _gather(_insist(service, raw) for raw in raws), strict=True))


def test_key_is_billed_once_whose_client_hangs_up_as_the_answer_comes(service: Service) -> None:
    """M-5: hung up around the moment of the settlement, and asked again at once: one answer, and one bill, a key."""
    customer = _open_account(service, "many")
    raws = [_name(f"hung-{number}", customer.key, stream=False, wait=0.02) for number in range(HUNG)]
    waiting = iter(raws)
    asked = asyncio.run(_gather(_hang_up(service, waiting) for _ in range(WORKERS // 2)))
    bills, answers = _list_bills(service, customer), [answer for some in asked for answer in some]
    replayed = sum("idempotent-replayed" in answer.headers for answer in answers)
    figures = {"id": "M-5 hang-up", "keys": len(answers), "bills": len(bills), "settled before": replayed}
    print(json.dumps(figures))
    assert sorted(bill.request_id for bill in bills) == sorted(answer.headers["x-request-id"] for answer in answers)


async def _hang_up(service: Service, raws: Iterator[bytes]) -> list[Answer]:
    """Ask and hang up about when the answer is due, and ask again; return what came then."""
    answers = []
    for raw in raws:
        async with _connect(service) as (_, writer):
            writer.write(raw)
            await asyncio.sleep(random.uniform(0.015, 0.04))
            _reset(writer)
        answers.append(await _insist(service, raw))
    return answers


@pytest.mark.parametrize("killed", [False, True])
def test_credit_is_spent_to_the_last_request_and_never_below(service: Service, *, killed: bool) -> None:
    """M-7: credit for just 37 requests and 200 at once: 37 are billed and 0 is left, also if the gateway is killed."""
    chance, passed, bills = random.Random(SEED), [], []
    for number in range(10 if LONG else 1):
        customer = _open_account(service, "many", str(3 * PAID))
        if killed:
            asyncio.run(_rush_and_strike(service, customer.key, number, chance.uniform(0.0, 0.3)))
        answers = asyncio.run(_gather(_insist(service, raw) for raw in _rush(customer.key)))
        passed.append(sum(answer.status == 200 for answer in answers))
        refused = [answer for answer in answers if answer.status != 200]
        assert {(answer.status, answer.headers["x-should-retry"]) for answer in refused} == {(429, "false")}
        assert {json.loads(answer.body)["error"]["code"] for answer in refused} == {"insufficient_quota"}
        assert all("retry-after" not in answer.headers for answer in refused)
        bills.append(len(_list_bills(service, customer)))
        account = _show(service, customer)
        assert (_nano(account.credit), _nano(account.held), _credit(service, customer)) == (0, 0, 0)
    figures = {"id": "M-7", "seed": SEED, "killed": killed, "rounds": len(bills), "asked at once": CROWD}
    print(json.dumps(figures | {"paid for": PAID, "passed": passed, "bills": bills}))
    assert set(bills) == {PAID}
    assert killed or passed == bills


def _rush(key: str) -> list[bytes]:
    """Return 200 requests, half of them for streams, each of which takes all the tokens that it asks for."""
    kinds = [_post(key, _script("paid", stream=stream, tokens=3, words=3, pause=0.02)) for stream in (False, True)]
    return kinds * (CROWD // 2)


async def _rush_and_strike(service: Service, key: str, number: int, after: float) -> None:
    asking = asyncio.gather(*(_ask(service, raw) for raw in _rush(key)), return_exceptions=True)
    await asyncio.sleep(after)
    await asyncio.to_thread(_strike, service, number)
    await asking


class Headers:
    """What both headers must say: of an account by the upstream's count, of a stranger by that of his bad keys."""

    def __init__(self, service: Service, upstream: Upstream) -> None:
        self.service = service
        self.upstream = upstream
        self.seen: Counter[int] = Counter()
        self.strangers = 0

    async def expect(self, status: int, raw: bytes, *, known: bool = True) -> Answer:
        """Ask; `known` says that the answer goes to somebody whose key was read."""
        answer = await _ask(self.service, raw)
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


async def test_every_answer_tells_what_is_left(service: Service, upstream: Upstream) -> None:
    """L-7: both headers on every answer of every status, streamed, replayed or not; what is left is what was called."""
    email, key = await asyncio.to_thread(_open_account, service, "few")
    closed = await asyncio.to_thread(_make_key, service, NewKey(email, models=("closed",)))
    heads = Headers(service, upstream)
    wait_until(lambda: service.get("/healthz")[2]["x-ratelimit-remaining"] == "20", 61)
    late = [asyncio.ensure_future(_ask(service, part)) for part in (b"POST", _post(key, b"{}")[:-1]) if LONG]
    for stream in (False, True):
        await _expect_by_body(heads, key, closed, stream=stream)
        await _expect_conflict(heads, key, stream=stream)
    await _expect_by_head(heads, key)
    await _expect_crowd(heads, key)
    while upstream.count("calls", "heads") < RPM:
        await heads.expect(200, _post(key, _script("heads")))
    for stream in (False, True):
        await heads.expect(429, _post(key, _script("heads", stream=stream)))
    for _ in range(20):
        await heads.expect(401, _post("ts_live_" + "a" * 46, _script("heads")), known=False)
    await heads.expect(429, _post("ts_live_" + "a" * 46, _script("heads")), known=False)
    for answer in await asyncio.gather(*late):  # a head may take 10 s, a body 30
        heads.check(408, answer, 0)
    print(json.dumps({"id": "L-7", "answers": heads.seen.total(), "statuses": dict(sorted(heads.seen.items()))}))


async def _expect_by_body(heads: Headers, key: str, closed: str, *, stream: bool) -> None:
    """Ask what is answered by what the body says."""
    named = f"Idempotency-Key: heads-{stream}"
    wanted = _script("heads", stream=stream)
    await heads.expect(200, _post(key, wanted, named))
    replayed = await heads.expect(200, _post(key, wanted, named))
    assert replayed.headers["idempotent-replayed"] == "true"
    await heads.expect(400, _post(key, wanted | {"max_tokens": 7}, named))
    await heads.expect(400, _post(key, wanted | {"temperature": 9}))
    await heads.expect(403, _post(closed, wanted))
    await heads.expect(404, _post(key, wanted | {"model": "nothing"}))
    for status in (400, 500, 503):
        await heads.expect(status, _post(key, _script("heads", stream=stream, fault=str(status))))
    if stream:
        await heads.expect(200, _post(key, _script("heads", stream=True, fault="cut")))


async def _expect_conflict(heads: Headers, key: str, *, stream: bool) -> None:
    """Ask for what is being answered."""
    raw = _post(key, _script("heads", stream=stream, wait=0.3), f"Idempotency-Key: busy-{stream}")
    running = asyncio.ensure_future(_ask(heads.service, raw))
    await _until(lambda: heads.upstream.count("now", "heads") == 1)
    await heads.expect(409, raw)
    assert (await running).whole


async def _expect_by_head(heads: Headers, key: str) -> None:
    """Ask what is answered by what the head says."""
    bearer = b"GET %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key.encode() + b"\r\n\r\n"
    await heads.expect(200, bearer % b"/v1/models")
    await heads.expect(404, bearer % b"/v1/models/nothing")
    await heads.expect(200, _post(key, _script("heads"), path="/v1/estimate"))
    await heads.expect(400, _post(key, b"{"))
    await heads.expect(415, _post(key, b"{}", "Content-Type: text/plain"))
    length, empty = b"Content-Length: 0", _post(key, b"")
    await heads.expect(413, empty.replace(length, b"Transfer-Encoding: chunked") + b"fffffff\r\n")
    await heads.expect(413, empty.replace(length, b"Content-Length: 99999999"), known=False)
    for status, start in (
        (431, b"GET /v1/models HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 40_000),
        (400, b"GET /v1/models HTTP/1.1\r\n\r\n"),
        (405, b"PUT /v1/chat/completions HTTP/1.1\r\nHost: x\r\n\r\n"),
        *((status, b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path) for path, status in _PATHS.items()),
    ):
        await heads.expect(status, start, known=False)


_PATHS = {b"/v1/models": 401, b"/v1/x": 404, b"/x": 404, b"/": 200, b"/docs": 200, b"/healthz": 200, b"/metrics": 200}


async def _expect_crowd(heads: Headers, key: str) -> None:
    """Ask while all slots are taken."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            _, writer = await stack.enter_async_context(_connect(heads.service))
            writer.write(_post(key, _script("heads", stream=True, pause=30)))
        await _until(lambda: heads.upstream.count("now", "heads") == 3)
        for stream in (False, True):
            await heads.expect(429, _post(key, _script("heads", stream=stream)))
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
    import openai  # noqa: PLC0415 - the upstream, which is this file, does without

    statuses: dict[str, list[int]] = {"sdk": [], "plain": []}

    async def note(response: Any) -> None:  # noqa: ANN401 - of the HTTP library that the SDK brings
        statuses["sdk"].append(response.status_code)

    async def wait_plainly(key: str) -> None:
        while statuses["plain"].count(200) < 10:
            answer = await _ask(service, _post(key, _script("obeyed")))
            statuses["plain"].append(answer.status)
            await asyncio.sleep(int(answer.headers.get("retry-after-ms", "0")) / 1000)

    _, official, _, plain = [word for _ in range(2) for word in await asyncio.to_thread(_open_account, service, "slow")]
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


# From here on: the upstream, in its own process.


class _Script(NamedTuple):
    """What a request's last message tells: seconds before anything, words, seconds before each, what goes wrong."""

    wait: float = 0.0
    words: int = 3
    pause: float = 0.0
    fault: str = ""


class _Upstream:
    """Answers as it is told, and counts by model; GET asks for the counts. No two answers are the same."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET"):
                    _send(writer, 200, {"now": self.now, "most": self.most, "calls": self.calls})
                    continue
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                with self._count(body["model"]):
                    script = _Script(**json.loads(body["messages"][-1]["content"]))
                    await self._answer(script, body, reader, writer)
        writer.close()

    @contextlib.contextmanager
    def _count(self, model: str) -> Iterator[None]:
        self.calls[model] += 1
        self.now[model] += 1
        self.most[model] = max(self.most[model], self.now[model])
        try:
            yield
        finally:
            self.now[model] -= 1

    async def _answer(
        self, script: _Script, body: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await _rest(reader, script.wait)
        if script.fault.isdigit():
            _send(writer, int(script.fault), {"error": {"message": "no", "type": "x", "param": None, "code": None}})
        elif script.fault == "reset" or (script.fault == "cut" and not body.get("stream")):
            _reset(writer)
        elif script.fault == "silent":
            await reader.read(1)
        elif body.get("stream"):
            await self._stream(script, reader, writer)
        else:
            await _rest(reader, script.pause * script.words)
            message = {"role": "assistant", "content": f" {self.calls.total()}" * script.words, "refusal": None}
            choices = [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]
            _send(writer, 200, _BASE | {"object": "chat.completion", "choices": choices, "usage": _usage(script.words)})

    async def _stream(self, script: _Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        word = {"content": f" {self.calls.total()}"}
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(_event({"role": "assistant", "content": ""}))
        for number in range(script.words):
            if script.fault and number == script.words // 2:
                await (reader.read(1) if script.fault == "stall" else writer.drain())
                _reset(writer)
                return
            await _rest(reader, script.pause)
            writer.write(_event(word))
            await writer.drain()
        last = json.dumps(_BASE | {"choices": [], "usage": _usage(script.words)}).encode()
        writer.write(_event({}, "stop") + _frame(b"data: %b\n\ndata: [DONE]\n\n" % last) + b"0\r\n\r\n")


_BASE = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "x"}


def _usage(words: int) -> dict[str, int]:
    return {"prompt_tokens": 9, "completion_tokens": words, "total_tokens": 9 + words}


def _frame(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(delta: dict[str, str], reason: str | None = None) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
    return _frame(b"data: %b\n\n" % json.dumps(_BASE | {"choices": choices}).encode())


def _send(writer: asyncio.StreamWriter, status: int, body: dict[str, Any]) -> None:
    data = json.dumps(body).encode()
    head = "HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    writer.write((head % (status, len(data))).encode() + data)


async def _rest(reader: asyncio.StreamReader, seconds: float) -> None:
    """Wait; raise ConnectionResetError as soon as the gateway hangs up."""
    if seconds:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await reader.read(1)
                raise ConnectionResetError


async def _serve() -> None:
    server = await asyncio.start_server(_Upstream().serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
