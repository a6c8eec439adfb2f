"""An installation on a PostgreSQL server: the commands, the service, and what they do while the server is away."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest
from haste import within
from postgres import Server
from service import Service, wait_until

from techstone.adapters.storage.migrate import NEWEST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[Server]:
    """Serve as an operator's does, until it is killed."""
    started = Server()
    started.start()
    yield started
    started.remove()


@pytest.fixture
async def service(server: Server, tmp_path: Path) -> Service:
    name = await server.create()
    return Service(tmp_path, f'[data]\ndatabase = "{server.url(name)}"\n')


def run(service: Service, *words: str) -> tuple[int, str]:
    """Run a command on the installation; return its status and what it printed."""
    command = [sys.executable, "-m", "techstone", *words]
    done = subprocess.run(
        command, cwd=service.folder, check=False, capture_output=True, text=True, env=service.environment
    )
    return done.returncode, done.stdout + done.stderr


def ask(service: Service, path: str) -> int:
    """Return the status of a page or an answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{service.port}{path}")
    request.add_header("authorization", f"Bearer {service.key}")
    if path.endswith("completions"):
        request.data = json.dumps(
            {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
        ).encode()
        request.add_header("content-type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=within(20)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_commands_work_on_the_server(service: Service, server: Server) -> None:
    """While nothing runs they open the database themselves; away, it is one line."""
    assert run(service, "db", "upgrade") == (0, f"The database is at the newest schema, {NEWEST}.\n")
    assert run(service, "db", "resync") == (0, "A new era has begun: every gateway takes everything anew.\n")
    assert run(service, "account", "create", "a@example.com")[0] == 0
    assert run(service, "ledger", "check") == (0, "The ledger is in order.\n")
    status, printed = run(service, "doctor")
    assert re.search(r"database +ok +postgresql postgresql://techstone@/", printed), printed
    server.stop()
    status, printed = run(service, "ledger", "check")
    assert status == 1
    assert re.fullmatch(r"techstone: database postgresql://techstone@[^\n]+\n", printed), printed


def test_api_goes_on_while_the_database_is_away(service: Service, server: Server) -> None:
    """Killed under a running service: known keys are served, the Console says 503, and is back by itself."""
    service.start()
    try:
        models = "/v1/models"
        assert (ask(service, models), ask(service, "/console/log-in")) == (200, 200)
        server.kill()
        wait_until(lambda: ask(service, "/console/sign-up") == 503 or ask(service, "/console/log-in") == 503, 10)
        assert ask(service, models) == 200
        server.start()
        began = time.monotonic()
        wait_until(lambda: ask(service, "/console/log-in") == 200, 10)
        assert time.monotonic() - began < within(10)
        assert ask(service, models) == 200
    finally:
        service.stop()
    assert run(service, "ledger", "check") == (0, "The ledger is in order.\n")


def test_service_starts_before_its_database(service: Service, server: Server) -> None:
    """With the last snapshot it serves keys that it knows; control waits, says so once, and begins when it is there."""
    service.start()
    service.stop()
    server.stop()
    (service.folder / "err").write_bytes(b"")
    command = [sys.executable, "-m", "techstone", "serve", "--port", str(service.port)]
    with (service.folder / "out").open("wb") as out, (service.folder / "err").open("ab") as err:
        service.process = subprocess.Popen(command, cwd=service.folder, stdout=out, stderr=err, env=service.environment)
    try:
        wait_until(lambda: b"waiting for it" in (service.folder / "err").read_bytes(), 20)
        wait_until(lambda: _answers(service), 20)
        server.start()
        wait_until(lambda: "is serving" in service.printed(), 20)
        assert (service.folder / "err").read_text().count("waiting for it") == 1
    finally:
        service.stop()


def _answers(service: Service) -> bool:
    try:
        return ask(service, "/v1/models") == 200
    except OSError:
        return False
