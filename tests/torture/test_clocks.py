"""L-6: clocks of a gateway and of Redis that jump, by libfaketime, each on a host of its own."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from cloud import clouding, find_library, list_booked
from demand import Load, running
from haste import LONG
from service import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cloud import Cloud

_PLAN = 60
_JUMPS = [-3600, 3600, -30, 30]


class Clock:
    """The clock of a process, moved by a file; what is monotonic stays so, as where a real clock is set."""

    def __init__(self, file: Path, often: dict[str, str]) -> None:
        self._file = file
        self.environment = {
            # The C library first: Redis's jemalloc asks for the time before libfaketime can tell it.
            "LD_PRELOAD": f"{find_library()}:libc.so.6",
            "FAKETIME_TIMESTAMP_FILE": str(file),
            **often,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def set(self, seconds: int) -> None:
        """Move it so far from the true time."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.replace(self._file)


@pytest.fixture(scope="module")
def clocks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Clock]:
    folder = tmp_path_factory.mktemp("clocks")
    # Redis reads the file each time that it asks for the time, a gateway once a second: 12 us are too much for it.
    return {
        "redis": Clock(folder / "redis", {"FAKETIME_NO_CACHE": "1"}),
        "gateway": Clock(folder / "gateway", {"FAKETIME_CACHE_DURATION": "1"}),
    }


@pytest.fixture(scope="module")
def cloud(clocks: dict[str, Clock]) -> Iterator[Cloud]:
    with clouding() as cloud:
        cloud.add_redis(clocks["redis"].environment)
        cloud.add_control()
        cloud.add_gateway(environment=clocks["gateway"].environment)
        cloud.add_gateway()
        yield cloud


def _read_redis(cloud: Cloud) -> float:
    """Return how far Redis's clock is from the true time."""
    assert cloud.redis is not None
    told = cloud.redis.ask("TIME")
    assert isinstance(told, list)
    return float(int(told[0]) - time.time())


def _read_gateway(cloud: Cloud) -> float:
    """Return how far the first gateway's clock is from the true time, by what it books."""
    asked = time.time()
    _, _, headers = cloud.gateways[0].chat({"model": "m"}, cloud.key)
    request = {name.lower(): value for name, value in headers.items()}["x-request-id"]
    (found,) = [record for record in list_booked(cloud) if record["request_id"] == request]
    return float(str(found["at"])) - asked


def _count_losses(cloud: Cloud) -> list[int]:
    """Return how often each gateway lost Redis so far."""
    return [gateway.complained().count(" is away (") for gateway in cloud.gateways]


@pytest.mark.parametrize("whose", ["gateway", "redis"])
@pytest.mark.parametrize("jump", _JUMPS)
def test_clock_that_jumps_gives_and_takes_little(cloud: Cloud, clocks: dict[str, Clock], whose: str, jump: int) -> None:
    """A gateway's: nothing at all. Redis's: one plan at most; and nobody is told to wait for more than a minute."""
    cloud.settle()
    _, key = cloud.open_account("sixty")
    load, complaints = Load(cloud.gateways, key, 40), _count_losses(cloud)
    with running(load):
        wait_until(lambda: sum(one.status == 200 for one in load.heard) >= _PLAN, 10, 0.1)
        time.sleep(0.2)
        struck = time.monotonic()
        clocks[whose].set(jump)
        time.sleep(2)
        moved = (_read_redis if whose == "redis" else _read_gateway)(cloud)
        if LONG:
            granted = load.pick
            wait_until(lambda: any(one.status == 200 for one in granted(struck + 30)), 75, 0.1)
    clocks[whose].set(0)
    wait_until(lambda: abs(_read_redis(cloud)) < 5, 5, 0.1)
    extra = sum(one.status == 200 for one in load.pick(struck, struck + 30))
    later = [one.at - struck for one in load.pick(struck + 30) if one.status == 200]
    wrong = [one for one in load.heard if one.status not in {200, 429}]
    longest = max(one.wait for one in load.heard)
    # On a machine so busy that Redis is silent for 50 ms, gateways give their parts: row F-1, and no clock's doing.
    lost = [after - before for before, after in zip(complaints, _count_losses(cloud), strict=True)]
    allowed = _PLAN * ((whose == "redis") + any(lost))
    violations = len(wrong) + max(0, extra - allowed) + (longest > 60)
    figure = {"whose": whose, "jump": jump, "extra": extra, "Redis lost": lost, "longest wait told": longest}
    if later:
        figure["first grant after s"] = round(later[0], 1)
    print(json.dumps({"id": "L-6", "seed": 0, "n": len(load.heard), "violations": violations, "figure": figure,
                      "pass": not violations}))  # fmt: skip
    assert abs(moved - jump) < 5, "the clock did jump, or the test is blind"
    assert wrong == []
    assert extra <= allowed
    assert longest <= 60
    # From the last grant before it, or of the plan that a jump forward gave.
    assert not LONG or later[0] <= 60 + 5
