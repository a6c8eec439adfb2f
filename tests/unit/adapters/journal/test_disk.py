"""The operating system, as the journal asks it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from techstone.adapters.journal.disk import Disk

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_file_is_its_owners_alone_and_empty(tmp_path: Path) -> None:
    """Usage is nobody else's business; a file that an attempt before left behind is begun anew."""
    disk, path = Disk(), tmp_path / "a"
    for _ in range(2):
        number = disk.create(path)
        assert path.stat().st_mode & 0o777 == 0o600
        assert disk.read(path) == b""
        disk.write(number, b"something", 0)
        disk.close(number)


def test_write_goes_on_where_the_kernel_took_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pwrite(2) may write less than it was given, as on a disk that is nearly full."""
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda number, data, offset: write(number, data[:3], offset))
    disk, path = Disk(), tmp_path / "a"
    number = disk.create(path)
    disk.write(number, b"0123456789", 2)
    disk.sync(number)
    disk.close(number)
    assert disk.read(path) == b"\0\0" + b"0123456789"


def test_parts_are_read_and_cut(tmp_path: Path) -> None:
    """By their places; what a file is opened for does not change it."""
    disk, path = Disk(), tmp_path / "a"
    path.write_bytes(b"0123456789")
    number = disk.open(path)
    assert disk.read_part(path, 3, 6) == b"345"
    disk.truncate(number, 5)
    assert disk.read_part(path, 3, 6) == b"34"
    disk.close(number)


def test_names_are_sorted_and_go(tmp_path: Path) -> None:
    """To remove what is not there is no error: it is what was wanted."""
    disk = Disk()
    for name in ("b", "a", "c"):
        (tmp_path / name).touch()
    for _ in range(2):
        disk.remove(tmp_path / "b")
    disk.sync_folder(tmp_path)
    assert disk.names(tmp_path) == ["a", "c"]
