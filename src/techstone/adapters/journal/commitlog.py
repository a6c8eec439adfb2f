"""Writes groups of records to the journal's files and syncs them: whole, in order, or not at all.

Knows no thread and no event loop. After any failure it takes the group back, and must be mended before the next one: a
probe is written and synced, and what was taken back is known to be gone.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from techstone.adapters.journal.segments import Batch, Segment
from techstone.core import frames

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from techstone.adapters.journal.answers import Answers, Place
    from techstone.adapters.journal.disk import Disk
    from techstone.adapters.journal.segments import Recovered
    from techstone.core.usage import UsageRecord
    from techstone.gateway.ports import StoredAnswer

SEGMENT_BYTES = 16 * 1024 * 1024
# More than a group of a busy gateway: where this fits, the next group does.
_PROBE = bytes(64 * 1024)

Written = tuple[Batch, "list[Place]"]
"""Where a group lies, and its answers."""


def find_lost(recovered: Recovered, answers: Answers) -> list[UsageRecord]:
    """Read the answers back too; return the records that must be written first, as the last run could not."""
    settlements = answers.recover(recovered.last + 1)
    if settlements:
        # After an earlier crash one may have been recorded under another number than its answer was to have.
        known = {record.id for _, record in recovered.records if record.state != "open"}
        settlements = [record for record in settlements if record.id not in known]
    return [*settlements, *recovered.close_open(settlements)]


class CommitLog:
    """The last segment, open. `write` and `mend` raise OSError; after `write` has, only `mend` may follow."""

    def __init__(
        self,
        folder: Path,
        recovered: Recovered,
        answers: Answers,
        segment_bytes: int = SEGMENT_BYTES,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._journal = recovered.journal
        self._disk: Disk = recovered.disk
        self._answers = answers
        self._segment_bytes = segment_bytes
        self._wall_clock = wall_clock
        self.segments: list[Segment] = recovered.segments
        self._suspect = False
        self._number = -1
        if self.segments:
            self._number = self._disk.open(self.segments[-1].path)
        else:
            self._open_next()

    def write(self, records: Sequence[bytes], answers: Sequence[tuple[int, StoredAnswer]] = ()) -> Written:
        """Write and sync framed records, before them the answers of those at the given places."""
        try:
            if self.segments[-1].size >= self._segment_bytes:
                self._open_next()
            segment = self.segments[-1]
            first = segment.last + 1
            places: list[Place] = []
            if answers:
                places = self._answers.write(
                    [(first + place, records[place][frames.HEAD_SIZE :], answer) for place, answer in answers]
                )
            data = b"".join(records)
            self._disk.write(self._number, data, segment.size)
            self._suspect = True
            self._disk.sync(self._number)
        except BaseException:  # whatever it was: half a group must not stay in the file
            self._undo()
            raise
        self._suspect = False
        if places:
            self._answers.settle(places)
        now = self._wall_clock()
        batch = Batch(segment, segment.size, segment.size + len(data), first, segment.last + len(records), now)
        segment.size = batch.end
        segment.last = batch.last
        segment.newest = int(now * 1000)
        return batch, places

    def _undo(self) -> None:
        with contextlib.suppress(OSError):  # `mend` does it durably
            self._disk.truncate(self._number, self.segments[-1].size)
        self._answers.undo()

    def mend(self) -> None:
        """Try whether groups can be written again."""
        self._answers.mend()
        if self._suspect or self.segments[-1].size >= self._segment_bytes:
            # A sync that failed may have dropped what was to be written, and the next one not tell (fsyncgate): the
            # file is not written again. The new one's name says up to which record the old one counts.
            self._open_next()
            self._suspect = False
        size = self.segments[-1].size
        self._disk.truncate(self._number, size)
        self._disk.write(self._number, _PROBE, size)
        self._suspect = True
        self._disk.sync(self._number)
        self._disk.truncate(self._number, size)
        self._disk.sync(self._number)
        self._suspect = False

    def _open_next(self) -> None:
        """Begin a segment that is in its folder for good."""
        last = self.segments[-1] if self.segments else None
        first = 1 if last is None else last.last + 1
        segment = Segment(self._folder / f"{self._journal}-{first:016d}.log", first, first - 1, 0)
        if last is not None and not last.size:
            self._disk.remove(last.path)  # the same name, and not the same file
        number = self._disk.create(segment.path)
        try:
            self._disk.sync_folder(self._folder)
        except OSError:
            self._disk.close(number)
            raise
        old, self._number = self._number, number
        if old >= 0:
            with contextlib.suppress(OSError):
                self._disk.close(old)
        if last is None or last.size:
            self.segments.append(segment)

    def has_retired(self, applied: int, before: int) -> bool:
        """Whether the oldest segment is applied, its newest record older than `before` (unix ms), and not the last."""
        oldest = self.segments[0]
        return len(self.segments) > 1 and oldest.last <= applied and oldest.newest < before

    def retire(self, applied: int, before: int) -> None:
        """Delete such segments.

        One at a time, oldest first, each for good: should one come back, then there is no gap behind it. One that
        cannot be deleted stays, and so do all after it, until the next time.
        """
        while self.has_retired(applied, before):
            try:
                self._disk.remove(self.segments[0].path)
                self._disk.sync_folder(self._folder)
            except FileNotFoundError:
                pass  # deleted before, and only the folder was not synced
            except OSError:
                return
            del self.segments[0]

    def close(self) -> None:
        """Let go of the files."""
        self._disk.close(self._number)
        self._answers.close()
