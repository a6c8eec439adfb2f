"""Every store: a suite that asks for `store` runs over each, one that asks for `place` over each that is shared.

One that asks for `redis` has a real one, empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import databases
import pytest
from redis_server import RedisServer, serve_redis

from techstone.adapters.storage.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from databases import Place

    from techstone.control.ports import Store


@pytest.fixture(params=["memory", *databases.KINDS])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Return an empty store, closed at the end."""
    if request.param == "memory":
        yield MemoryStore()
        return
    place = await databases.create(request.param, tmp_path)
    opened = await databases.open_at(place.address)
    yield opened
    await opened.close()
    await place.remove()


@pytest.fixture(params=databases.KINDS)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Return an empty database, to be opened by the test, as often as it wants to."""
    made = await databases.create(request.param, tmp_path)
    yield made
    await made.remove()


@pytest.fixture(scope="module")
def _redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with serve_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis(_redis: RedisServer) -> RedisServer:
    """Return the server that a file's tests share, without what the one before left in it."""
    _redis.ask("FLUSHALL")
    return _redis
