"""A clock that is moved, and journals whose threads end with their test."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from journals import Clock, read_back

from techstone.adapters.journal.writer import JournalWriter, Options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from techstone.adapters.journal.disk import Disk


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Have the event loop's time stand still but where a test moves it."""
    clock = Clock()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", clock)
    return clock


@pytest.fixture
async def open_writer(tmp_path: Path, clock: Clock) -> AsyncIterator[Callable[..., JournalWriter]]:
    """Open a journal on the test's folder, as a start would."""
    opened: list[JournalWriter] = []

    def open_one(disk: Disk | None = None, **sizes: int) -> JournalWriter:
        options = Options(**sizes, wall_clock=clock.wall)
        opened.append(JournalWriter(asyncio.get_running_loop(), tmp_path, read_back(tmp_path, disk), options))
        return opened[-1]

    yield open_one
    for writer in opened:
        writer.close()
