"""Where the processes of one installation keep their things."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.app.place import Place
from techstone.app.sections import Config

if TYPE_CHECKING:
    from pathlib import Path


def test_workers_share_the_sockets_and_nothing_else(tmp_path: Path) -> None:
    """Each has a journal and a snapshot; the first one's are a single gateway's, so one more loses nothing."""
    alone = Place(Config(), None, tmp_path)
    first, second = (msgspec.structs.replace(alone, worker=number) for number in (1, 2))
    for place in (first, second):
        place.prepare()
        assert place.journal.stat().st_mode & 0o777 == 0o700
        assert place.own.stat().st_mode & 0o777 == 0o700
    assert (first.journal, first.snapshot, first.admissions) == (alone.journal, alone.snapshot, alone.admissions)
    assert first.internal_socket == second.internal_socket
    assert not {first.journal, first.snapshot, first.admissions} & {second.journal, second.snapshot, second.admissions}
