"""The journal as the gateway sees it: group commit on a thread, and what happens while the disk takes nothing."""

from __future__ import annotations

import asyncio
import errno
from random import Random
from typing import TYPE_CHECKING

import pytest
from journals import Clock, HeldDisk, commit, framed, name, name_segment, read_back, until
from power import FragileDisk
from usage import AT, make_answer, make_record

from techstone.adapters.journal import writer as room
from techstone.adapters.journal.disk import Disk
from techstone.adapters.journal.writer import JournalWriter
from techstone.gateway.ports import SettlementFailed
from techstone.gateway.trampoline import Trampoline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FULL = "the journal cannot be written: No space left on device"
PROBE = 0.5
SIZE = len(framed(make_record(10)))


def _never(error: Exception | None) -> None:
    raise AssertionError(error)


def _ignore(error: Exception | None) -> None:
    """Not of interest here."""


@pytest.fixture
def fragile() -> FragileDisk:
    return FragileDisk(Random(1))


async def test_group_is_one_write_and_one_sync(open_writer: Callable[..., JournalWriter], tmp_path: Path) -> None:
    """For all that gathered while the thread worked, whoever waits for it and whoever does not."""
    disk = HeldDisk()
    writer = open_writer(disk)
    disk.hold()
    first = commit(writer, make_record(1))
    await disk.await_sync()
    disk.asked.clear()
    gathered = [commit(writer, make_record(number)) for number in range(2, 102)]
    writer.append(make_record(102))
    disk.release()
    await asyncio.gather(first, *gathered)
    assert disk.asked == ["write", "sync"]
    assert writer.written == 102
    assert [number for number, _ in read_back(tmp_path).records] == list(range(1, 103))


async def test_group_with_answers_costs_one_sync_more(open_writer: Callable[..., JournalWriter]) -> None:
    """However many there are: theirs is before that of the records."""
    disk = HeldDisk()
    writer = open_writer(disk)
    disk.hold()
    first = commit(writer, make_record(1))
    await disk.await_sync()
    disk.asked.clear()
    gathered = [commit(writer, make_record(number), make_answer(number)) for number in range(2, 12)]
    assert writer.answers.find("a1", "i2", AT) is None
    disk.release()
    await asyncio.gather(first, *gathered)
    assert disk.asked == ["write", "sync"] * 2
    assert all(writer.answers.find("a1", f"i{number}", AT) for number in range(2, 12))


async def test_commit_returns_only_after_the_sync(open_writer: Callable[..., JournalWriter]) -> None:
    """Nothing that the event loop does meanwhile makes it return: the last byte must not leave before."""
    disk = HeldDisk()
    writer = open_writer(disk)
    disk.hold()
    committed = commit(writer, make_record(1))
    await disk.await_sync()
    for _ in range(100):
        await asyncio.sleep(0)
    assert not committed.done()
    assert writer.written == 0
    disk.release()
    await committed
    assert writer.written == 1


async def test_who_is_woken_may_record_more(open_writer: Callable[..., JournalWriter], tmp_path: Path) -> None:
    """In the very stack that wakes him: it gathers for the next group, behind the others."""
    writer = open_writer()

    async def go_on() -> None:
        await writer.commit(make_record(1))
        await writer.commit(make_record(2))

    Trampoline(go_on(), _ignore).advance()
    await commit(writer, make_record(3))
    await until(lambda: writer.written == 3)
    assert name(read_back(tmp_path)) == ["r1", "r3", "r2"]


async def test_record_of_a_client_that_hung_up_is_written(
    open_writer: Callable[..., JournalWriter], tmp_path: Path
) -> None:
    """His answer was whole; nobody is woken, and those behind him are."""
    disk = HeldDisk()
    writer = open_writer(disk)
    disk.hold()
    gone = Trampoline(writer.commit(make_record(1)), _never)
    gone.advance()
    await disk.await_sync()
    also_gone = Trampoline(writer.commit(make_record(2)), _never)
    also_gone.advance()
    gone.cancel()
    also_gone.cancel()
    disk.release()
    await commit(writer, make_record(3))
    assert name(read_back(tmp_path)) == ["r1", "r2", "r3"]


async def test_full_disk_fails_who_waits(open_writer: Callable[..., JournalWriter], fragile: FragileDisk) -> None:
    """The whole group, and those that had gathered behind it; why is told; nothing new is accepted."""
    writer = open_writer(fragile)
    await commit(writer, make_record(1), make_answer(1))
    fragile.faults = 1.0
    waiting = [commit(writer, make_record(number), make_answer(number)) for number in (2, 3, 4)]
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, SettlementFailed)
        assert str(outcome) == FULL
    assert writer.problem == FULL
    with pytest.raises(SettlementFailed, match="No space left"):
        await commit(writer, make_record(5))
    assert writer.written == 1
    assert writer.answers.find("a1", "i2", AT) is None


async def test_what_gathered_behind_a_failed_group_fails_with_it(
    open_writer: Callable[..., JournalWriter], clock: Clock, tmp_path: Path
) -> None:
    """It is not written, though the disk would take it: after a failed sync only a probe tells what the disk does."""

    class Broken(HeldDisk):
        failures = 1

        def sync(self, number: int) -> None:
            super().sync(number)
            self.failures -= 1
            if self.failures == 0:
                raise OSError(errno.EIO, "Input/output error")

    disk = Broken()
    writer = open_writer(disk)
    disk.hold()
    waiting = [commit(writer, make_record(1))]
    await disk.await_sync()
    waiting += [commit(writer, make_record(number)) for number in (2, 3)]
    disk.release()
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, SettlementFailed)
    assert disk.asked == ["write", "sync"]
    await clock.move(PROBE)
    await until(lambda: writer.problem is None)
    await commit(writer, make_record(4))
    assert name(read_back(tmp_path)) == ["r4"]


async def test_nothing_is_committed_until_a_probe_succeeded(
    open_writer: Callable[..., JournalWriter], fragile: FragileDisk, clock: Clock, tmp_path: Path
) -> None:
    """Half a second after the failure, and again each half second: when room is back, the problem clears."""
    writer = open_writer(fragile)
    fragile.faults = 1.0
    with pytest.raises(SettlementFailed):
        await commit(writer, make_record(1))
    await clock.move(PROBE)
    await until(lambda: not writer._busy)
    assert writer.problem is not None, "the disk is still full"
    fragile.faults = 0.0
    await clock.move(PROBE - 0.001)
    assert not writer._busy
    with pytest.raises(SettlementFailed):
        await commit(writer, make_record(2))
    await clock.move(0.001)
    await until(lambda: writer.problem is None)
    await commit(writer, make_record(3))
    writer.close()
    assert name(read_back(tmp_path, fragile.cut())) == ["r3"]


async def test_what_was_owed_is_recorded_when_the_disk_takes_it(
    open_writer: Callable[..., JournalWriter], fragile: FragileDisk, clock: Clock, tmp_path: Path
) -> None:
    """Ends that nobody waits for: of the failed group, gathered behind it, and since; checkpoints are not."""
    writer = open_writer(fragile)
    fragile.faults = 1.0
    for number in (1, 2):
        writer.append(make_record(number, "void"))
        writer.append(make_record(10 + number, "open"))
    with pytest.raises(SettlementFailed):
        await commit(writer, make_record(3))
    writer.append(make_record(4))
    writer.append(make_record(5, "open"))
    fragile.faults = 0.0
    await clock.move(PROBE)
    await until(lambda: writer.written == 3)
    assert writer.problem is None
    writer.close()
    assert name(read_back(tmp_path, fragile.cut())) == ["r1", "r2", "r4"]


async def test_failed_answer_that_is_owed_void_is_billed_nowhere(
    open_writer: Callable[..., JournalWriter], fragile: FragileDisk, clock: Clock, tmp_path: Path
) -> None:
    """As settlement does it: the commit fails, the request ends void; a power cut later this is all there is of it."""
    writer = open_writer(fragile)
    fragile.faults = 1.0
    with pytest.raises(SettlementFailed):
        await commit(writer, make_record(1), make_answer(1))
    writer.append(make_record(1, "void"))
    fragile.faults = 0.0
    await clock.move(PROBE)
    await until(lambda: writer.written == 1)
    writer.close()
    again = open_writer(fragile.cut())
    recovered = read_back(tmp_path, again.disk)
    assert [(record.id, record.state) for _, record in recovered.records] == [("r1", "void")]
    assert again.lost == []
    assert again.answers.find("a1", "i1", AT) is None


async def test_defect_on_the_thread_fails_its_group_and_not_the_thread(
    open_writer: Callable[..., JournalWriter], clock: Clock, tmp_path: Path
) -> None:
    """A thread that ended would leave every client waiting for ever."""

    class Defective(Disk):
        works = False

        def write(self, number: int, data: bytes, offset: int) -> None:
            if not self.works:
                raise ValueError("a defect")
            super().write(number, data, offset)

    disk = Defective()
    writer = open_writer(disk)
    with pytest.raises(SettlementFailed, match="the journal failed: ValueError"):
        await commit(writer, make_record(1))
    disk.works = True
    await clock.move(PROBE)
    await until(lambda: writer.problem is None)
    await commit(writer, make_record(2))
    assert name(read_back(tmp_path)) == ["r2"]


async def test_spool_sets_the_problem_and_clears_it_at_nine_tenths(open_writer: Callable[..., JournalWriter]) -> None:
    """So much may wait for the control plane; what runs is still recorded, and nothing flaps at the limit."""
    writer = open_writer(spool=10 * SIZE, segment=1)
    for number in range(10, 20):
        await commit(writer, make_record(number))
    assert (writer.spooled, writer.problem) == (10 * SIZE, None)
    for number in range(20, 22):
        await commit(writer, make_record(number))
        assert writer.problem == f"{10 * SIZE:,} bytes of usage wait for the control plane"
    writer.shipped(3)
    assert (writer.spooled, writer.problem is None) == (9 * SIZE, False)
    writer.shipped(4)
    assert (writer.spooled, writer.problem) == (8 * SIZE, None)


async def test_ends_that_the_ledger_has_already_are_not_too_many(
    open_writer: Callable[..., JournalWriter], tmp_path: Path
) -> None:
    """A journal that was booked by hand had them under the numbers that they get now, maybe before they are synced."""
    name_segment(tmp_path, 1).write_bytes(framed(make_record(1, "open"), make_record(2)))
    disk = HeldDisk()
    writer = open_writer(disk)
    disk.hold()
    writer.shipped(3)
    assert (writer.problem, [*writer.unshipped]) == (None, [])
    disk.release()
    await until(lambda: writer.unshipped)
    writer.shipped(3)
    assert (writer.problem, [*writer.unshipped]) == (None, [])
    writer.shipped(4)
    assert "which has only 3 itself" in (writer.problem or "")


async def test_broken_disk_is_the_greater_problem(
    open_writer: Callable[..., JournalWriter], fragile: FragileDisk, clock: Clock
) -> None:
    """When it works again, the full spool is still told; each clears by itself."""
    writer = open_writer(fragile, spool=0)
    await commit(writer, make_record(1))
    fragile.faults = 1.0
    with pytest.raises(SettlementFailed):
        await commit(writer, make_record(2))
    assert writer.problem == FULL
    fragile.faults = 0.0
    await clock.move(PROBE)
    await until(lambda: writer.problem != FULL)
    assert writer.problem == "0 bytes of usage wait for the control plane"


async def test_groups_are_shipped_in_batches(open_writer: Callable[..., JournalWriter]) -> None:
    """Those that follow each other join up to 64 KiB; to what was sent once nothing is added, as it is sent again."""
    writer = open_writer()
    for number in range(1, 4):
        await commit(writer, make_record(number))
    assert [(batch.first, batch.last) for batch in writer.unshipped] == [(1, 3)]
    assert writer.gather(1) == [writer.unshipped[0]], "one at least"
    await commit(writer, make_record(4))
    assert [(batch.first, batch.last) for batch in writer.unshipped] == [(1, 3), (4, 4)]
    for number in range(5, 1005):
        writer.append(make_record(number))
    await commit(writer, make_record(1005))
    await commit(writer, make_record(1006))
    assert [batch.first for batch in writer.unshipped] == [1, 4, 1006], "full, so that the next one is begun"
    assert writer.spooled == sum(batch.end - batch.start for batch in writer.unshipped)


async def test_batches_are_gathered_up_to_a_size_and_a_segments_end(open_writer: Callable[..., JournalWriter]) -> None:
    """One read of one file: what is gathered lies one after another."""
    writer = open_writer(segment=3 * SIZE)
    for number in range(10, 14):
        await commit(writer, make_record(number))
        writer.unshipped[-1].sealed = True
    assert [batch.last for batch in writer.gather(10 * SIZE)] == [1, 2, 3]
    assert [batch.last for batch in writer.gather(2 * SIZE)] == [1, 2]
    writer.shipped(3)
    assert [batch.last for batch in writer.gather(10 * SIZE)] == [4]


async def test_lag_is_the_age_of_the_oldest_that_waits(open_writer: Callable[..., JournalWriter], clock: Clock) -> None:
    """Zero where nothing waits."""
    writer = open_writer()
    assert writer.lag(clock.wall()) == 0
    for _ in range(2):
        await commit(writer, make_record(1))
        await clock.move(2)
    assert writer.lag(clock.wall()) == pytest.approx(4, abs=1e-6)
    writer.shipped(2)
    assert writer.lag(clock.wall()) == 0


async def test_segment_with_the_checkpoint_of_a_running_stream_stays(
    open_writer: Callable[..., JournalWriter], clock: Clock
) -> None:
    """By its last checkpoint a crash closes it: the segment goes when the stream has ended, and not before."""
    writer = open_writer(segment=1)
    ends = [make_record(1, at=AT + 1), make_record(2, at=AT + 1)]
    for end in ends:
        writer.append(make_record(int(end.id[1:]), "open", at=end.at))
    await clock.move(60)
    await commit(writer, make_record(3))
    now = int(clock.wall() * 1000) + 1
    await writer.retire(9, now)
    assert writer.segments[0].first == 1
    writer.append(ends[0])
    await commit(writer, ends[1])
    await clock.move(60)
    await commit(writer, make_record(4))
    await writer.retire(9, now)
    assert writer.segments[0].first > 2


async def test_close_writes_what_waits(open_writer: Callable[..., JournalWriter], tmp_path: Path) -> None:
    """What the thread has, what gathered behind it, and what those record who are woken by it."""
    writer = open_writer()

    async def go_on() -> None:
        await writer.commit(make_record(1))
        writer.append(make_record(2))

    Trampoline(go_on(), _ignore).advance()
    last = commit(writer, make_record(3))
    writer.close()
    assert last.done()
    assert name(read_back(tmp_path)) == ["r1", "r3", "r2"]
    assert not writer._thread.is_alive()


async def test_closed_journal_commits_nothing(open_writer: Callable[..., JournalWriter], tmp_path: Path) -> None:
    """Who asks is told; to close it again changes nothing."""
    writer = open_writer()
    for _ in range(2):
        writer.close()
    with pytest.raises(SettlementFailed, match="the journal is closed"):
        await commit(writer, make_record(1))
    assert read_back(tmp_path).records == []


async def test_close_of_a_full_disk_fails_who_waits(
    open_writer: Callable[..., JournalWriter], fragile: FragileDisk, clock: Clock
) -> None:
    """And probes no more."""
    writer = open_writer(fragile)
    fragile.faults = 1.0
    waiting = commit(writer, make_record(1))
    writer.close()
    with pytest.raises(SettlementFailed, match="No space left"):
        await waiting
    await clock.move(PROBE)
    assert not writer._busy


async def test_probe_that_was_due_at_the_close_is_not_made(
    open_writer: Callable[..., JournalWriter], fragile: FragileDisk, clock: Clock
) -> None:
    """The thread is gone."""
    writer = open_writer(fragile)
    fragile.faults = 1.0
    with pytest.raises(SettlementFailed):
        await commit(writer, make_record(1))
    writer.close()
    await clock.move(PROBE)
    assert not writer._busy


async def test_disk_that_hangs_does_not_hold_up_the_close(
    open_writer: Callable[..., JournalWriter], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is given some seconds; what it had not confirmed is confirmed to nobody."""
    monkeypatch.setattr(room, "_CLOSE_SECONDS", 0.01)
    disk = HeldDisk()
    writer = open_writer(disk)
    disk.hold()
    committed = commit(writer, make_record(1))
    await disk.await_sync()
    writer.close()
    assert not committed.done()
    disk.release()
    await committed
    assert name(read_back(tmp_path)) == ["r1"]


def test_loop_that_is_gone_is_survived_by_the_thread(tmp_path: Path) -> None:
    """It was closed while the thread wrote: the thread ends when it is told to, and what it wrote is there."""
    disk = HeldDisk()
    loop = asyncio.new_event_loop()
    writer = JournalWriter(loop, tmp_path, read_back(tmp_path, disk))
    disk.hold()
    writer.append(make_record(1))
    loop.run_until_complete(disk.await_sync())
    loop.close()
    disk.release()
    writer.close()
    assert not writer._thread.is_alive()
    assert name(read_back(tmp_path)) == ["r1"]


async def test_what_the_last_life_could_not_record_is_recorded_first(
    open_writer: Callable[..., JournalWriter], tmp_path: Path
) -> None:
    """A stream that it left open is closed, once; the next start has nothing to do."""
    first = open_writer()
    first.append(make_record(1, "open"))
    first.close()
    second = open_writer()
    assert [(record.id, record.state) for record in second.lost] == [("r1", "settled")]
    await commit(second, make_record(2))
    second.close()
    assert name(read_back(tmp_path)) == ["r1", "r1", "r2"]
    third = open_writer()
    assert third.lost == []
    assert [(batch.first, batch.last) for batch in third.unshipped] == [(1, 3)]
    assert third.spooled == name_segment(tmp_path, 1).stat().st_size
