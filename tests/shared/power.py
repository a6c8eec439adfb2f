"""A disk in memory whose power can fail: what was not synced is then lost, torn or there, block by block, at random."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from techstone.adapters.journal.disk import Disk

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random


class PowerCut(Exception):
    """The machine is off."""


class _File:
    """Content as it is read now, as it was last synced, and the changes in between; `data` None cuts to `offset`."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.durable = bytearray()
        self.pending: list[tuple[int, bytes | None]] = []

    def change(self, offset: int, data: bytes | None) -> None:
        _apply(self.content, offset, data)
        self.pending.append((offset, data))

    def sync(self) -> None:
        for offset, data in self.pending:
            _apply(self.durable, offset, data)
        self.pending = []

    def survive(self, random: Random) -> _File:
        """Return what is found after the cut."""
        odds = random.choice((0.0, 0.5, 0.9, 1.0))
        block = random.choice((16, 512, 4096))
        found = bytearray(self.durable)
        for offset, data in self.pending:
            if data is None:
                if random.random() < odds:
                    _apply(found, offset, None)
                continue
            end = offset + len(data)
            start = offset
            while start < end:
                stop = min(end, start - start % block + block)
                if random.random() < odds:
                    _apply(found, start, data[start - offset : stop - offset])
                start = stop
        if len(found) > len(self.durable) and random.random() < 0.3:
            del found[random.randint(len(self.durable), len(found)) :]
        file = _File()
        file.content, file.durable = bytearray(found), found
        return file


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    if data is None:
        del content[offset:]
    else:
        content[offset : offset + len(data)] = data


class FragileDisk(Disk):
    """`fuse`: the power fails at so many operations from now; `faults`: the odds of a full disk or a failing sync."""

    def __init__(self, random: Random, *, syncs: bool = True) -> None:
        self._random = random
        self._syncs = syncs
        self.fuse = 1 << 60
        self.faults = 0.0
        self._files: dict[Path, _File] = {}
        self._durable: dict[Path, _File] = {}
        self._pending: list[tuple[Path, _File | None]] = []
        self._open: dict[int, _File] = {}

    def cut(self) -> FragileDisk:
        """Return the disk as it is found when the power is back."""
        names = dict(self._durable)
        odds = self._random.choice((0.0, 0.5, 1.0))
        for path, file in self._pending:
            if self._random.random() < odds:
                _rename(names, path, file)
        found = FragileDisk(self._random, syncs=self._syncs)
        found._files = {path: file.survive(self._random) for path, file in names.items()}
        found._durable = dict(found._files)
        return found

    def kill(self) -> FragileDisk:
        """Return the disk as the next process finds it: all is there, and what was not synced still is not."""
        found = FragileDisk(self._random, syncs=self._syncs)
        found._files, found._durable, found._pending = self._files, self._durable, self._pending
        return found

    def _step(self) -> bool:
        """Burn the fuse; return whether the operation still begins at the moment of the cut."""
        self.fuse -= 1
        if self.fuse < 0:
            raise PowerCut
        return self.fuse == 0

    def _fails(self) -> bool:
        return self._random.random() < self.faults

    def create(self, path: Path) -> int:
        last = self._step()
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = _File()
            self._pending.append((path, file))
        else:
            file.change(0, None)
        if last:
            raise PowerCut
        return self._number(file)

    def open(self, path: Path) -> int:
        return self._number(self._files[path])

    def _number(self, file: _File) -> int:
        number = max(self._open, default=2) + 1
        self._open[number] = file
        return number

    def write(self, number: int, data: bytes, offset: int) -> None:
        last = self._step()
        if self._fails():
            self._open[number].change(offset, data[: self._random.randint(0, len(data) - 1)])
            raise OSError(errno.ENOSPC, "No space left on device")
        self._open[number].change(offset, data)
        if last:
            raise PowerCut

    def sync(self, number: int) -> None:
        last = self._step()
        file = self._open[number]
        if last:
            raise PowerCut
        if self._fails():
            # The pages are clean from now on, whether they were written or not.
            file.pending = [change for change in file.pending if self._random.random() < 0.5]
            file.sync()
            raise OSError(errno.EIO, "Input/output error")
        if self._syncs:
            file.sync()

    def truncate(self, number: int, size: int) -> None:
        last = self._step()
        self._open[number].change(size, None)
        if last:
            raise PowerCut

    def close(self, number: int) -> None:
        del self._open[number]

    def read(self, path: Path) -> bytes:
        return bytes(self._files[path].content)

    def read_part(self, path: Path, start: int, end: int) -> bytes:
        return bytes(self._files[path].content[start:end])

    def names(self, folder: Path) -> list[str]:
        return sorted(path.name for path in self._files if path.parent == folder)

    def remove(self, path: Path) -> None:
        last = self._step()
        if self._files.pop(path, None) is not None:
            self._pending.append((path, None))
        if last:
            raise PowerCut

    def sync_folder(self, folder: Path) -> None:
        if self._step():
            raise PowerCut
        if self._fails():
            raise OSError(errno.EIO, "Input/output error")
        if self._syncs:
            for path, file in self._pending:
                if path.parent == folder:
                    _rename(self._durable, path, file)
            self._pending = []


def _rename(names: dict[Path, _File], path: Path, file: _File | None) -> None:
    if file is None:
        names.pop(path, None)
    else:
        names[path] = file
