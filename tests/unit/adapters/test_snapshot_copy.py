"""The snapshot on a gateway's disk: what was told is there after any end of the process."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from wholes import follow, tell_whole

from techstone.adapters import snapshot_copy
from techstone.adapters.snapshot_copy import SnapshotCopy
from techstone.core.snapshot import Account, Key, Plan, Snapshot
from techstone.core.stream import Delta, SnapshotError, encode
from techstone.core.view import View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PLANS = (Plan("pro", 1, 2, 3, "prepaid"),)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_copy, "_PACE_SECONDS", 0.005)
    monkeypatch.setattr(snapshot_copy, "_REST", 0)


@contextlib.asynccontextmanager
async def writing(copy: SnapshotCopy) -> AsyncIterator[None]:
    task = asyncio.create_task(copy.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until_it_says(path: Path, view: View) -> None:
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(SnapshotError):
                found = SnapshotCopy(path).load()
                if found is not None and found.snapshot.revision == view.snapshot.revision:
                    break
            await asyncio.sleep(0.005)
    assert tell_whole(found) == tell_whole(view)


def whole(keys: int) -> View:
    return View(
        Snapshot(
            1,
            PLANS,
            (Account("a1", "a@b.c", "pro"),),
            tuple(Key(f"k{number}", f"{number:064x}", "a1", "n", "h") for number in range(keys)),
        )
    )


def change(view: View, number: int) -> tuple[View, bytes]:
    base = view.snapshot.revision
    key = Key(f"k{number}", f"{number:064x}", "a1", f"n{base}", "h")
    delta = Delta(base, base + 1, keys=(key,))
    return follow(view, delta), encode(delta)


async def test_changes_are_appended(tmp_path: Path) -> None:
    """What was written stays as it is: a change costs its own size, not that of all keys."""
    path, view = tmp_path / "copy", whole(5000)
    copy = SnapshotCopy(path)
    async with writing(copy):
        copy.replace(view)
        await until_it_says(path, view)
        before = path.stat()
        for number in range(3):
            view, line = change(view, number)
            copy.follow(view, line)
            await until_it_says(path, view)
        after = path.stat()
        assert after.st_ino == before.st_ino
        assert after.st_size - before.st_size < 2000


async def test_many_changes_are_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once they are half of the file, so that it does not grow for ever."""
    monkeypatch.setattr(snapshot_copy, "_LEAST_CHANGES", 1000)
    path, view = tmp_path / "copy", whole(10)
    copy = SnapshotCopy(path)
    async with writing(copy):
        copy.replace(view)
        await until_it_says(path, view)
        size = path.stat().st_size
        for number in range(100):
            view, line = change(view, number % 10)
            copy.follow(view, line)
            if number % 10 == 9:
                await until_it_says(path, view)
        assert path.stat().st_size < 3 * size


@pytest.mark.parametrize("cut", [1, 20])
async def test_torn_end_is_passed_over_and_mended(tmp_path: Path, cut: int) -> None:
    """A crash leaves half a line: what stands before it is good, and nothing is appended to it."""
    path, view = tmp_path / "copy", whole(3)
    async with writing(copy := SnapshotCopy(path)):
        copy.replace(view)
        await until_it_says(path, view)
        later, line = change(view, 0)
        copy.follow(later, line)
        await until_it_says(path, later)
    path.write_bytes(path.read_bytes()[:-cut])
    copy = SnapshotCopy(path)
    found = copy.load()
    assert found is not None
    assert found.snapshot.revision == 1
    async with writing(copy):
        found, line = change(found, 1)
        copy.follow(found, line)
        await until_it_says(path, found)


async def test_disk_that_fails_is_written_anew_once_it_is_back(tmp_path: Path) -> None:
    """What could not be appended is not lost: the next writing holds everything."""
    folder = tmp_path / "gone"
    path, view = folder / "copy", whole(3)
    copy = SnapshotCopy(path)
    async with writing(copy):
        copy.replace(view)
        await asyncio.sleep(0.02)
        folder.mkdir()
        view, line = change(view, 0)
        copy.follow(view, line)
        await until_it_says(path, view)


async def test_disk_that_hangs_holds_no_heap_of_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above a bound nothing waits: everything is written anew."""
    monkeypatch.setattr(snapshot_copy, "_LONGEST_QUEUE", 500)
    path, view = tmp_path / "copy", whole(3)
    copy = SnapshotCopy(path)
    for number in range(50):
        view, line = change(view, number % 3)
        copy.follow(view, line)
    assert copy._held <= 500
    assert len(copy._waiting) * len(line) <= 500
    async with writing(copy):
        await until_it_says(path, view)


async def test_secret_of_tickets_never_lies_on_the_disk(tmp_path: Path) -> None:
    """Whoever reads the file can open nobody's page."""
    path = tmp_path / "copy"
    copy = SnapshotCopy(path)
    async with writing(copy):
        copy.replace(View(Snapshot(1, PLANS, view_secret="5ec7e7")))
        async with asyncio.timeout(5):
            while not path.exists():  # noqa: ASYNC110 - the disk has no event
                await asyncio.sleep(0.005)
    assert b"5ec7e7" not in path.read_bytes()
