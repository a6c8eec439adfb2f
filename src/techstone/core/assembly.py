"""Frames of a snapshot stream in, views out: what a gateway makes of them, and what it makes of its disk's copy.

A frame that does not follow is refused with `SnapshotError`, and the reader keeps the view that it has.
"""

from __future__ import annotations

import msgspec

from techstone.core.snapshot import Head, Snapshot
from techstone.core.stream import Delta, Frame, Part, SnapshotError, Whole, advance
from techstone.core.view import Register, View


class Miscounted(SnapshotError):
    """Changes were made that do not add up: only the whole helps. `view` is what the reader has until then."""

    def __init__(self, view: View | None, found: tuple[int, int], expected: tuple[int, int]) -> None:
        super().__init__("{} accounts and {} keys, expected {} and {}".format(*found, *expected))
        self.view = view


class Assembly:
    """Frames of one stream in, views out. `view` is what the reader has already, for frames on top of it."""

    def __init__(self, view: View | None = None) -> None:
        self._view = view
        self._begun = False
        self._head: Head | None = None
        self._register = Register()
        self._parts: list[Part] = []

    def take(self, frame: Frame) -> View | None:
        """Return the newest view that is whole, None as long as there is none; raise SnapshotError.

        The view is another object exactly where something changed.
        """
        if isinstance(frame, Snapshot):
            self._view, self._begun, self._head = View(frame), True, None
        elif isinstance(frame, Head):
            self._begin(frame)
        elif isinstance(frame, Part):
            self._add(frame)
        elif isinstance(frame, Whole):
            self._end(frame)
        elif not self._begun or self._view is None or self._head is not None:
            raise SnapshotError("a change came before the first whole snapshot")
        elif isinstance(frame, Delta):
            self._view = self._view.follow(advance(self._view.snapshot, frame), frame)
        elif frame.revision != self._view.snapshot.revision:
            raise SnapshotError(f"heartbeat of revision {frame.revision}, have {self._view.snapshot.revision}")
        return self._view if self._begun and self._head is None else None

    def _begin(self, head: Head) -> None:
        have = None if self._view is None else self._view.snapshot.revision
        if head.since is not None and head.since != have:
            raise SnapshotError(f"changes since revision {head.since}, have {have}")
        self._head, self._register, self._parts = head, Register(), []

    def _add(self, part: Part) -> None:
        if self._head is None:
            raise SnapshotError("a part came before its head")
        if self._head.since is None:
            self._register.put(part.accounts, part.keys)
        else:
            # Kept until all are there: requests look at the register meanwhile.
            self._parts.append(part)

    def _end(self, whole: Whole) -> None:
        head = self._head
        if head is None or whole.revision != head.revision:
            raise SnapshotError("the end of parts that did not begin")
        register = self._register
        if head.since is not None and self._view is not None:
            register = self._view.register
            if head.spending:
                register.forget_spending()
            else:
                head = msgspec.structs.replace(head, as_of_day=self._view.snapshot.as_of_day)
            for part in self._parts:
                register.put(part.accounts, part.keys)
                register.drop((), part.gone_keys)
        found, expected = (len(register.accounts), len(register.keys)), (whole.accounts, whole.keys)
        self._head, self._parts = None, []
        if found != expected:
            # Of a database that was restored from a backup, or of a mistake of ours. Who is gone by it is gone: another
            # view, so that nobody goes by what he knew of the one before; of its revision, as this one is not reached.
            changed = None
            if self._view is not None and register is self._view.register:
                changed = View(
                    msgspec.structs.replace(head, since=None, revision=self._view.snapshot.revision), register
                )
            self._view, self._begun = None, False
            raise Miscounted(changed, found, expected)
        self._view, self._begun = View(msgspec.structs.replace(head, since=None), register), True
