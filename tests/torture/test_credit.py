"""M-7: prepaid credit is spent to the last request and never below, by 200 at once and under kills."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
from functools import partial
from typing import TYPE_CHECKING

import pytest
from client import ask, gather, insist, post
from customers import Customer, count_nano, list_bills, open_account, read_credit, show_account
from haste import LONG
from puppet import Puppet, compose, configure, describe_model, describe_plan
from service import wait_until
from spread import HOUSES, housing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service import Service

# The long run is `make torture`'s.
SEED = int(os.environ.get("SEED", "1"))
CROWD = 200
PAID = 37
LEASE = 30


@pytest.fixture(scope="module", params=HOUSES)
def service(
    tmp_path_factory: pytest.TempPathFactory, upstream: Puppet, request: pytest.FixtureRequest
) -> Iterator[Service]:
    configuration = configure(
        upstream.url,
        # Input is free: what is held for a request is what it costs, if it takes all the tokens that it asked for.
        describe_model("paid", input_price=0),
        describe_plan("many", CROWD),
    )
    with housing(tmp_path_factory.mktemp("credit"), configuration, request.param) as running:
        yield running


@pytest.mark.parametrize("killed", [False, True])
def test_credit_is_spent_to_the_last_request_and_never_below(service: Service, *, killed: bool) -> None:
    """M-7: credit for just 37 requests and 200 at once: 37 are billed and 0 is left, also if the gateway is killed."""
    chance, passed, bills = random.Random(SEED), [], []
    for number in range(10 if LONG else 1):
        customer = open_account(service, "many", str(3 * PAID))
        if killed:
            asyncio.run(_rush_and_strike(service, customer.key, number, chance.uniform(0.0, 0.3)))
            wait_until(partial(_is_free, service, customer), LEASE + 10)
        answers = asyncio.run(gather(insist(service, raw) for raw in _rush(customer.key)))
        passed.append(sum(answer.status == 200 for answer in answers))
        refused = [answer for answer in answers if answer.status != 200]
        assert {answer.status for answer in refused} == {429}
        assert {json.loads(answer.body)["error"]["code"] for answer in refused} == {"insufficient_quota"}
        told = {(answer.headers.get("x-should-retry"), answer.headers.get("retry-after")) for answer in refused}
        assert told <= {("false", None), (None, "1")}, "waiting helps where running requests hold the rest"
        bills.append(len(list_bills(service, customer)))
        account = show_account(service, customer)
        left = (count_nano(account.credit), count_nano(account.held), read_credit(service, customer, "paid"))
        assert left == (0, 0, 0)
    figures = {
        "id": "M-7",
        "gateways": service.house,
        "seed": SEED,
        "killed": killed,
        "rounds": len(bills),
        "asked at once": CROWD,
    }
    print(json.dumps(figures | {"paid for": PAID, "passed": passed, "bills": bills}))
    assert set(bills) == {PAID}
    assert killed or passed == bills


def _is_free(service: Service, customer: Customer) -> bool:
    """Say whether nothing of the credit is held: in Redis, what a killed gateway held is, until its leases are over."""
    with contextlib.suppress(OSError, EOFError, KeyError):
        account = show_account(service, customer)
        left = read_credit(service, customer, "paid")
        return count_nano(account.held) == 0 and left == count_nano(account.credit)
    return False


def _rush(key: str) -> list[bytes]:
    """Return 200 requests, half of them for streams, each of which takes all the tokens that it asks for."""
    kinds = [post(key, compose("paid", stream=stream, tokens=3, words=3, pause=0.02)) for stream in (False, True)]
    return kinds * (CROWD // 2)


async def _rush_and_strike(service: Service, key: str, number: int, after: float) -> None:
    asking = asyncio.gather(*(ask(service, raw) for raw in _rush(key)), return_exceptions=True)
    await asyncio.sleep(after)
    await asyncio.to_thread(service.strike, number)
    await asking
