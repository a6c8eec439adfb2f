"""Which gateways there were, kept in a file that is whole or not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from techstone.adapters.limits.roster import Roster

if TYPE_CHECKING:
    from pathlib import Path


def test_names_outlive_the_process(tmp_path: Path) -> None:
    """And nothing else does."""
    told: list[str] = []
    roster = Roster(tmp_path / "gateways", told.append)
    assert roster.read() == frozenset()
    roster.write(frozenset({"b", "a"}))
    assert (tmp_path / "gateways").read_text() == "a\nb\n.\n"
    assert Roster(tmp_path / "gateways", told.append).read() == {"a", "b"}
    assert [path.name for path in tmp_path.iterdir()] == ["gateways"]
    assert told == []


@pytest.mark.parametrize("left", [b"", b"a\nb\n", b"a\nb", b"a\nb\n.", b"\xff\n.\n"])
def test_file_that_is_not_whole_says_nothing(tmp_path: Path, left: bytes) -> None:
    """After a loss of power: who does not know asks Redis first."""
    (tmp_path / "gateways").write_bytes(left)
    assert Roster(tmp_path / "gateways", print).read() == frozenset()


def test_disk_that_is_full_is_told(tmp_path: Path) -> None:
    """It goes on without."""
    told: list[str] = []
    roster = Roster(tmp_path / "away" / "gateways", told.append)
    roster.write(frozenset({"a"}))
    roster.write(frozenset({"a"}))
    assert len(told) == 1
    assert "cannot be written" in told[0]


def test_there_are_as_many_as_are_configured_at_least() -> None:
    """Whoever was heard, and where nothing is kept, too."""
    roster = Roster(None, print, 3)
    roster.write(frozenset({"a"}))
    assert (roster.read(), roster.count(frozenset({"a"})), roster.count(frozenset("abcd"))) == (frozenset(), 3, 4)
