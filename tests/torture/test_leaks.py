"""L-5: however a request ends, its slot, its credit and its Idempotency-Key come back, also from a killed gateway."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest
from client import ask, connect, gather, post, read, reset
from customers import count_nano, list_bills, open_account, read_credit, show_account
from haste import LONG
from puppet import Puppet, compose, configure, describe_model, describe_plan
from service import Service, wait_until
from spread import HOUSES, housing

if TYPE_CHECKING:
    from collections.abc import Iterator

# The long run is `make torture`'s.
SEED = int(os.environ.get("SEED", "1"))
ENDS = 10_000 if LONG else 500
WORKERS = 32
# A stream of 5,000 words that nobody reads costs what reached the kernel's buffers: all of it, on a fast machine.
CREDIT = "100000000"


@pytest.fixture(scope="module", params=HOUSES)
def service(
    tmp_path_factory: pytest.TempPathFactory, upstream: Puppet, request: pytest.FixtureRequest
) -> Iterator[Service]:
    configuration = configure(
        upstream.url,
        describe_model("held"),
        *(describe_model(f"ends-{number}", provider="hasty") for number in range(WORKERS)),
        describe_plan("five", 5),
        describe_plan("fifty", 50),
    )
    with housing(tmp_path_factory.mktemp("leaks"), configuration, request.param) as running:
        yield running


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
        # One gateway's, since each has a breaker of its own, which a whole answer after a failure keeps closed.
        self._port = service.port
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
        wanted = compose(self._model, stream=stream, tokens=max(50, end.told.get("words", 0)), **end.told)
        if chance.random() < 0.3:
            raw = post(self._key, wanted, f"Idempotency-Key: {self._model}-{self.ended.total()}")
            self.named.append(raw)
        else:
            raw = post(self._key, wanted)
        async with connect(self._service, self._port) as (reader, writer):
            await self._act(end, raw, reader, writer)

    async def _act(self, end: End, raw: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        moment = self._chance.random() * end.within
        if end.client == "never reads":
            cast("asyncio.ReadTransport", writer.transport).pause_reading()
        writer.write(raw[: self._chance.randrange(len(raw))] if end.client == "sends a part" else raw)
        if end.client == "reads":
            answer = await read(reader)
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
            reset(writer)


def test_slots_and_credit_come_back_however_a_request_ends(service: Service, upstream: Puppet) -> None:
    """L-5: no way to end keeps a slot, credit, a request of the upstream's or an Idempotency-Key."""
    customer = open_account(service, "fifty", CREDIT)
    enders = [Ender(service, customer.key, number) for number in range(WORKERS)]
    began = time.monotonic()
    turns = iter(range(ENDS))
    asyncio.run(gather(ender.run(turns) for ender in enders))
    seconds = time.monotonic() - began
    back = wait_until(lambda: service.gauge("techstone_requests_admitted") == 0, 5)
    ended = sum((ender.ended for ender in enders), Counter[str]())
    spent = sum(count_nano(bill.cost) for bill in list_bills(service, customer))
    gauges = ("requests_admitted", "streams_running", "defects_total")
    left = {name: service.gauge(f"techstone_{name}") for name in gauges}
    left["upstream's"] = sum(upstream.count("now", f"ends-{number}") for number in range(WORKERS))
    left["held"] = count_nano(CREDIT) - spent - read_credit(service, customer, "held")
    left["held as booked"] = count_nano(show_account(service, customer).held)
    named = random.Random(SEED).sample([raw for ender in enders for raw in ender.named], 100)
    again = asyncio.run(gather(ask(service, raw) for raw in named))
    left["keys in use"] = sum(answer.status == 409 for answer in again)
    figures = {
        "id": "L-5", "gateways": service.house, "seed": SEED, "requests": ended.total(),
        "ways": len(ended), "fewest": min(ended.values()),
        "seconds": round(seconds, 1), "back after ms": round(back * 1000), **left,
    }  # fmt: skip
    print(json.dumps(figures))
    assert not any(left.values()), figures
    assert len(ended) == len(ENDINGS)
    assert sorted(asyncio.run(_fill(service, customer.key, 51))) == [200] * 50 + [429]


async def _fill(service: Service, key: str, streams: int) -> list[int]:
    """Open so many streams at once, keep them until the last is answered, and return the statuses."""
    async with contextlib.AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(connect(service)) for _ in range(streams)]
        for _, writer in opened:
            writer.write(post(key, compose("held", stream=True, pause=30)))
        lines = await asyncio.gather(*(reader.readline() for reader, _ in opened))
    return [int(line.split()[1]) for line in lines]


def test_slots_of_a_killed_gateway_come_back(service: Service) -> None:
    """L-5: kill -9 while 5 of 5 slots are held; 5 new streams are admitted within 30 s of it."""
    customer = open_account(service, "five")
    took = [asyncio.run(_lose_slots(service, customer.key)) for _ in range(6 if LONG else 1)]
    wait_until(lambda: service.gauge("techstone_requests_admitted") == 0, 5)
    figures = {
        "id": "L-5 kill",
        "gateways": service.house,
        "kills": len(took),
        "seconds to 5 of 5": [round(seconds, 2) for seconds in took],
    }
    print(json.dumps(figures))
    assert max(took) <= 30, figures


async def _lose_slots(service: Service, key: str) -> float:
    """Kill the gateway while all slots are held; return the seconds until as many new streams are admitted."""
    raw = post(key, compose("held", stream=True, pause=60))
    async with contextlib.AsyncExitStack() as stack:
        held = [await stack.enter_async_context(connect(service)) for _ in range(5)]
        for reader, writer in held:
            writer.write(raw)
            assert b" 200 " in await reader.readline()
        assert (await ask(service, raw)).status == 429
        service.kill("gateway")
        began = time.monotonic()
        async with asyncio.timeout(60):
            await asyncio.gather(*(_get_in(service, raw, stack) for _ in range(5)))
        return time.monotonic() - began


async def _get_in(service: Service, raw: bytes, stack: contextlib.AsyncExitStack) -> None:
    """Ask until a stream is admitted, and keep it; who is refused hangs up."""
    while True:
        await asyncio.sleep(0.01)
        with contextlib.suppress(OSError):
            async with contextlib.AsyncExitStack() as asking:
                reader, writer = await asking.enter_async_context(connect(service))
                writer.write(raw)
                if b" 200 " in await reader.readline():
                    await stack.enter_async_context(asking.pop_all())
                    return
