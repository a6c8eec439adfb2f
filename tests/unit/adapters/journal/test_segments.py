"""The journal's files: what a start finds in them, what it cuts off, and what it refuses to touch."""

from __future__ import annotations

import errno
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from journals import JOURNAL, framed, lay, name, name_segment, read_back
from power import FragileDisk
from usage import AT, make_record

from techstone.adapters.journal.disk import Disk
from techstone.adapters.journal.segments import JournalDamaged, JournalInUse, Lock
from techstone.core import frames

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path("/journal")
RECORDS = [make_record(number) for number in range(1, 8)]


def _disk(*segments: tuple[int, bytes]) -> FragileDisk:
    """Return a disk in memory with such segments, by their first records."""
    disk = FragileDisk(Random(1))
    for first, data in segments:
        lay(disk, name_segment(FOLDER, first), data)
    return disk


def _content(disk: Disk) -> dict[str, bytes]:
    return {name: disk.read(FOLDER / name) for name in disk.names(FOLDER)}


def _damage(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the data with each byte changed, one at a time."""
    for at in range(len(data)):
        yield at, data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


def test_empty_folder_begins_a_journal(tmp_path: Path) -> None:
    """With the id that it is given; what else lies there is none of its business."""
    for other in ("lock", "answers-0000000000000000.log", f"{JOURNAL}-1.log", f"{JOURNAL}-{1:016d}.log.bak"):
        (tmp_path / other).write_bytes(b"other")
    recovered = read_back(tmp_path)
    assert (recovered.journal, recovered.last, recovered.records, recovered.segments) == (JOURNAL, 0, [], [])


def test_records_come_back_with_their_numbers(tmp_path: Path) -> None:
    """Over all segments, the oldest first, whatever number the oldest begins with."""
    lay(Disk(), name_segment(tmp_path, 5), framed(*RECORDS[:3]))
    lay(Disk(), name_segment(tmp_path, 8), framed(*RECORDS[3:5]))
    recovered = read_back(tmp_path)
    assert recovered.records == list(enumerate(RECORDS[:5], 5))
    assert [(one.first, one.last, one.size) for one in recovered.segments] == [
        (5, 7, len(framed(*RECORDS[:3]))),
        (8, 9, len(framed(*RECORDS[3:5]))),
    ]
    assert recovered.last == 9
    assert recovered.segments[0].newest == AT + 2, "when the last one ended: 2 ms after its admission"


def test_tail_torn_at_any_byte_is_cut_off() -> None:
    """Everything before it is kept, the cut is told once, and the next start finds a whole file."""
    whole = framed(*RECORDS[:3])
    ends = [0, *(end for _, end in frames.read(whole))]
    for size in range(len(whole) + 1):
        disk = _disk((1, whole[:size]))
        recovered = read_back(FOLDER, disk)
        kept = sum(end <= size for end in ends) - 1
        assert name(recovered) == ["r1", "r2", "r3"][:kept]
        assert recovered.torn == size - ends[kept]
        assert disk.read(name_segment(FOLDER, 1)) == whole[: ends[kept]]
        assert (read_back(FOLDER, disk).torn, recovered.last) == (0, kept)


def test_tail_damaged_at_any_byte_is_cut_off() -> None:
    """A block of the last group that did not reach the disk, wherever it lies in it."""
    head, tail = framed(RECORDS[0]), framed(RECORDS[1])
    for _, damaged in _damage(tail):
        disk = _disk((1, head + damaged))
        assert name(read_back(FOLDER, disk)) == ["r1"]
        assert disk.read(name_segment(FOLDER, 1)) == head


def test_probe_that_a_crash_left_is_no_record() -> None:
    """A run of zero bytes behind the records, as a probe or a file made longer leaves it."""
    disk = _disk((1, framed(RECORDS[0]) + bytes(65_536)))
    recovered = read_back(FOLDER, disk)
    assert (name(recovered), recovered.torn) == (["r1"], 65_536)


def test_damage_in_a_sealed_segment_is_told_and_nothing_is_changed() -> None:
    """At every byte of it: the file, the byte and the record are named, and every file is as it was."""
    sealed = framed(*RECORDS[:3])
    ends = [0, *(end for _, end in frames.read(sealed))]
    for at, damaged in _damage(sealed):
        disk = _disk((1, damaged), (4, framed(RECORDS[3]) + b"torn"))
        before = _content(disk)
        hit = sum(end <= at for end in ends) - 1
        with pytest.raises(JournalDamaged) as told:
            read_back(FOLDER, disk)
        assert str(told.value) == (f"journal {name_segment(FOLDER, 1)}: damaged at byte {ends[hit]}, record {hit + 1}")
        assert _content(disk) == before


def test_sealed_segment_that_is_cut_is_told() -> None:
    """A file that was complete once and ends early is damage, not a torn tail."""
    disk = _disk((1, framed(*RECORDS[:3])[:-1]), (4, framed(RECORDS[3])))
    with pytest.raises(JournalDamaged, match=r"damaged at byte \d+, record 3"):
        read_back(FOLDER, disk)


def test_segment_ends_where_the_next_ones_name_says() -> None:
    """What lies behind is of a group that could not be synced: its number was given to another record."""
    disk = _disk((1, framed(*RECORDS[:3])), (3, framed(RECORDS[5])))
    assert name(read_back(FOLDER, disk)) == ["r1", "r2", "r6"]


def test_missing_segment_is_told() -> None:
    """A gap between two names: somebody took a file away."""
    disk = _disk((1, framed(*RECORDS[:2])), (3, framed(RECORDS[2])), (6, framed(RECORDS[5])))
    del disk._files[name_segment(FOLDER, 3)]
    before = _content(disk)
    with pytest.raises(JournalDamaged, match=r"-0000000000000001\.log: damaged at byte \d+, record 3"):
        read_back(FOLDER, disk)
    assert _content(disk) == before


def test_files_of_two_journals_are_told(tmp_path: Path) -> None:
    """One folder is one journal: which of them the ledger follows cannot be known here."""
    lay(Disk(), name_segment(tmp_path, 1), framed(RECORDS[0]))
    lay(Disk(), tmp_path / f"{'f' * 16}-{1:016d}.log", framed(RECORDS[1]))
    with pytest.raises(JournalDamaged, match=f"files of 2 journals: {JOURNAL}, {'f' * 16}"):
        read_back(tmp_path)


def test_record_of_another_version_is_told_and_kept() -> None:
    """Whole, but not to be read: it is no torn tail, and a newer gateway can read it."""
    disk = _disk((1, framed(RECORDS[0]) + frames.frame(b"\x90")))
    before = _content(disk)
    with pytest.raises(JournalDamaged, match=rf"unknown record at byte {len(framed(RECORDS[0]))}"):
        read_back(FOLDER, disk)
    assert _content(disk) == before


def test_what_is_read_back_lasts() -> None:
    """A killed process may not have synced it; it is shipped now, so the next power cut must not take it away."""
    disk = FragileDisk(Random(1))
    number = disk.create(name_segment(FOLDER, 1))
    disk.write(number, framed(*RECORDS), 0)
    killed = disk.kill()
    assert len(read_back(FOLDER, killed).records) == 7
    for _ in range(30):
        assert name(read_back(FOLDER, killed.cut())) == [record.id for record in RECORDS]


def test_sync_that_fails_refuses_the_start(tmp_path: Path) -> None:
    """What is read would be shipped and might not last; the file is let go of."""

    class Broken(Disk):
        closed = 0

        def sync(self, number: int) -> None:
            super().sync(number)
            raise OSError(errno.EIO, "Input/output error")

        def close(self, number: int) -> None:
            super().close(number)
            self.closed += 1

    lay(Disk(), name_segment(tmp_path, 1), framed(RECORDS[0]))
    disk = Broken()
    with pytest.raises(OSError, match="Input/output error"):
        read_back(tmp_path, disk)
    assert disk.closed == 1


def test_what_is_read_back_is_shipped_in_pieces() -> None:
    """Of 256 KiB at most, one after another, none over the end of a segment."""
    records = [make_record(number) for number in range(1, 9001)]
    disk = _disk((1, framed(*records[:8000])), (8001, framed(*records[8000:])))
    batches = read_back(FOLDER, disk).batches
    assert [batch.first for batch in batches] == [1, *(batch.last + 1 for batch in batches[:-1])]
    assert batches[-1].last == 9000
    for batch in batches:
        assert batch.end - batch.start <= 256 * 1024
        assert batch.sealed
        data = disk.read_part(batch.segment.path, batch.start, batch.end)
        assert data == framed(*records[batch.first - 1 : batch.last])
    assert {batch.segment.first for batch in batches} == {1, 8001}
    assert len(batches) < 8


def test_what_is_open_is_closed_unless_what_was_lost_ends_it() -> None:
    """A stored answer's settlement ends its stream; the streams that nothing ends are closed."""
    opened = [make_record(number, "open") for number in (1, 2)]
    recovered = read_back(FOLDER, _disk((1, framed(*opened))))
    assert [record.id for record in recovered.close_open([])] == ["r1", "r2"]
    assert [record.id for record in recovered.close_open([make_record(1)])] == ["r2"]


def test_two_writers_on_a_folder_are_refused(tmp_path: Path) -> None:
    """The second is told at once; when the first lets go, another may have it."""
    lock = Lock(tmp_path)
    with pytest.raises(JournalInUse, match="another gateway process writes it"):
        Lock(tmp_path)
    lock.release()
    Lock(tmp_path).release()
