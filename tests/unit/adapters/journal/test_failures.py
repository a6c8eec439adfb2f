"""What goes wrong around the journal: disks that hang or refuse, clients that hang up, journals that lost a part."""

from __future__ import annotations

import asyncio
import errno
import tracemalloc
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from journals import HeldDisk, commit, framed, name, read_back, until
from power import FragileDisk
from usage import AT, make_answer, make_record

from techstone.adapters.journal.answers import Answers
from techstone.adapters.journal.commitlog import CommitLog, find_lost
from techstone.adapters.journal.disk import Disk
from techstone.core.errors import IdempotencyConflict
from techstone.gateway.idempotency import Claimed, Idempotency
from techstone.gateway.ports import SettlementFailed
from techstone.gateway.trampoline import Trampoline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from journals import Clock

    from techstone.adapters.journal.writer import JournalWriter

    Open = Callable[..., JournalWriter]


def test_segment_that_cannot_be_deleted_keeps_those_after_it(tmp_path: Path) -> None:
    """A gap would stop the next start; the next time all of them go."""

    class Refusing(Disk):
        refuses = True

        def remove(self, path: Path) -> None:
            if self.refuses:
                raise OSError(errno.EIO, "Input/output error")
            super().remove(path)

    disk = Refusing()
    recovered = read_back(tmp_path, disk)
    log = CommitLog(tmp_path, recovered, Answers(tmp_path, disk), 1, lambda: AT / 1000)
    for number in (1, 2, 3):
        log.write([framed(make_record(number))])
    log.retire(3, AT + 1)
    assert name(read_back(tmp_path)) == ["r1", "r2", "r3"]
    disk.refuses = False
    log.retire(3, AT + 1)
    log.close()
    assert name(read_back(tmp_path)) == ["r3"]


async def test_disk_that_hangs_is_told_and_forgiven(open_writer: Open, clock: Clock) -> None:
    """It neither writes nor fails: after two seconds nothing new is admitted, until it answers."""
    disk = HeldDisk()
    writer = open_writer(disk)
    disk.hold()
    waiting = commit(writer, make_record(1))
    await disk.await_sync()
    told = []
    for _ in range(4):
        await clock.move(1.0)
        told.append(writer.problem)
    disk.release()
    await waiting
    assert told == [None, *["the journal's disk does not answer"] * 3]
    assert writer.problem is None


async def test_ledger_that_is_ahead_stops_the_journal(open_writer: Open) -> None:
    """A part of the journal is gone: new records would get numbers that the ledger takes for booked, unbilled."""
    writer = open_writer()
    await commit(writer, make_record(1))
    told = []
    for applied in (1, 5):
        writer.shipped(applied)
        told.append(writer.problem or "")
    writer.append(make_record(2))
    await until(lambda: writer.unshipped)
    for applied in (5, 2):
        writer.shipped(applied)
        assert writer.unshipped, "what is not booked is not let go of"
    assert told[0] == ""
    assert "has 5 records of the journal" in told[1]
    assert "only 1 itself" in told[1]


async def test_who_hangs_up_while_it_is_recorded_is_billed_all_the_same(open_writer: Open, clock: Clock) -> None:
    """Its group fails after the hang-up: the record is owed, and written once the disk takes it."""
    disk = FragileDisk(Random(1))
    writer = open_writer(disk)
    writer.append(make_record(1, "open"))
    await commit(writer, make_record(10))
    disk.faults = 1.0
    hung_up = Trampoline(writer.commit(make_record(1)), lambda _: None)
    hung_up.advance()
    hung_up.cancel()
    await until(lambda: writer.problem)
    disk.faults = 0.0
    await clock.move(0.5)
    await until(lambda: writer.problem is None)
    await commit(writer, make_record(2))
    writer.close()
    ends = [
        record.id for _, record in read_back(writer.segments[0].path.parent, disk).records if record.state != "open"
    ]
    assert ends == ["r10", "r1", "r2"]


async def test_key_of_who_hung_up_is_taken_until_its_answer_is_stored(open_writer: Open) -> None:
    """Else its retry would be a second answer, and a second bill."""
    disk = HeldDisk()
    writer = open_writer(disk)
    await commit(writer, make_record(9))
    disk.hold()
    keys = Idempotency(writer.answers)
    exchange = cast("Any", SimpleNamespace(headers={b"idempotency-key": b"k"}, body=b"{}"))

    async def answer() -> None:
        claimed = await keys.claim(exchange, "a1", AT)
        assert isinstance(claimed, Claimed)
        try:
            await writer.commit(make_record(1), claimed.store("r1", b"{}", stream=False, at=AT, cost=1))
        finally:
            keys.release(claimed)

    first = Trampoline(answer(), lambda _: None)
    first.advance()
    await disk.await_sync()
    first.cancel()
    with pytest.raises(IdempotencyConflict):
        await keys.claim(exchange, "a1", AT)
    disk.release()
    await until(lambda: writer.answers.coming("a1", "k") is None)
    assert writer.answers.find("a1", "k", AT) is not None


async def test_journal_tells_of_every_answer_whether_it_is_stored(open_writer: Open) -> None:
    """Other gateways are told it, or that its key is free: whoever waits for it."""
    disk = FragileDisk(Random(1))
    writer = open_writer(disk)
    told: list[tuple[str, bool]] = []
    writer.answered = lambda answer, stored: told.append((answer.key, stored))
    await commit(writer, make_record(1), make_answer(1))
    disk.faults = 1.0
    with pytest.raises(SettlementFailed):
        await commit(writer, make_record(2), make_answer(2))
    assert told == [("i1", True), ("i2", False)]
    disk.faults = 0.0


async def test_close_writes_what_is_owed(open_writer: Open, tmp_path: Path) -> None:
    """The disk works again, and the next probe would have come too late."""
    disk = FragileDisk(Random(1))
    writer = open_writer(disk)
    disk.faults = 1.0
    with pytest.raises(SettlementFailed):
        await commit(writer, make_record(1))
    writer.append(make_record(2))
    disk.faults = 0.0
    writer.close()
    assert name(read_back(tmp_path, disk.cut())) == ["r2"]


async def test_who_breaks_as_it_is_woken_does_not_stop_the_journal(open_writer: Open) -> None:
    """The others of its group are durable, and what comes later is written."""
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))

    def break_down(_: Exception | None) -> None:
        raise RuntimeError("in its end")

    writer = open_writer()
    Trampoline(writer.commit(make_record(1)), break_down).advance()
    await commit(writer, make_record(2))
    assert [str(context["exception"]) for context in said] == ["in its end"]


async def test_full_spool_is_known_at_the_start_and_not_once_it_is_applied(open_writer: Open) -> None:
    """What lies there counts until the control plane says that it has it."""
    writer = open_writer()
    for number in range(10):
        await commit(writer, make_record(number))
    writer.close()
    writer = open_writer(spool=100)
    assert writer.problem is not None
    writer.shipped(10)
    assert writer.problem is None


async def test_checkpoint_stays_until_the_end_is_durable(open_writer: Open, clock: Clock, tmp_path: Path) -> None:
    """While the end of a stream is in memory alone, a crash must find its last checkpoint: else it is open for ever."""
    disk = FragileDisk(Random(1))
    writer = open_writer(disk, segment=1)
    writer.append(make_record(1, "open"))
    await commit(writer, make_record(2))
    await clock.move(200)
    await commit(writer, make_record(3))
    disk.faults = 1.0
    writer.append(make_record(1))
    await until(lambda: writer.problem)
    await writer.retire(99, int(clock.wall() * 1000) - 120_000)
    found = disk.kill()
    assert [record.id for record in find_lost(read_back(tmp_path, found), Answers(tmp_path, found))] == ["r1"]


async def test_answers_leave_the_disk_a_day_after(open_writer: Open, clock: Clock, tmp_path: Path) -> None:
    """Also where there are few: a file takes an hour's answers at most."""
    disk = Disk()
    writer = open_writer(disk)
    await commit(writer, make_record(1), make_answer(1, b"secret"))
    for number in range(2, 30):
        await clock.move(3600)
        now = int(clock.wall() * 1000)
        await commit(writer, make_record(number), make_answer(number, b"x", at=now))
        writer.answers.retire(now)
    names = (entry for entry in disk.names(tmp_path) if entry.startswith("answers-"))
    assert not any(b"secret" in disk.read(tmp_path / entry) for entry in names)


def test_torn_end_is_kept_beside_the_journal(tmp_path: Path) -> None:
    """Most likely an unfinished group; a person can look at it."""
    recovered = read_back(tmp_path)
    log = CommitLog(tmp_path, recovered, Answers(tmp_path, Disk()), 10**6, lambda: AT / 1000)
    log.write([framed(make_record(1))])
    log.close()
    (segment,) = tmp_path.glob("*.log")
    with segment.open("ab") as file:
        file.write(b"torn")
    assert read_back(tmp_path).torn == 4
    assert [path.read_bytes() for path in tmp_path.glob("*.torn")] == [b"torn"]
    assert read_back(tmp_path).torn == 0


def test_torn_end_on_a_full_disk_does_not_stop_the_start(tmp_path: Path) -> None:
    """It is cut off all the same; that it could not be kept is no reason to answer nobody."""

    class Full(Disk):
        def create(self, path: Path) -> int:
            raise OSError(errno.ENOSPC, f"No space left on device: {path}")

    log = CommitLog(tmp_path, read_back(tmp_path), Answers(tmp_path, Disk()), 10**6, lambda: AT / 1000)
    log.write([framed(make_record(1))])
    log.close()
    (segment,) = tmp_path.glob("*.log")
    with segment.open("ab") as file:
        file.write(b"torn")
    assert name(read_back(tmp_path, Full())) == ["r1"]
    assert read_back(tmp_path).torn == 0


def test_start_keeps_no_bytes_of_stored_answers(tmp_path: Path) -> None:
    """A gigabyte of them lies on the disk: what is known in memory is where each lies, also while it is read back."""
    answers = Answers(tmp_path, Disk())
    places = answers.write([(1, b"", make_answer(number, b"x" * 1_000_000)) for number in range(20)])
    answers.settle(places)
    answers.close()
    places.clear()
    tracemalloc.start()
    again = Answers(tmp_path, Disk())
    again.recover(100)
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert again.find("a1", "i19", AT) is not None
    assert kept < 1_000_000
    assert most < 30_000_000, "the file itself, and an answer or two"
