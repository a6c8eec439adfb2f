"""spec/headers.json holds for the service: limits, waits and costs are written as they stand there."""

from __future__ import annotations

import pytest
from vectors import Billed, Limited, Retried, read_headers

from techstone.core import money
from techstone.core.errors import RateLimited
from techstone.core.limits import Standing
from techstone.gateway import quota

HEADERS = read_headers()


@pytest.mark.parametrize("vector", [row for row in HEADERS.rate_limit if row.state], ids=lambda vector: vector.name)
def test_limits_are_written(vector: Limited) -> None:
    """Eight headers, of what is left and how long it takes until all is there again, or until a refusal is over."""
    state = vector.state
    assert state is not None
    standing = Standing(
        state.limit_requests, state.remaining_requests, state.limit_tokens, state.remaining_tokens, state.reset
    )
    lines = quota.write(standing, state.wait).decode().splitlines()
    assert dict(line.split(": ") for line in lines) == vector.headers
    assert len(lines) == len(vector.headers)


@pytest.mark.parametrize(
    "vector", [row for row in HEADERS.cost if row.nano is not None], ids=lambda vector: vector.name
)
def test_cost_is_written(vector: Billed) -> None:
    """In US dollars, exact to the nano-dollar."""
    assert vector.nano is not None
    assert {"x-techstone-cost": money.show(vector.nano)} == vector.headers


@pytest.mark.parametrize(
    "vector", [row for row in HEADERS.retry if row.wait is not None], ids=lambda vector: vector.name
)
def test_wait_is_written(vector: Retried) -> None:
    """In whole seconds and in milliseconds, both rounded up, and never longer than every client waits."""
    error = RateLimited("x", vector.wait)
    assert error.status == vector.status
    assert {name.decode(): value.decode() for name, value in error.headers()} == vector.headers


@pytest.mark.parametrize("rows", [HEADERS.rate_limit, HEADERS.cost, HEADERS.request_id, HEADERS.retry])
def test_each_vector_has_a_name_of_its_own(rows: list[Limited | Billed | Retried]) -> None:
    """So that a failure names it; and some are of the service's own writing."""
    assert len({row.name for row in rows}) == len(rows) > 4
