"""L-1 and L-2 over real gateways: by wall clocks no 60 s have more of an account's requests or tokens than it may."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import pytest
from client import ask, gather, post
from customers import make_key, open_account
from haste import LONG
from puppet import Puppet, compose, configure, describe_model, describe_plan
from spread import HOUSES, housing

from techstone.control.keys.records import NewKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service import Service

# The long run is `make torture`'s: two windows and a bit. The short one has less than one, and all demand in 4 s.
SEED = int(os.environ.get("SEED", "1"))
SECONDS = 130.0 if LONG else 4.0
WINDOW = 60.0
PLANS = {"sixty": 60, "five-hundred": 500} if LONG else {"sixty": 60}
KEYS = (1, 5, 20) if LONG else (1, 5)
PATTERNS = ("bursts", "even", "edges", "random")
TPM = 4000
_BEFORE, _AFTER = 59.0, 61.0


@pytest.fixture(scope="module", params=HOUSES if LONG else (2,))
def service(
    tmp_path_factory: pytest.TempPathFactory, upstream: Puppet, request: pytest.FixtureRequest
) -> Iterator[Service]:
    configuration = configure(
        upstream.url,
        describe_model("m"),
        *(describe_plan(name, 1000, rpm=rpm) for name, rpm in PLANS.items()),
        describe_plan("tokens", 1000, tpm=TPM),
    )
    with housing(tmp_path_factory.mktemp("windows"), configuration, request.param) as running:
        yield running


class Passed(NamedTuple):
    """A request that was admitted at some moment between two, by the monotonic clock, and the tokens it was billed."""

    sent: float
    answered: float
    tokens: int


def _plan_sends(pattern: str, plan: int, chance: random.Random) -> list[float]:
    """Return when requests are sent, in seconds from the start: half as many again as the plan has."""
    count = int(plan * 1.5 * max(1.0, SECONDS / WINDOW))
    if pattern == "even":
        return [number * SECONDS / count for number in range(count)]
    if pattern == "random":
        return sorted(chance.uniform(0, SECONDS) for _ in range(count))
    if pattern == "bursts":
        return [round(number * SECONDS / count / 10) * 10.0 for number in range(count)]
    edges = [edge for edge in (0.0, _BEFORE, _AFTER, _BEFORE + WINDOW, _AFTER + WINDOW) if edge < SECONDS]
    return [edge for edge in edges for _ in range(max(plan, count // len(edges)))]


async def _demand(service: Service, keys: list[str], sends: list[float], chance: random.Random) -> list[Passed]:
    began = time.monotonic()

    async def send(number: int, after: float) -> Passed | None:
        await asyncio.sleep(began + after - time.monotonic())
        words = chance.randint(1, 8)
        sent = time.monotonic()
        raw = post(keys[number % len(keys)], compose("m", words=words, tokens=chance.choice((8, 50))))
        answer = await ask(service, raw)
        assert answer.status in {200, 429}, answer
        return Passed(sent, answer.begun, 9 + words) if answer.status == 200 else None

    return [passed for passed in await gather(send(*one) for one in enumerate(sends)) if passed is not None]


def _count_most(passed: list[Passed], what: str) -> int:
    """Return the most that was surely within one window: what was sent after its beginning and answered before its end.

    A window that begins where a request was sent has as much as any.
    """
    most = 0
    for first in passed:
        inside = [one for one in passed if first.sent <= one.sent and one.answered < first.sent + WINDOW]
        most = max(most, len(inside) if what == "requests" else sum(one.tokens for one in inside))
    return most


def test_no_window_has_more_requests_than_the_plan(service: Service) -> None:
    """L-1: whatever the pattern, and by however many keys; and a plan is used up where there is demand for more."""
    chance = random.Random(SEED)
    cases = [(name, keys, pattern) for name in PLANS for keys in KEYS for pattern in PATTERNS]

    def open_case(plan: str, keys: int) -> list[str]:
        customer = open_account(service, plan)
        return [customer.key, *(make_key(service, NewKey(customer.email)) for _ in range(keys - 1))]

    opened = [open_case(plan, keys) for plan, keys, _ in cases]
    demands = [
        _demand(service, keys, _plan_sends(pattern, PLANS[plan], chance), chance)
        for keys, (plan, _, pattern) in zip(opened, cases, strict=True)
    ]
    found = asyncio.run(gather(demands))
    most, least = dict.fromkeys(PLANS, 0), dict.fromkeys(PLANS, 0)
    for (plan, _, pattern), passed in zip(cases, found, strict=True):
        most[plan] = max(most[plan], _count_most(passed, "requests"))
        # Who asks evenly has used up every whole window at its end.
        if pattern == "even":
            windows = max(1, int(SECONDS // WINDOW))
            least[plan] = min(least[plan] or len(passed), len(passed) // windows)
    figures = {
        "id": "L-1", "gateways": service.house, "seed": SEED, "cases": len(cases), "seconds": SECONDS,
        "admitted": sum(map(len, found)), "most in 60 s": most, "a window at ample demand": least,
    }  # fmt: skip
    print(json.dumps(figures))
    assert most == PLANS, figures
    assert all(least[name] >= 0.98 * plan for name, plan in PLANS.items()), figures


def test_no_window_has_more_tokens_than_the_plan(service: Service) -> None:
    """L-2: by answers that are shorter than what was reserved for them."""
    chance = random.Random(SEED)
    customers = [open_account(service, "tokens") for _ in range(3 if LONG else 1)]
    count = int(400 * max(1.0, SECONDS / WINDOW))
    sends = list(accumulate(chance.expovariate(count / SECONDS) for _ in range(count)))
    found = asyncio.run(gather(_demand(service, [customer.key], sends, chance) for customer in customers))
    most = max(_count_most(passed, "tokens") for passed in found)
    figures = {
        "id": "L-2", "gateways": service.house, "seed": SEED, "plan": TPM, "seconds": SECONDS,
        "admitted": sum(map(len, found)), "most tokens in 60 s": most,
    }  # fmt: skip
    print(json.dumps(figures))
    assert TPM * 0.5 < most <= TPM, figures
