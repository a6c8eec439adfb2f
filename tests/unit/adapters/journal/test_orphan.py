"""The journal of a gateway that does not come back is booked, once."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest
from journals import JOURNAL, commit, framed, name_segment
from usage import make_record

from techstone.adapters.journal import orphan
from techstone.adapters.journal.orphan import Shipped
from techstone.adapters.journal.segments import JournalDamaged, JournalInUse, Lock, recover
from techstone.adapters.journal.writer import JournalWriter
from techstone.control.ledger.records import Applied, Following
from techstone.core import frames
from techstone.core.usage import DECODER

if TYPE_CHECKING:
    from pathlib import Path

    from techstone.core.usage import UsageRecord

NOW = 2_000_000_000.0


class _Ledger:
    """Books what is new by journal and number, as `booking.apply` does; each journal was heard `heard_at`."""

    def __init__(self, applied: int = 0, *, most: int | None = None, heard_at: float | None = None) -> None:
        self.journals = {JOURNAL: applied} if applied else {}
        self.most = most
        self.heard_at = heard_at
        self.booked: list[tuple[str, str]] = []

    async def find_journal(self, journal: str) -> Following:
        return Following(self.journals.get(journal, 0), self.heard_at)

    async def book(self, journal: str, first: int, body: bytes) -> Applied:
        applied = self.journals.get(journal, 0)
        records = [DECODER.decode(payload) for payload, _ in frames.read(body)]
        self.booked += [(record.id, record.state) for record in records[max(0, applied + 1 - first) :]]
        self.journals[journal] = applied = max(applied, first + len(records) - 1)
        return Applied(applied if self.most is None else min(applied, self.most))


async def _ship(folder: Path, ledger: _Ledger, *, force: bool = False) -> Shipped:
    return await orphan.ship(folder, ledger, NOW, force=force)


async def _commit(writer: JournalWriter, *records: UsageRecord) -> None:
    await asyncio.gather(*(commit(writer, record) for record in records))


async def test_what_the_ledger_lacks_is_booked_once(tmp_path: Path) -> None:
    """Over several segments, from where the gateway came to; a second time nothing is new."""
    name_segment(tmp_path, 1).write_bytes(framed(*(make_record(number) for number in (1, 2))))
    name_segment(tmp_path, 3).write_bytes(framed(*(make_record(number) for number in (3, 4))))
    ledger = _Ledger(applied=1)
    assert await _ship(tmp_path, ledger) == Shipped(JOURNAL, 4, 3)
    assert [name for name, _ in ledger.booked] == ["r2", "r3", "r4"]
    ledger.heard_at = NOW
    assert await _ship(tmp_path, ledger) == Shipped(JOURNAL, 4, 0)
    assert len(ledger.booked) == 3


async def test_what_was_under_way_is_ended_once(tmp_path: Path) -> None:
    """A stream that the crash left open is booked for what had been written of it, and its hold goes back."""
    path = name_segment(tmp_path, 1)
    path.write_bytes(framed(make_record(1, "open"), make_record(2)) + b"torn")
    ledger = _Ledger()
    assert await _ship(tmp_path, ledger) == Shipped(JOURNAL, 3, 3)
    assert [(name, state == "open") for name, state in ledger.booked] == [("r1", True), ("r2", False), ("r1", False)]
    assert await _ship(tmp_path, ledger) == Shipped(JOURNAL, 3, 0)
    assert path.read_bytes() == framed(make_record(1, "open"), make_record(2)), "the journal itself is not gone on with"


async def test_gateway_that_lives_after_all_loses_nothing(tmp_path: Path) -> None:
    """Its copy was shipped, and what it records after that has numbers that the ledger knows nothing of."""
    live, copy = tmp_path / "live", tmp_path / "copy"
    live.mkdir()
    writer = JournalWriter(asyncio.get_running_loop(), live, recover(live, lambda: JOURNAL))
    await _commit(writer, make_record(1, "open"), make_record(2))
    shutil.copytree(live, copy)
    ledger = _Ledger()
    await _ship(copy, ledger)
    await _commit(writer, make_record(3))
    shutil.rmtree(copy)
    shutil.copytree(live, copy)
    await _ship(copy, ledger)
    await _commit(writer, make_record(4), make_record(1))
    (batch,) = writer.gather(1 << 20)
    applied = await ledger.book(JOURNAL, 1, batch.segment.path.read_bytes())
    writer.shipped(applied.applied)
    writer.close()
    assert [name for name, state in ledger.booked if state != "open"] == ["r2", "r1", "r3", "r1", "r4", "r1"]
    assert (writer.problem, [*writer.unshipped]) == (None, [])


async def test_gateway_that_was_heard_lately_is_left_alone(tmp_path: Path) -> None:
    """A copy has no lock: whether it lives is asked of the ledger. Who knows that it is dead may say so."""
    name_segment(tmp_path, 1).write_bytes(framed(make_record(1)))
    ledger = _Ledger(heard_at=NOW - 59.0)
    with pytest.raises(JournalInUse, match="the gateway of the journal 0123456789abcdef was heard 59 s ago"):
        await _ship(tmp_path, ledger)
    assert ledger.booked == []
    assert (await _ship(tmp_path, ledger, force=True)).booked == 1
    other = _Ledger(heard_at=NOW - 61.0)
    assert (await _ship(tmp_path, other)).booked == 1


async def test_gateway_that_runs_is_left_alone(tmp_path: Path) -> None:
    """It ships by itself."""
    name_segment(tmp_path, 1).write_bytes(framed(make_record(1)))
    lock = Lock(tmp_path)
    ledger = _Ledger()
    with pytest.raises(JournalInUse, match="another gateway process writes it"):
        await _ship(tmp_path, ledger, force=True)
    lock.release()
    assert ledger.booked == []


async def test_older_copy_is_told_and_nothing_is_added(tmp_path: Path) -> None:
    """What came after it is known to the ledger alone: whether its streams ended, too."""
    path = name_segment(tmp_path, 1)
    path.write_bytes(framed(make_record(1, "open")))
    before = path.read_bytes()
    with pytest.raises(JournalDamaged, match="the ledger has 5 records of it and it has only 1"):
        await _ship(tmp_path, _Ledger(applied=5))
    assert path.read_bytes() == before


async def test_folder_without_a_journal_is_told(tmp_path: Path) -> None:
    """An operator may have named another folder."""
    with pytest.raises(JournalDamaged, match="there are no files of a journal"):
        await _ship(tmp_path, _Ledger())


async def test_ledger_that_takes_less_is_told(tmp_path: Path) -> None:
    """Nothing is said to be booked that is not."""
    name_segment(tmp_path, 1).write_bytes(framed(make_record(1), make_record(2)))
    with pytest.raises(JournalDamaged, match="the ledger took 1 of 2 records"):
        await _ship(tmp_path, _Ledger(most=1))
