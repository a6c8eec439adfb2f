"""L-4: the upstream never has more streams of an account's than its plan allows, and a slot is used again at once."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING

import pytest
from client import connect, post, read
from customers import open_account
from haste import LONG
from puppet import Puppet, compose, configure, describe_model, describe_plan
from spread import HOUSES, housing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service import Service

# The long run is `make torture`'s.
CROWD = 200
STREAMS = 5000 if LONG else 200


@pytest.fixture(scope="module", params=HOUSES)
def service(
    tmp_path_factory: pytest.TempPathFactory, upstream: Puppet, request: pytest.FixtureRequest
) -> Iterator[Service]:
    configuration = configure(
        upstream.url,
        describe_model(f"slots-5-{request.param}"),
        describe_model(f"slots-50-{request.param}"),
        describe_plan("five", 5),
        describe_plan("fifty", 50),
    )
    # Each house has models of its own, since the upstream counts by model.
    with housing(tmp_path_factory.mktemp("concurrency"), configuration, request.param) as running:
        yield running


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
        async with connect(self._service) as (reader, writer):
            while len(self.ended) < STREAMS:
                pause = self._seconds * random.uniform(0.2, 1.8) / 4
                writer.write(post(self._key, compose(self._model, stream=True, words=4, pause=pause)))
                answer = await read(reader)
                if answer.whole:
                    self.begun.append(answer.begun)
                    self.ended.append(answer.ended)
                else:
                    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
                    self.refused += 1
                    await asyncio.sleep(random.uniform(0.2, 0.4))


@pytest.mark.parametrize(("plan", "slots", "seconds"), [("five", 5, 0.04), ("fifty", 50, 0.25)])
def test_plan_holds_at_any_moment_and_a_slot_is_used_again_at_once(
    service: Service, upstream: Puppet, plan: str, slots: int, seconds: float
) -> None:
    """L-4: the upstream never has more than the plan's streams; from an end to the next admission p99 <= 50 ms."""
    crowd = Crowd(service, open_account(service, plan).key, f"slots-{slots}-{service.house}", seconds)
    asyncio.run(crowd.run())
    most = upstream.count("most", f"slots-{slots}-{service.house}")
    # Each end makes room for the admission that comes so many places later; it may come before the client read the end.
    pairs = zip(sorted(crowd.ended), sorted(crowd.begun)[slots:], strict=False)
    reused = [max(0.0, begun - ended) * 1000 for ended, begun in pairs]
    figures = {
        "id": "L-4", "gateways": service.house, "plan": slots,
        "streams": len(crowd.ended), "refused": crowd.refused, "most": most,
        "reuse p50 ms": round(_percentile(reused, 0.5), 1), "reuse p99 ms": round(_percentile(reused, 0.99), 1),
        "reuse max ms": round(max(reused), 1),
    }  # fmt: skip
    print(json.dumps(figures))
    assert most == slots, figures
    if LONG:  # there the machine has nothing else to do, which would decide
        assert _percentile(reused, 0.99) <= 50, figures
