"""What the supervisor starts."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from techstone.app.gateway import LISTEN_FD
from techstone.app.place import Place
from techstone.app.sections import Config, EngineSection, ServerSection
from techstone.app.serve import _Service
from techstone.control.catalog.records import Catalog

if TYPE_CHECKING:
    from pathlib import Path

_CATALOG = Catalog((), (), ())


def test_workers_share_the_listening_socket(tmp_path: Path) -> None:
    """Each is told which of them it is; all inherit the one socket, so that one that restarts loses no connection."""
    config = Config(ServerSection(workers=3), engine=EngineSection(enabled=False))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        service = _Service(Place(config, None, tmp_path), listening, _CATALOG, insecure_http=False)
        programs = [program for program in service._list_programs() if program.name.startswith("gateway")]
        assert [program.name for program in programs] == ["gateway-1", "gateway-2", "gateway-3"]
        assert [program.command[-2:] for program in programs] == [
            ("--worker", "1"),
            ("--worker", "2"),
            ("--worker", "3"),
        ]
        assert {program.environment[LISTEN_FD] for program in programs} == {str(listening.fileno())}
        assert {program.passed for program in programs} == {(listening.fileno(),)}
