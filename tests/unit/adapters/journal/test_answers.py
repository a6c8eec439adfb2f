"""Whole answers under their Idempotency-Keys: kept for 24 h, replayed after a start, and billed once, always."""

from __future__ import annotations

import errno
import itertools
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest
from journals import framed, lay, name, name_segment, read_back
from power import FragileDisk, PowerCut
from usage import AT, make_answer, make_record

from techstone.adapters.journal import answers as room
from techstone.adapters.journal.answers import KEPT_MILLISECONDS, Answers
from techstone.adapters.journal.commitlog import CommitLog, find_lost
from techstone.adapters.journal.disk import Disk
from techstone.core import frames
from techstone.gateway.ports import Remembered

if TYPE_CHECKING:
    from techstone.core.usage import UsageRecord
    from techstone.gateway.ports import StoredAnswer

FOLDER = Path("/journal")
NOW = AT + 1000
ANSWERS = "answers-0000000000000000.log"


class Life:
    """One life of journal and answers; `lost` is what the last one could not record."""

    def __init__(self, disk: Disk, folder: Path = FOLDER, *, total: int = 1 << 30, file_bytes: int = 1 << 20) -> None:
        recovered = read_back(folder, disk)
        self.answers = Answers(folder, disk, total, file_bytes)
        self.lost: list[UsageRecord] = find_lost(recovered, self.answers)
        self.log = CommitLog(folder, recovered, self.answers, wall_clock=lambda: NOW / 1000)

    def settle(self, *answers: StoredAnswer) -> None:
        """Record each answer's request, as one group."""
        records = [framed(make_record(int(answer.request_id[1:]), at=answer.at)) for answer in answers]
        _, places = self.log.write(records, list(enumerate(answers)))
        self.answers.add(places)

    def record(self, *records: UsageRecord) -> None:
        self.log.write([framed(record) for record in records])

    def payload(self, key: str, now: int = NOW) -> bytes | None:
        """Return what a retry would be answered with."""
        found = self.answers.find("a1", key, now)
        stored = self.answers.load(found) if found is not None else None
        return stored.payload if stored is not None else None


@pytest.fixture
def disk() -> FragileDisk:
    return FragileDisk(Random(1))


def _files(disk: Disk) -> list[str]:
    return [name for name in disk.names(FOLDER) if name.startswith("answers")]


def test_stored_answer_is_found_by_account_and_key(disk: FragileDisk) -> None:
    """With the digest of its request, by which another body under the key is refused."""
    life = Life(disk)
    answer = make_answer(1, b'{"id": "1"}')
    life.settle(answer, make_answer(2))
    found = life.answers.find("a1", "i1", NOW)
    assert found is not None
    assert (found.digest, found.request_id, found.at, found.too_large) == (b"d" * 32, "r1", AT, False)
    assert life.answers.load(found) == answer
    assert life.answers.find("a2", "i1", NOW) is None
    assert life.answers.find("a1", "i3", NOW) is None


def test_answer_is_known_once_its_settlement_is_durable(disk: FragileDisk) -> None:
    """The thread has written both before the event loop knows of it."""
    life = Life(disk)
    _, places = life.log.write([framed(make_record(1))], [(0, make_answer(1))])
    assert life.answers.find("a1", "i1", NOW) is None
    life.answers.add(places)
    assert life.payload("i1") == b"{}"


def test_answer_is_replayed_after_a_restart(tmp_path: Path) -> None:
    """Byte by byte, over two restarts on a real folder, and nothing is to be billed again."""
    for number in (1, 2, 3):
        life = Life(Disk(), tmp_path)
        assert life.lost == []
        for earlier in range(1, number):
            assert life.payload(f"i{earlier}") == b"answer %d" % earlier
        life.settle(make_answer(number, b"answer %d" % number))
        life.log.close()
    assert name(read_back(tmp_path)) == ["r1", "r2", "r3"]


def test_answer_expires_after_24_hours(disk: FragileDisk) -> None:
    """After that its key is free again, and the answer made anew is the one that is found."""
    life = Life(disk)
    life.settle(make_answer(1, b"old"))
    assert life.payload("i1", AT + KEPT_MILLISECONDS) == b"old"
    later = AT + KEPT_MILLISECONDS + 1
    assert life.payload("i1", later) is None
    life.settle(make_answer(2, b"new", key="i1", at=later))
    assert life.payload("i1", later) == b"new"
    assert Life(disk.kill()).payload("i1", later) == b"new", "and so it is after a restart"


def test_file_goes_when_all_its_answers_are_too_old(disk: FragileDisk) -> None:
    """It is the newest that counts; the file that is written on stays."""
    life = Life(disk, file_bytes=1)
    for number in (1, 2, 3):
        life.settle(make_answer(number, at=AT + number))
    life.answers.retire(AT + 1 + KEPT_MILLISECONDS)
    assert len(_files(disk)) == 3
    life.answers.retire(AT + 2 + KEPT_MILLISECONDS)
    assert len(_files(disk)) == 2
    life.answers.retire(AT + 9 + KEPT_MILLISECONDS)
    assert len(_files(disk)) == 1


def test_oldest_file_goes_when_all_take_too_much(tmp_path: Path) -> None:
    """What it held is not known any more, and its keys are free; a key that was stored again keeps its newer answer."""
    life = Life(Disk(), tmp_path, total=2500, file_bytes=1000)
    for number in range(1, 5):
        life.settle(make_answer(number, b"x" * 800, key="again" if number in {1, 4} else None))
    held = life.answers.find("a1", "i2", NOW)
    assert held is not None
    life.answers.retire(NOW)
    assert [life.payload(key) is not None for key in ("again", "i2", "i3")] == [True, False, True]
    assert life.answers.load(held) is None, "who found it before is told"
    assert sum(path.stat().st_size for path in tmp_path.glob("answers-*")) <= 2500
    life.log.close()


def test_file_that_cannot_be_deleted_is_forgotten(tmp_path: Path) -> None:
    """It is read once more at the next start, and deleted then."""

    class Stubborn(Disk):
        def remove(self, path: Path) -> None:
            raise PermissionError(str(path))

    life = Life(Stubborn(), tmp_path, file_bytes=1)
    for number in (1, 2):
        life.settle(make_answer(number, at=AT + number))
    life.answers.retire(AT + 2 + KEPT_MILLISECONDS)
    assert life.payload("i1") is None
    again = Life(Disk(), tmp_path)
    again.answers.retire(AT + 2 + KEPT_MILLISECONDS)
    assert len([name for name in Disk().names(tmp_path) if name.startswith("answers")]) == 1
    for each in (life, again):
        each.log.close()


def test_answer_too_large_is_known_without_its_bytes(disk: FragileDisk) -> None:
    """Its retry is refused and not made anew, which would be billed twice; so it is after a restart."""
    life = Life(disk)
    life.settle(make_answer(1, b""))
    for each in (life, Life(disk.kill())):
        found = each.answers.find("a1", "i1", NOW)
        assert found is not None
        assert found.too_large


def test_no_more_are_known_than_memory_allows(disk: FragileDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was stored first is forgotten first; one stored anew counts as new."""
    monkeypatch.setattr(room, "_MOST", 3)
    life = Life(disk)
    for number, key in enumerate(("a", "b", "c", "a", "d"), 1):
        life.settle(make_answer(number, key=key))
    assert [life.payload(key) is not None for key in "abcd"] == [True, False, True, True]


def test_answer_whose_settlement_a_crash_took_is_settled_once() -> None:
    """A kill or a power cut at each change of the disk, and again in the next life: what is stored is billed once."""
    for first, again, seed in itertools.product(range(1, 13), range(1, 9), range(4)):
        disk, acknowledged = FragileDisk(Random(seed)), 0
        for fuse in (first, again, 1 << 60):
            disk.fuse = fuse
            try:
                life = Life(disk, file_bytes=300)
                if life.lost:
                    life.record(*life.lost)
                for number in (1, 2):
                    if life.answers.find("a1", f"i{number}", NOW) is None:
                        life.settle(make_answer(number))
                    acknowledged = max(acknowledged, number)
            except PowerCut:
                disk = disk.kill() if seed % 2 else disk.cut()
        assert acknowledged == 2
        assert sorted(name(read_back(FOLDER, disk))) == ["r1", "r2"]
        assert [life.payload("i1"), life.payload("i2")] == [b"{}", b"{}"]


def test_answer_says_which_record_settles_it(disk: FragileDisk) -> None:
    """By its number in the journal: what is there of that or a later number was lost, whatever else is known."""
    life = Life(disk)
    life.record(make_record(1))
    life.log.write([framed(make_record(number)) for number in (2, 3, 4)], [(0, make_answer(2)), (2, make_answer(4))])
    for expected, lost in ((5, []), (4, ["r4"]), (3, ["r4"]), (2, ["r2", "r4"])):
        assert [record.id for record in Answers(FOLDER, disk.kill()).recover(expected)] == lost


def test_settlement_under_another_number_is_not_recorded_again(disk: FragileDisk) -> None:
    """Of a lost group two had answers, and not the one between them: the second gets an earlier number than it says."""
    life = Life(disk)
    life.record(make_record(1))
    group = [(2, framed(make_record(2))[8:], make_answer(2)), (4, framed(make_record(4))[8:], make_answer(4))]
    life.answers.write(group)  # and the process is killed before it writes the records
    life = Life(disk.kill())
    assert [record.id for record in life.lost] == ["r2", "r4"]
    life.record(*life.lost)
    life = Life(disk.kill())
    assert life.lost == []
    assert life.payload("i4") == b"{}"


def test_stream_that_is_stored_is_not_closed_as_well(disk: FragileDisk) -> None:
    """Its settlement, taken from the answer, is what ends it; another that was open is closed."""
    life = Life(disk)
    life.record(make_record(1, "open"), make_record(2, "open"))
    life.answers.write([(3, framed(make_record(1))[8:], make_answer(1))])
    lost = Life(disk.kill()).lost
    assert [(record.id, record.status) for record in lost] == [("r1", 200), ("r2", 499)]


@pytest.mark.parametrize("mended", [False, True])
def test_answer_that_was_taken_back_is_not_replayed(*, mended: bool) -> None:
    """Its group failed and its client was told so: not even a kill right after brings it back, or bills it."""

    class Full(FragileDisk):
        """Has room for so many more writes."""

        room = 1 << 60

        def write(self, number: int, data: bytes, offset: int) -> None:
            self.room -= 1
            if self.room == -1:
                raise OSError(errno.ENOSPC, "No space left on device")
            super().write(number, data, offset)

    disk = Full(Random(1))
    life = Life(disk)
    life.settle(make_answer(1))
    disk.room = 1
    with pytest.raises(OSError, match="No space left"):
        life.settle(make_answer(2))
    if mended:
        life.log.mend()
    again = Life(disk.cut() if mended else disk.kill())
    for each in (life, again):
        assert (each.payload("i1"), each.payload("i2")) == (b"{}", None)
    assert again.lost == []


def test_tail_torn_at_any_byte_is_cut_off(disk: FragileDisk) -> None:
    """Every answer before it is kept, and what is stored next can be read after it."""
    life = Life(disk)
    for number in (1, 2):
        life.settle(make_answer(number))
    whole = disk.read(FOLDER / ANSWERS)
    ends = [end for _, end in frames.read(whole)]
    journal = framed(make_record(1), make_record(2))
    for size in range(len(whole) + 1):
        torn = FragileDisk(Random(1))
        lay(torn, FOLDER / ANSWERS, whole[:size])
        lay(torn, name_segment(FOLDER, 1), journal)
        life = Life(torn)
        life.settle(make_answer(3))
        again = Life(torn.cut())
        for each in (life, again):
            known = [each.payload(f"i{number}") is not None for number in (1, 2, 3)]
            assert known == [size >= ends[0], size >= ends[1], True]


def test_what_lies_behind_the_next_ones_name_is_not_replayed(disk: FragileDisk) -> None:
    """It is of a group that could not be synced, and was taken back by a new file."""
    life = Life(disk)
    for number in (1, 2):
        life.settle(make_answer(number))
    whole = disk.read(FOLDER / ANSWERS)
    end = next(end for _, end in frames.read(whole))
    lay(disk, FOLDER / f"answers-{end:016d}.log", b"")
    again = Life(disk)
    assert (again.payload("i1"), again.payload("i2")) == (b"{}", None)


def test_answer_of_another_version_ends_the_reading(disk: FragileDisk) -> None:
    """To answer anew is all that a client would notice."""
    life = Life(disk)
    life.settle(make_answer(1))
    whole = disk.read(FOLDER / ANSWERS)
    lay(disk, FOLDER / ANSWERS, whole + frames.frame(msgspec.msgpack.encode([1, 2])) + whole)
    again = Life(disk)
    assert again.payload("i1") == b"{}"
    assert disk.read(FOLDER / ANSWERS) == whole


def test_answer_that_was_damaged_since_is_gone(disk: FragileDisk) -> None:
    """A retry is answered anew, not with what the disk made of it; so where what was found is of another store."""
    life = Life(disk)
    life.settle(make_answer(1, b"answer"))
    found = life.answers.find("a1", "i1", NOW)
    assert found is not None
    lay(disk, FOLDER / ANSWERS, disk.read(FOLDER / ANSWERS).replace(b"answer", b"bnswer"))
    assert life.answers.load(found) is None
    assert life.answers.load(Remembered(b"d" * 32, "r1", AT, too_large=False, size=9)) is None


def test_newest_answers_are_told_first(disk: FragileDisk) -> None:
    """What other gateways are told anew is what clients repeat; also after a start."""
    life = Life(disk)
    for number in range(1, 5):
        life.settle(make_answer(number))
    for one in (life, Life(disk)):
        assert one.answers.newest(3) == [("a1", "i4"), ("a1", "i3"), ("a1", "i2")]
    found = life.answers.find("a1", "i4", NOW)
    assert found is not None
    assert found.size == len(disk.read(FOLDER / ANSWERS)) / 4
