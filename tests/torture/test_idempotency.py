"""M-5: an Idempotency-Key is one call, one bill and one answer, however often and wherever it is sent, and killed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from client import Answer, connect, gather, insist, post, reset
from customers import list_bills, open_account
from haste import LONG
from puppet import Puppet, compose, configure, describe_model, describe_plan
from service import Service, wait_until
from spread import HOUSES, Spread, housing

from techstone.core.repeats import LEASE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from planes import Plane

# The long run is `make torture`'s.
SEED = int(os.environ.get("SEED", "1"))
KEYS = 50
HUNG = 2000 if LONG else 100
WORKERS = 16


@pytest.fixture(scope="module", params=HOUSES)
def service(
    tmp_path_factory: pytest.TempPathFactory, upstream: Puppet, request: pytest.FixtureRequest
) -> Iterator[Service]:
    configuration = configure(upstream.url, describe_model("once"), describe_plan("many", 200))
    with housing(tmp_path_factory.mktemp("idempotency"), configuration, request.param) as running:
        yield running


def test_one_key_is_one_call_one_bill_and_the_same_bytes(service: Service, upstream: Puppet) -> None:
    """M-5: 50 at once, whole and streamed, retried on 409; then again after a restart and after kill -9."""
    customer = open_account(service, "many")
    before = upstream.count("calls", "once")
    raws = [_name(f"both-{kind}", customer.key, stream=kind == 1, wait=0.3) for kind in (0, 1)]
    answers = asyncio.run(gather(insist(service, raw) for raw in raws * KEYS))
    ends = (partial(service.kill, "gateway"), service.kill, service.stop)
    for end in ends if LONG else ends[:1]:
        end()
        if service.process is None or service.process.poll() is not None:
            service.start()
        replayed = asyncio.run(gather(insist(service, raw) for raw in raws))
        assert all(answer.headers["idempotent-replayed"] == "true" for answer in replayed)
        answers += replayed
    bodies = {len({answer.body for answer in answers[kind::2]}) for kind in (0, 1)}
    bills = list_bills(service, customer)
    figures = {
        "id": "M-5", "requests": len(answers), "keys": 2, "upstream calls": upstream.count("calls", "once") - before,
        "bills": len(bills), "different answers to a key": max(bodies),
    }  # fmt: skip
    print(json.dumps(figures))
    assert (figures["upstream calls"], len(bills), bodies) == (2, 2, {1}), figures
    shown = service.ask("usage", "--requests", "--since", "1h", "--account", customer.email)
    assert {bill["request_id"] for bill in shown} == {answer.headers["x-request-id"] for answer in answers}


def _name(name: str, key: str, *, stream: bool, **told: Any) -> bytes:  # noqa: ANN401 - as of `compose`
    """Return a request with an Idempotency-Key."""
    return post(key, compose("once", stream=stream, **told), f"Idempotency-Key: {name}")


def test_answer_outlives_the_gateway_that_made_it(service: Service) -> None:
    """M-5: killed for good once its client had the last byte: the other gateway has the same bytes, and no new bill."""
    if not isinstance(service, Spread):
        pytest.skip("needs a second gateway")
    customer, (gone, *others) = open_account(service, "many"), service.gateways
    raws = [_name(f"gone-{kind}", customer.key, stream=kind == 1) for kind in (0, 1)]
    first = asyncio.run(gather(insist(gone, raw) for raw in raws))
    gone.kill_alone()
    again = asyncio.run(gather(insist(other, raw) for raw in raws for other in others[:1]))
    gone.start()
    for answer, replayed in zip(first, again, strict=True):
        assert replayed.headers["idempotent-replayed"] == "true"
        assert (replayed.body, replayed.headers["x-request-id"]) == (answer.body, answer.headers["x-request-id"])
    wait_until(lambda: len(list_bills(service, customer)) == len(raws), 10)


@pytest.mark.skipif(not LONG, reason="waits for a lease of 30 s; the contract moves its time")
def test_gateway_killed_amid_the_first_try_frees_its_key_within_the_lease(service: Service) -> None:
    """M-5: killed and gone for good before it answered: the other gateway answers once the lease is over, and bills."""
    if not isinstance(service, Spread) or not service.gateways[1:]:
        pytest.skip("needs a second gateway")
    customer, (gone, other, *_) = open_account(service, "many"), service.gateways
    raw = _name("amid", customer.key, stream=False, wait=2.0)
    began = time.monotonic()
    answer = asyncio.run(_kill_amid(gone, other, raw))
    waited = time.monotonic() - began
    gone.start()
    bills = list_bills(service, customer)
    figures = {"id": "M-5 lease", "seconds until it was answered elsewhere": round(waited, 1), "bills": len(bills)}
    print(json.dumps(figures))
    assert waited < LEASE_SECONDS + 10, figures
    assert [bill.request_id for bill in bills] == [answer.headers["x-request-id"]]


async def _kill_amid(gone: Plane, other: Plane, raw: bytes) -> Answer:
    async with connect(gone) as (_, writer):
        writer.write(raw)
        await asyncio.sleep(0.5)
        gone.kill_alone()
        return await insist(other, raw)


def test_key_is_billed_once_whenever_the_gateway_is_killed_under_it(service: Service) -> None:
    """M-5: each key that is retried until it is answered comes to one answer, which stays, and to one bill."""
    customer, chance = open_account(service, "many"), random.Random(SEED)
    answers: list[tuple[Answer, Answer]] = []
    for kill in range(20 if LONG else 1):
        names = [f"{kill}-{number}" for number in range(KEYS)]
        raws = [_name(name, customer.key, stream=name[-1] in "02468", pause=0.01) for name in names]
        answers += asyncio.run(_outlive(service, raws, kill, chance.uniform(0.0, 0.15)))
    bills = list_bills(service, customer)
    changed = sum(first.body != again.body for first, again in answers)
    figures = {"id": "M-5 kill", "seed": SEED, "keys": len(answers), "bills": len(bills), "changed": changed}
    print(json.dumps(figures))
    assert changed == 0
    assert sorted(bill.request_id for bill in bills) == sorted(first.headers["x-request-id"] for first, _ in answers)


async def _outlive(service: Service, raws: list[bytes], kill: int, after: float) -> list[tuple[Answer, Answer]]:
    """Strike so many seconds after all have asked; return what each got in the end, and got again."""
    asking = asyncio.ensure_future(gather(insist(service, raw) for raw in raws))
    await asyncio.sleep(after)
    await asyncio.to_thread(service.strike, kill)
    first = await asking
    return list(zip(first, await gather(insist(service, raw) for raw in raws), strict=True))


def test_key_is_billed_once_whose_client_hangs_up_as_the_answer_comes(service: Service) -> None:
    """M-5: hung up around the moment of the settlement, and asked again at once: one answer, and one bill, a key."""
    customer = open_account(service, "many")
    raws = [_name(f"hung-{number}", customer.key, stream=False, wait=0.02) for number in range(HUNG)]
    waiting = iter(raws)
    asked = asyncio.run(gather(_hang_up(service, waiting) for _ in range(WORKERS)))
    bills, answers = list_bills(service, customer), [answer for some in asked for answer in some]
    replayed = sum("idempotent-replayed" in answer.headers for answer in answers)
    figures = {"id": "M-5 hang-up", "keys": len(answers), "bills": len(bills), "settled before": replayed}
    print(json.dumps(figures))
    assert sorted(bill.request_id for bill in bills) == sorted(answer.headers["x-request-id"] for answer in answers)


async def _hang_up(service: Service, raws: Iterator[bytes]) -> list[Answer]:
    """Ask and hang up about when the answer is due, and ask again; return what came then."""
    answers = []
    for raw in raws:
        async with connect(service) as (_, writer):
            writer.write(raw)
            await asyncio.sleep(random.uniform(0.015, 0.04))
            reset(writer)
        answers.append(await insist(service, raw))
    return answers
