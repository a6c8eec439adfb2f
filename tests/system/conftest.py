"""The house of every test here: a gateway on loopback, and an upstream that does what a test tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from house import COMPLETION, House, Upstream, answer_whole, keep_house

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["COMPLETION", "House", "Upstream", "answer_whole"]


@pytest.fixture
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with keep_house(tmp_path_factory.mktemp("h")) as house:
        yield house
