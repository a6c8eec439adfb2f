"""The journal of a gateway that does not come back is booked, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from journals import JOURNAL, framed, name_segment
from usage import make_record

from techstone.adapters.journal import orphan
from techstone.adapters.journal.orphan import Shipped
from techstone.adapters.journal.segments import JournalDamaged, JournalInUse, Lock
from techstone.core import frames
from techstone.core.usage import DECODER

if TYPE_CHECKING:
    from pathlib import Path


class _Ledger:
    """Books what is new by number, as `booking.apply` does."""

    def __init__(self, applied: int = 0, *, most: int | None = None) -> None:
        self.applied = applied
        self.most = most
        self.booked: list[tuple[str, str]] = []

    async def book(self, journal: str, first: int, body: bytes) -> int:
        assert journal == JOURNAL
        records = [DECODER.decode(payload) for payload, _ in frames.read(body)]
        fresh = records[max(0, self.applied + 1 - first) :]
        self.booked += [(record.id, record.state) for record in fresh]
        self.applied = max(self.applied, first + len(records) - 1)
        return self.applied if self.most is None else min(self.applied, self.most)


async def test_what_the_ledger_lacks_is_booked_once(tmp_path: Path) -> None:
    """Over several segments, from where the gateway came to; a second time nothing is new."""
    name_segment(tmp_path, 1).write_bytes(framed(*(make_record(number) for number in (1, 2))))
    name_segment(tmp_path, 3).write_bytes(framed(*(make_record(number) for number in (3, 4))))
    ledger = _Ledger(applied=1)
    assert await orphan.ship(tmp_path, ledger.book) == Shipped(JOURNAL, 4, 3)
    assert [name for name, _ in ledger.booked] == ["r2", "r3", "r4"]
    assert await orphan.ship(tmp_path, ledger.book) == Shipped(JOURNAL, 4, 0)
    assert len(ledger.booked) == 3


async def test_what_was_under_way_is_ended(tmp_path: Path) -> None:
    """A stream that the crash left open is booked for what had been written of it, and its hold goes back."""
    name_segment(tmp_path, 1).write_bytes(framed(make_record(1, "open"), make_record(2)) + b"torn")
    ledger = _Ledger()
    assert (await orphan.ship(tmp_path, ledger.book)).booked == 3
    assert [(name, state == "open") for name, state in ledger.booked] == [("r1", True), ("r2", False), ("r1", False)]


async def test_gateway_that_runs_is_left_alone(tmp_path: Path) -> None:
    """It ships by itself."""
    name_segment(tmp_path, 1).write_bytes(framed(make_record(1)))
    lock = Lock(tmp_path)
    ledger = _Ledger()
    with pytest.raises(JournalInUse, match="another gateway process writes it"):
        await orphan.ship(tmp_path, ledger.book)
    lock.release()
    assert ledger.booked == []


async def test_older_copy_is_told_and_nothing_is_added(tmp_path: Path) -> None:
    """Numbers that the ledger has would be given to other records."""
    path = name_segment(tmp_path, 1)
    path.write_bytes(framed(make_record(1, "open")))
    before = path.read_bytes()
    with pytest.raises(JournalDamaged, match="the ledger has 5 records of it and it has only 1"):
        await orphan.ship(tmp_path, _Ledger(applied=5).book)
    assert path.read_bytes() == before


async def test_folder_without_a_journal_is_told(tmp_path: Path) -> None:
    """An operator may have named another folder."""
    with pytest.raises(JournalDamaged, match="there are no files of a journal"):
        await orphan.ship(tmp_path, _Ledger().book)


async def test_ledger_that_takes_less_is_told(tmp_path: Path) -> None:
    """Nothing is said to be booked that is not."""
    name_segment(tmp_path, 1).write_bytes(framed(make_record(1), make_record(2)))
    with pytest.raises(JournalDamaged, match="the ledger took 1 of 2 records"):
        await orphan.ship(tmp_path, _Ledger(most=1).book)
