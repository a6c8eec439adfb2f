"""T-4: tenants that share every connection behind the gateway and hang up at any moment get their own answers alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest
from client import connect, gather, post, read, reset
from customers import list_bills, open_account
from haste import LONG
from puppet import Puppet, compose, configure, describe_model, describe_plan
from service import wait_until
from spread import housing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from client import Answer
    from customers import Customer
    from service import Service

# The long run is `make torture`'s.
SEED = int(os.environ.get("SEED", "1"))
TENANTS = 64
REQUESTS = 100_000 if LONG else 3200
_RPM = 1_000_000
_MARK = re.compile(rb"<[^<>]*>")


@pytest.fixture(scope="module", params=(0, 2))
def service(
    tmp_path_factory: pytest.TempPathFactory, upstream: Puppet, request: pytest.FixtureRequest
) -> Iterator[Service]:
    configuration = configure(
        upstream.url,
        describe_model("echo"),
        *(describe_plan(f"t{number}", 1000, rpm=_RPM + number) for number in range(TENANTS)),
    )
    with housing(tmp_path_factory.mktemp("crosstalk"), configuration, request.param) as running:
        yield running


class Asked(NamedTuple):
    """A request as it is sent, what each word of its answer has to be, and how many there are."""

    raw: bytes
    mark: bytes
    words: int


class Tenant:
    """Asks and hangs up, and looks at every byte that comes back."""

    def __init__(self, service: Service, customer: Customer, number: int) -> None:
        self._service = service
        self._customer = customer
        self._number = number
        self._chance = random.Random(SEED * 1000 + number)
        self.asked = 0
        self.left = 0
        self.whole: list[str] = []  # ids of requests
        self.wrong: list[str] = []

    async def run(self) -> None:
        while self.asked < REQUESTS // TENANTS:
            async with connect(self._service) as (reader, writer):
                with contextlib.suppress(OSError, EOFError):
                    while await self._ask(reader, writer):
                        pass

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send one request; say whether the connection can take another one."""
        asked = self._compose()
        self.asked += 1
        writer.write(asked.raw)
        if self._chance.random() < 0.4:
            self.left += 1
            await self._leave(asked, reader, writer)
            return False
        answer = await read(reader)
        self._check(asked, answer)
        return self.asked < REQUESTS // TENANTS and answer.headers.get("connection") != "close"

    def _compose(self) -> Asked:
        """Return any request; a third has an Idempotency-Key, which every tenant has too."""
        chance = self._chance
        stream, words, pause = chance.random() < 0.5, chance.randint(1, 8), chance.choice((0.0, 0.002))
        if chance.random() < 0.3:
            number = chance.randrange(REQUESTS // TENANTS // 5)
            mark, fields = f"<{self._number}:key-{number}>", [f"Idempotency-Key: {number}"]
            stream, words, pause = number % 2 == 0, 1 + number % 8, 0.002
        else:
            mark, fields = f"<{self._number}:{self.asked}>", []
        wanted = compose("echo", stream=stream, words=words, pause=pause, mark=mark)
        return Asked(post(self._customer.key, wanted, *fields), mark.encode(), words)

    async def _leave(self, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        part = b""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._chance.random() * 0.03):
                while more := await reader.read(65536):
                    part += more
        self.wrong += [f"{asked.mark!r}: {found!r}" for found in set(_MARK.findall(part)) - {asked.mark}]
        if self._chance.random() < 0.5:
            reset(writer)

    def _check(self, asked: Asked, answer: Answer) -> None:
        limit = answer.headers.get("x-ratelimit-limit-requests")
        if limit != str(_RPM + self._number):
            self.wrong.append(f"{asked.mark!r}: the limit of {limit}")
        if answer.status == 409:  # the same request of the one who left is not over yet
            return
        if answer.status != 200 or _MARK.findall(answer.body) != [asked.mark] * asked.words:
            self.wrong.append(f"{asked.mark!r}: {answer.status} {answer.body[:200]!r}")
        if "idempotent-replayed" not in answer.headers:
            self.whole.append(answer.headers["x-request-id"])


def test_every_byte_belongs_to_who_asked(service: Service) -> None:
    """T-4: answers, headers and replays; afterwards nothing is held, and each has his own bills and no other's."""
    customers = [open_account(service, f"t{number}") for number in range(TENANTS)]
    tenants = [Tenant(service, customer, number) for number, customer in enumerate(customers)]
    began = time.monotonic()
    asyncio.run(gather(tenant.run() for tenant in tenants))
    seconds = time.monotonic() - began
    wait_until(lambda: service.gauge("techstone_requests_admitted") == 0, 5)
    wrong = [line for tenant in tenants for line in tenant.wrong]
    for tenant, customer in zip(tenants, customers, strict=True):
        billed = {bill.request_id for bill in list_bills(service, customer)}
        wrong += [f"{customer.email} was not billed for {name}" for name in set(tenant.whole) - billed]
    whole = [name for tenant in tenants for name in tenant.whole]
    wrong += [] if len(set(whole)) == len(whole) else ["two answers have one id"]
    left = sum(tenant.left for tenant in tenants)
    figures = {
        "id": "T-4", "gateways": service.house, "seed": SEED, "tenants": TENANTS,
        "requests": sum(tenant.asked for tenant in tenants), "hung up": left,
        "whole": len(whole), "wrong": len(wrong), "seconds": round(seconds, 1),
    }  # fmt: skip
    print(json.dumps(figures))
    assert wrong == [], wrong[:10]
    assert left > REQUESTS // 4
