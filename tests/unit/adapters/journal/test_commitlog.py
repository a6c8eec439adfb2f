"""Groups of records on disk: whole, in order, or not at all, whichever operation of the disk fails."""

from __future__ import annotations

import errno
import itertools
from pathlib import Path
from random import Random

import pytest
from journals import framed, name, name_segment, read_back
from power import FragileDisk, PowerCut
from usage import AT, make_answer, make_record

from techstone.adapters.journal.answers import Answers
from techstone.adapters.journal.commitlog import CommitLog, find_lost

FOLDER = Path("/journal")


class BrokenDisk(FragileDisk):
    """Of its changes those fail whose numbers are in `broken`. What a failed sync was for is forgotten (fsyncgate)."""

    def __init__(self) -> None:
        super().__init__(Random(1))
        self.broken = range(0)
        self.changes = 0

    def break_next(self, times: int = 1, *, after: int = 0) -> None:
        self.changes = 0
        self.broken = range(after + 1, after + 1 + times)

    def _step(self) -> bool:
        self.changes += 1
        if self.changes in self.broken:
            raise OSError(errno.EIO, "Input/output error")
        return super()._step()

    def sync(self, number: int) -> None:
        try:
            super().sync(number)
        except OSError:
            self._open[number].pending = []
            raise


def _open_log(disk: FragileDisk, segment_bytes: int = 1 << 20) -> CommitLog:
    recovered = read_back(FOLDER, disk)
    answers = Answers(FOLDER, disk, file_bytes=300)
    find_lost(recovered, answers)
    return CommitLog(FOLDER, recovered, answers, segment_bytes, lambda: AT / 1000)


def _write(log: CommitLog, *numbers: int) -> None:
    log.write([framed(make_record(number)) for number in numbers])


def _names(disk: FragileDisk) -> list[int]:
    return [int(name[17:33]) for name in disk.names(FOLDER) if not name.startswith("answers")]


def test_group_says_where_it_lies() -> None:
    """Its place in the segment, its numbers and its time: by these it is shipped."""
    disk = FragileDisk(Random(1))
    log = _open_log(disk)
    _write(log, 1)
    batch, places = log.write([framed(make_record(2)), framed(make_record(3))])
    start = len(framed(make_record(1)))
    assert (batch.start, batch.end) == (start, start + len(framed(make_record(2), make_record(3))))
    assert (batch.first, batch.last, batch.at, batch.sealed, places) == (2, 3, AT / 1000, False, [])
    assert disk.read_part(batch.segment.path, batch.start, batch.end) == framed(make_record(2), make_record(3))


def test_next_start_writes_on_in_the_last_segment() -> None:
    """Behind what is there, with the next number."""
    disk = FragileDisk(Random(1))
    for number in (1, 2, 3):
        log = _open_log(disk)
        _write(log, number)
        log.close()
        assert not disk._open, "every file is let go of"
    assert _names(disk) == [1]
    assert name(read_back(FOLDER, disk)) == ["r1", "r2", "r3"]


def test_segment_rolls_at_its_size() -> None:
    """The group that comes when it is full begins the next one, which is named by its first record."""
    disk = FragileDisk(Random(1))
    log = _open_log(disk, segment_bytes=2 * len(framed(make_record(1))))
    for number in range(1, 6):
        _write(log, number)
    assert _names(disk) == [1, 3, 5]
    assert [(one.first, one.last) for one in log.segments] == [(1, 2), (3, 4), (5, 5)]
    assert name(read_back(FOLDER, disk)) == ["r1", "r2", "r3", "r4", "r5"]


@pytest.mark.parametrize(
    ("applied", "before", "left"),
    [(0, AT + 1, [1, 2, 3]), (1, AT + 1, [2, 3]), (9, AT, [1, 2, 3]), (9, AT + 1, [3]), (2, AT + 1, [3])],
)
def test_segment_retires_only_when_applied_and_old(applied: int, before: int, left: list[int]) -> None:
    """And never the last one, by which the numbers go on."""
    disk = FragileDisk(Random(1))
    log = _open_log(disk, segment_bytes=1)
    for number in (1, 2, 3):
        _write(log, number)
    assert log.has_retired(applied, before) == (len(left) < 3)
    log.retire(applied, before)
    assert _names(disk) == left
    assert [one.first for one in log.segments] == left


def test_cut_while_segments_retire_leaves_no_gap() -> None:
    """At each moment: what is back after a power cut are the newest segments, one after another."""
    for fuse, seed in itertools.product(range(1, 9), range(5)):
        disk = FragileDisk(Random(seed))
        log = _open_log(disk, segment_bytes=1)
        for number in range(1, 6):
            _write(log, number)
        disk.fuse = fuse
        with pytest.raises(PowerCut):
            log.retire(5, AT + 1)
        assert read_back(FOLDER, disk.cut()).last == 5


def test_group_is_there_whole_or_not_at_all_whichever_change_fails() -> None:
    """Once mended, what failed is gone for good; what was acknowledged is there after a power cut, with its answer."""
    for after, times in itertools.product(range(56), (1, 2, 3)):
        disk = BrokenDisk()
        log = _open_log(disk, segment_bytes=3 * len(framed(make_record(1))))
        disk.break_next(times, after=after)
        acknowledged = []
        for number in range(11, 31, 2):
            try:
                log.write([framed(make_record(number)), framed(make_record(number + 1))], [(0, make_answer(number))])
            except OSError:
                _mend(log)
            else:
                acknowledged += [f"r{number}", f"r{number + 1}"]
        assert len(acknowledged) in {18, 20}
        assert len(disk._open) == 2, "a segment and a file of answers"
        found = disk.cut()
        recovered = read_back(FOLDER, found)
        assert name(recovered) == acknowledged
        answers = Answers(FOLDER, found)
        assert find_lost(recovered, answers) == []
        stored = [f"r{number}" for number in range(11, 31) if answers.find("a1", f"i{number}", AT) is not None]
        assert stored == acknowledged[::2]


def _mend(log: CommitLog) -> None:
    while True:
        try:
            log.mend()
        except OSError:
            continue
        return


def test_full_disk_takes_the_group_back() -> None:
    """What did not fit is cut off at once; the segment is written on when there is room."""
    disk = FragileDisk(Random(1))
    log = _open_log(disk)
    _write(log, 1)
    disk.faults = 1.0
    with pytest.raises(OSError, match="No space left"):
        _write(log, 2, 3)
    assert disk.read(name_segment(FOLDER, 1)) == framed(make_record(1))
    with pytest.raises(OSError, match="No space left"):
        log.mend()
    disk.faults = 0.0
    log.mend()
    _write(log, 4)
    assert _names(disk) == [1]
    assert disk.read(name_segment(FOLDER, 1)) == framed(make_record(1), make_record(4))


def test_file_whose_sync_failed_is_not_written_again() -> None:
    """The next sync of it might succeed though nothing was written (fsyncgate): the journal goes on in a new file."""
    disk = BrokenDisk()
    log = _open_log(disk)
    _write(log, 1)
    disk.break_next(after=1)
    with pytest.raises(OSError, match="Input/output error"):
        _write(log, 2, 3)
    log.mend()
    _write(log, 4)
    assert _names(disk) == [1, 2]
    assert name(read_back(FOLDER, disk.cut())) == ["r1", "r4"]


def test_empty_segment_whose_sync_failed_is_replaced() -> None:
    """The new one has the same name, as no number was given, and is another file."""
    disk = BrokenDisk()
    log = _open_log(disk)
    before = disk._files[name_segment(FOLDER, 1)]
    disk.break_next(after=1)
    with pytest.raises(OSError, match="Input/output error"):
        _write(log, 1)
    log.mend()
    assert _names(disk) == [1]
    assert disk._files[name_segment(FOLDER, 1)] is not before
    assert len(disk._open) == 1, "the old one is let go of"
    _write(log, 2)
    assert [segment.first for segment in log.segments] == [1]


def test_probe_needs_as_much_room_as_a_group() -> None:
    """64 KiB are written and synced, and taken back; only then the journal is said to work."""

    class Watched(FragileDisk):
        def write(self, number: int, data: bytes, offset: int) -> None:
            written.append(len(data))
            super().write(number, data, offset)

    written: list[int] = []
    disk = Watched(Random(1))
    log = _open_log(disk)
    _write(log, 1)
    log.mend()
    assert written == [len(framed(make_record(1))), 65_536]
    assert disk.read(name_segment(FOLDER, 1)) == framed(make_record(1))


def test_mending_a_full_segment_begins_the_next() -> None:
    """So that the probe is where the next group will be."""
    disk = BrokenDisk()
    log = _open_log(disk, segment_bytes=1)
    _write(log, 1)
    disk.break_next()
    with pytest.raises(OSError, match="Input/output error"):
        _write(log, 2)
    log.mend()
    assert _names(disk) == [1, 2]


def test_folder_whose_sync_fails_costs_no_descriptor() -> None:
    """A disk that is broken for hours is tried twice a second."""
    disk = BrokenDisk()
    log = _open_log(disk, segment_bytes=1)
    _write(log, 1)
    for _ in range(3):
        disk.break_next(after=1)
        with pytest.raises(OSError, match="Input/output error"):
            log.mend()
    assert len(disk._open) == 1
