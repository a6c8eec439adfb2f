"""A journal as tests need it: files as they lie in its folder, a clock that is moved, a disk that can be held."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

from usage import AT

from techstone.adapters.journal.disk import Disk
from techstone.adapters.journal.segments import Recovered, recover
from techstone.core import frames
from techstone.core.usage import encode
from techstone.gateway.trampoline import Trampoline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from techstone.adapters.journal.writer import JournalWriter
    from techstone.core.usage import UsageRecord
    from techstone.gateway.ports import StoredAnswer

JOURNAL = "0123456789abcdef"


def framed(*records: UsageRecord) -> bytes:
    """Return records as they lie in a file."""
    return b"".join(frames.frame(encode(record)) for record in records)


def name_segment(folder: Path, first: int) -> Path:
    """Return the path of the segment that begins with a record."""
    return folder / f"{JOURNAL}-{first:016d}.log"


def lay(disk: Disk, path: Path, data: bytes) -> None:
    """Put a file there, for good."""
    number = disk.create(path)
    disk.write(number, data, 0)
    disk.sync(number)
    disk.close(number)
    disk.sync_folder(path.parent)


def read_back(folder: Path, disk: Disk | None = None) -> Recovered:
    """Return what a start would find."""
    return recover(folder, lambda: JOURNAL, disk or Disk())


def name(recovered: Recovered) -> list[str]:
    """Return the ids of the records that were found, in order."""
    return [record.id for _, record in recovered.records]


class Clock:
    """Stands still until it is moved; `wall` goes along with it from where the records' times are."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return AT / 1000 + self.now

    async def move(self, seconds: float) -> None:
        """Let time pass, and let what was due by then begin."""
        self.now += seconds
        for _ in range(3):
            await asyncio.sleep(0)


class HeldDisk(Disk):
    """Writes down what it is asked for. `hold` lets the next sync wait for `release`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._free = threading.Event()
        self._free.set()
        self._waits = threading.Event()

    def hold(self) -> None:
        self._waits.clear()
        self._free.clear()

    async def await_sync(self) -> None:
        """Return once somebody waits for the release."""
        await until(self._waits.is_set)

    def release(self) -> None:
        self._free.set()

    def write(self, number: int, data: bytes, offset: int) -> None:
        self.asked.append("write")
        super().write(number, data, offset)

    def sync(self, number: int) -> None:
        self.asked.append("sync")
        self._waits.set()
        assert self._free.wait(5)
        super().sync(number)


def commit(writer: JournalWriter, record: UsageRecord, answer: StoredAnswer | None = None) -> asyncio.Future[None]:
    """Begin to commit; the future is done when that is."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(error: Exception | None) -> None:
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    Trampoline(writer.commit(record, answer), end).advance()
    return done


async def until(true: Callable[[], object]) -> None:
    """Let the loop turn until it is so; its clock stands still meanwhile."""
    ends = time.monotonic() + 5
    while not true():
        assert time.monotonic() < ends, "it never came"
        await asyncio.sleep(0)
