"""M-2: the power fails at any moment under the ledger; what it acknowledged is there, whole, and is booked once.

The real code does its work once, on the real SQLite, under strace; then the power is cut between any two of the calls
that it made, and the real code goes on with what is found.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import bookings
import pytest
from haste import LONG
from power import FragileDisk
from syscalls import Call, Replay, read_trace, trace

from techstone.adapters.storage.memory import MemoryStore
from techstone.adapters.storage.sqlite import open_store
from techstone.control.ports import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from techstone.adapters.storage.store import SqlStore

# So many ledgers, of so many transactions each, and so many cuts of each.
LIVES, STEPS, CUTS = (5, 100, 200) if LONG else (1, 30, 60)
# SQLite's own is 1,000 pages, more than a short life writes: the database itself would be written at its end only.
_CHECKPOINT = "wal_autocheckpoint = 20"
_PLANS = ["pro"]


class _Life:
    """A ledger: what it was to do, what it is after each step, and what its process asked of the disk for that."""

    def __init__(self, folder: Path, seed: str, *pragmas: str) -> None:
        self._random = Random(seed)
        self._folder = folder
        self._work = bookings.Work(seed, STEPS)
        self._expected: list[tuple[object, ...]] = []
        folder.mkdir()
        program = [sys.executable, bookings.__file__, str(folder), seed, str(STEPS), _CHECKPOINT, *pragmas]
        self.calls = trace(program, folder, folder.with_suffix(".trace"))
        self._check_trace()

    def _check_trace(self) -> None:
        """See that the calls, done again, leave what the process left: then nothing is missing in the trace."""
        ((acknowledged, disk),) = self.replay([len(self.calls)])
        assert acknowledged == STEPS
        for name in (bookings.DATABASE, f"{bookings.DATABASE}-wal"):
            assert disk.read(self._folder / name) == (self._folder / name).read_bytes()

    async def follow(self) -> None:
        """Do the work in memory, where nothing can be lost: this is what the file is compared with."""
        store = MemoryStore()
        self._expected = [await bookings.read(store)]
        for step in self._work.steps:
            await step.do(store)
            self._expected.append(await bookings.read(store))

    async def cut(self, count: int, *, syncs: bool = True) -> Counter[str]:
        """Cut the power so often; return what came of it."""
        found: Counter[str] = Counter()
        target = self._folder.with_suffix(".cut")
        target.mkdir(exist_ok=True)
        for acknowledged, disk in self.replay(self._choose(count), syncs=syncs):
            _write(disk.cut(), self._folder, target)
            found += await self._judge(target / bookings.DATABASE, acknowledged)
        return found

    def _choose(self, count: int) -> list[int]:
        """Return moments between any two calls; every other one is just after an acknowledgement."""
        told = [number for number, call in enumerate(self.calls, 1) if _acknowledges(call)]
        moments = [self._random.randint(0, len(self.calls)) for _ in range(count - count // 2)]
        return sorted(moments + self._random.choices(told, k=count // 2))

    def replay(self, moments: list[int], *, syncs: bool = True) -> Iterator[tuple[int, FragileDisk]]:
        """Yield the disk before each of these calls, and how many transactions were acknowledged by then."""
        replay = Replay(FragileDisk(self._random, syncs=syncs), self._folder)
        done = acknowledged = 0
        for moment in moments:
            for call in self.calls[done:moment]:
                replay.do(call)
                acknowledged += _acknowledges(call)
            done = moment
            yield acknowledged, replay.disk

    async def _judge(self, path: Path, acknowledged: int) -> Counter[str]:
        """Return what is wrong with a database after a cut."""
        try:
            store = await open_store(path)
            try:
                return await self._go_on(store, path, acknowledged)
            finally:
                await store.close()
        except (StoreError, sqlite3.DatabaseError):
            return Counter({"integrity failures": 1})

    async def _go_on(self, store: SqlStore, path: Path, acknowledged: int) -> Counter[str]:
        with closing(sqlite3.connect(path)) as connection:
            if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                return Counter({"integrity failures": 1})
        state = await bookings.read(store)
        if state not in self._expected[: acknowledged + 2]:
            return Counter({"violations": 1})  # half a transaction, or one that had not begun
        done = self._expected.index(state)
        if done < acknowledged:
            return Counter({"acknowledged lost": acknowledged - done})
        await self._work.finish(store, done, self._random)
        right = await bookings.read(store) == self._expected[-1] and await store.ledger.check(_PLANS) == ()
        return Counter() if right else Counter({"violations": 1})


def _acknowledges(call: Call) -> bool:
    return call.name == "write" and call.path.name == bookings.ACKNOWLEDGED


def _write(disk: FragileDisk, source: Path, target: Path) -> None:
    """Write what is found after a cut. The log's index is shared memory, made anew after a start."""
    for old in target.iterdir():
        old.unlink()
    for name in disk.names(source):
        if not name.endswith("-shm"):
            (target / name).write_bytes(disk.read(source / name))


@pytest.mark.parametrize("seed", [int(os.environ.get("SEED", "1"))])
async def test_power_cuts_lose_nothing_that_the_ledger_acknowledged(tmp_path: Path, seed: int) -> None:
    """Of 1,000 cuts (60 in short) 0 lose, tear or double a transaction; were syncs idle, the same cuts would."""
    found: Counter[str] = Counter()
    control: Counter[str] = Counter()
    calls = 0
    for number in range(LIVES):
        life = _Life(tmp_path / f"life{number}", f"{seed} {number}")
        await life.follow()
        found += await life.cut(CUTS)
        control += await life.cut(CUTS // 10, syncs=False)
        calls += len(life.calls)
    figures = {"transactions": LIVES * STEPS, "calls": calls, "cuts": LIVES * CUTS}
    figures |= {name: found[name] for name in ("acknowledged lost", "integrity failures", "violations")}
    figures |= {"control lost": control["acknowledged lost"], "control failures": control["integrity failures"]}
    print(json.dumps({"id": "M-2 ledger", "seed": seed, **figures, "pass": not found}))
    assert not found, figures
    assert control["acknowledged lost"] > 0, "the harness is blind"


async def test_synchronous_normal_would_lose_transactions_and_keep_the_file_whole(tmp_path: Path) -> None:
    """What SQLite says of NORMAL is what is found: the cuts see that a sync is missing, and break nothing else."""
    life = _Life(tmp_path / "life", "1", "synchronous = NORMAL")
    await life.follow()
    found = await life.cut(CUTS // 5)
    print(json.dumps({"id": "M-2 ledger NORMAL", "cuts": CUTS // 5, **found}))
    assert set(found) == {"acknowledged lost"}


def test_call_counts_when_it_ended() -> None:
    """The parser: calls that others interrupt, that fail, that have no place of their own, or are about other files."""
    told = r"""
7  openat(AT_FDCWD<\x2f\x78>, "\x61", O_RDWR|O_CREAT, 0600) = 3<\x2f\x64\x2f\x61>
7  openat(AT_FDCWD<\x2f\x78>, "\x62", O_RDWR) = -1 ENOENT (No such file or directory)
7  write(3<\x2f\x64\x2f\x61>, "\x31\x32", 2) = 2
7  fdatasync(3<\x2f\x64\x2f\x61> <unfinished ...>
8  pwrite64(3<\x2f\x64\x2f\x61>, "\x33\x34", 2, 40) = 1
7  <... fdatasync resumed>) = 0
7  lseek(3<\x2f\x64\x2f\x61>, 9, SEEK_SET) = 9
7  write(3<\x2f\x64\x2f\x61>, "\x35", 1) = 1
7  write(1<pipe:[1]>, "\x36", 1) = 1
7  ftruncate(3<\x2f\x64\x2f\x61>, 5) = 0
7  fsync(4<\x2f\x64>) = 0
7  unlink("\x2f\x64\x2f\x61") = 0
"""
    folder, file = Path("/d"), Path("/d/a")
    assert read_trace(told, folder) == [
        Call("create", file),
        Call("write", file, 0, b"12"),
        Call("write", file, 40, b"3"),
        Call("sync", file),
        Call("write", file, 9, b"5"),
        Call("truncate", file, 5),
        Call("sync", folder),
        Call("remove", file),
    ]
