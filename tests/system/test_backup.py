"""`techstone backup` and `restore`: real processes, real databases, and what each leaves where it fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from full import fill, read_all
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planes import Planes
from postgres import Server
from service import Service, serving, wait_until
from upstream import providing

from techstone.adapters.storage import migrate
from techstone.app import backup
from techstone.core.backup import BackupError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from planes import Plane

_TECHSTONE = (sys.executable, "-m", "techstone")
# Noted by a restore itself: the act, and the era.
_CHANGED = {"audit", "revision"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    started = Server()
    started.start()
    yield started
    started.remove()


def run(folder: Path, *words: str, start: tuple[str, ...] = _TECHSTONE) -> tuple[int, str]:
    """Run a command in a folder; return its status and what it printed."""
    done = subprocess.run([*start, *words], cwd=folder, check=False, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def succeed(folder: Path, *words: str) -> str:
    status, printed = run(folder, *words)
    assert status == 0, printed
    return printed


def read_manifest(folder: Path, file: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads(succeed(folder, "restore", "--check", file, "--json"))


def sums_of(service: Service) -> tuple[int, str]:
    """Return how many requests were settled, and the sum of what they cost."""
    sums = service.ask("usage", "--since", "30d", "--by", "account")
    return sum(row["requests"] for row in sums), "+".join(sorted(row["cost"] for row in sums))


class Load:
    """Clients that ask one after another until they are stopped; counts what they were answered."""

    def __init__(self, service: Service, key: str, clients: int = 8) -> None:
        self._service, self._key, self._over = service, key, threading.Event()
        self.answered = [0] * clients
        self._threads = [threading.Thread(target=self._ask, args=(place,)) for place in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self, place: int) -> None:
        while not self._over.is_set():
            status, _, _ = self._service.chat(key=self._key)
            assert status == 200
            self.answered[place] += 1

    def reach(self, count: int) -> None:
        wait_until(lambda: sum(self.answered) >= count, 60)

    def stop(self) -> int:
        self._over.set()
        for thread in self._threads:
            thread.join()
        return sum(self.answered)


def test_backup_under_load_is_of_one_moment(tmp_path: Path) -> None:
    """Restored elsewhere its books are in order, to the last digit; in place the journals add what came after it."""
    with providing() as (url, _):
        configuration = (
            f"[[providers]]\nname = 'up'\nbase_url = '{url}'\n[engine]\nenabled = false\n"
            "[[models]]\nname = 'gpt-4o'\ncontext_window = 4096\nmax_output_tokens = 1024\n"
            "routes = [{provider = 'up', model = 'up'}]\nprice = {input = '1.23', output = '4.567'}\n"
            "[plans.enterprise]\nrpm = 1000000\ntpm = 1000000000\nconcurrent = 1000\n"
        )
        with serving(tmp_path, configuration) as service:
            revoked = service.ask("key", "create", "--account", "owner@localhost")
            service.run("key", "revoke", revoked["id"])
            load = Load(service, service.key)
            load.reach(50)
            succeed(tmp_path, "backup", "b.gz")
            assert (tmp_path / "b.gz").stat().st_mode & 0o777 == 0o600
            later = service.ask("key", "create", "--account", "owner@localhost")
            load.reach(sum(load.answered) + 50)
            everything = load.stop()
            assert run(tmp_path, "restore", "b.gz", "--replace")[0] == 1, "a running service is not pulled away"
            assert service.chat(key=later["key"])[0] == 200
            everything += 1
        before = sums_of(service)
        assert before[0] == everything
        _restore_elsewhere(tmp_path, configuration)
        printed = succeed(tmp_path, "restore", "b.gz", "--replace")
        assert "kept: " in printed
        service.start()
        try:
            wait_until(lambda: sums_of(service) == before, 30)
            assert service.chat(key=service.key)[0] == 200
            assert service.chat(key=revoked["key"])[0] == 401
            assert service.chat(key=later["key"])[0] == 401, "it was made after the backup"
        finally:
            service.stop()
        assert service.ask("ledger", "check") == []


def _restore_elsewhere(folder: Path, configuration: str) -> None:
    """Restore into an empty folder, and hold it to its manifest."""
    empty = folder / "empty"
    empty.mkdir()
    shutil.copy(folder / "b.gz", empty)
    (empty / "techstone.toml").write_text(configuration)
    manifest = read_manifest(empty, "b.gz")
    succeed(empty, "restore", "b.gz")
    spare = Service(empty, configuration)
    assert spare.ask("ledger", "check") == []
    sums = manifest["facts"]["sums"]
    assert 50 <= sums["settled"] == sums_of(spare)[0]
    owner = spare.ask("account", "show", "owner@localhost")
    assert round(float(owner["spent"]) * 1e9) == sums["spent_nano"] == sums["settled_nano"]
    assert "The audit log is whole" in succeed(empty, "audit", "check")


def test_running_gateways_hear_of_a_restore(tmp_path: Path) -> None:
    """They take the whole, so that later keys are gone, and send again what they booked after the backup."""
    with providing() as (url, _):
        planes = Planes(tmp_path, url)
        try:
            control = planes.add_control()
            control.start()
            gateway = planes.add_gateway(1, f"http://127.0.0.1:{control.port}")
            gateway.start()
            gateway.key = control.key
            assert [gateway.chat()[0] for _ in range(5)] == [200] * 5
            wait_until(lambda: sums_of(control)[0] == 5, 20)
            succeed(control.folder, "backup", "b.gz")
            # As many keys come as go: by their number nothing can be told.
            later = control.ask("key", "create", "--account", "owner@localhost")["key"]
            wait_until(lambda: gateway.chat(key=later)[0] == 200, 20)
            assert [gateway.chat()[0] for _ in range(5)] == [200] * 5
            control.stop()
            succeed(control.folder, "restore", "b.gz", "--replace")
            control.start()
            wait_until(lambda: gateway.chat(key=later)[0] == 401, 30, pause=0.5)
            assert gateway.chat()[0] == 200
            # Asked anew each time: the log's last lines may come later than the answers.
            wait_until(lambda: sums_of(control)[0] == _count_served(gateway) > 11, 30, pause=0.5)
            assert "is sent again" in gateway.complained()
        finally:
            planes.end()
    assert control.ask("ledger", "check") == []


def _count_served(gateway: Plane) -> int:
    return gateway.complained().count('"event":"chat"')


def test_a_database_moves_to_postgresql_and_back(tmp_path: Path, server: Server) -> None:
    """Row by row, of every table that there is; numbers go on where they were."""
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    (one / "data").mkdir(parents=True)
    fill(one / "data" / "techstone.db")
    two.mkdir()
    three.mkdir()
    name = _create(server)
    (two / "techstone.toml").write_text(f'[data]\ndatabase = "{server.url(name)}"\n')
    succeed(one, "backup", str(tmp_path / "1.gz"))
    succeed(two, "restore", str(tmp_path / "1.gz"))
    succeed(two, "backup", str(tmp_path / "2.gz"))
    succeed(three, "restore", str(tmp_path / "2.gz"))
    first, last = (read_all(folder / "data" / "techstone.db") for folder in (one, three))
    assert first.keys() == last.keys()
    assert {name: first[name] for name in first if name not in _CHANGED} == {
        name: last[name] for name in last if name not in _CHANGED
    }
    parts = [read_manifest(tmp_path, f"{number}.gz")["parts"] for number in (1, 2)]
    assert {name for name in parts[0] if parts[0][name] != parts[1][name]} == _CHANGED
    largest = max(row[0] for row in first["alerts"] if isinstance(row[0], int))
    assert asyncio.run(_draw(server, name)) == largest + 1
    status, printed = run(two, "restore", str(tmp_path / "1.gz"))
    assert (status, "it holds accounts" in printed) == (1, True)
    assert "kept: schema replaced_" in succeed(two, "restore", str(tmp_path / "1.gz"), "--replace")


async def _draw(server: Server, name: str) -> int:
    """Return the number that the next alert gets."""
    connection = await server.connect(name)
    try:
        return int(await connection.fetchval("SELECT nextval(pg_get_serial_sequence('alerts', 'number'))"))
    finally:
        await connection.close()


def _create(server: Server) -> str:
    return asyncio.run(server.create())


def test_older_backup_is_brought_to_the_newest_schema(tmp_path: Path) -> None:
    """As its database would have been; a newer one is refused in one line."""
    (tmp_path / "data").mkdir()
    fill(tmp_path / "data" / "techstone.db", "0013")
    succeed(tmp_path, "backup", "b.gz")
    assert read_manifest(tmp_path, "b.gz")["head"]["schema"] == "0013"
    succeed(tmp_path, "restore", "b.gz", "--data", "other")
    found = read_all(tmp_path / "other" / "techstone.db")
    assert found["alembic_version"] == [(migrate.NEWEST,)]
    assert len(found["projects"]) == 3


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a database and its backup, `b.gz`."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "data").mkdir(mode=0o700)
    fill(folder / "data" / "techstone.db")
    succeed(folder, "backup", "b.gz")
    return folder


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10**9), flips=st.integers(1, 255))
def test_damaged_backup_is_found_wherever_it_is_damaged(small: Path, position: int, flips: int) -> None:
    """By the whole way from the file on; what restores asks the same before it opens a database."""
    data = bytearray((small / "b.gz").read_bytes())
    data[position % len(data)] ^= flips
    (small / "damaged.gz").write_bytes(data)
    with pytest.raises(BackupError, match=r"damaged\.gz: it "):
        backup.check(small / "damaged.gz")


def test_damaged_backup_changes_nothing(small: Path) -> None:
    """One line, and every file is as it was."""
    data = bytearray((small / "b.gz").read_bytes())
    data[len(data) // 2] ^= 1
    (small / "damaged.gz").write_bytes(data)
    before = _look(small / "data")
    status, printed = run(small, "restore", "damaged.gz", "--replace")
    assert (status, printed.count("\n"), "nothing was changed: damaged.gz: it is damaged" in printed) == (1, 1, True)
    assert _look(small / "data") == before


def test_damaged_database_is_replaced(tmp_path: Path, small: Path) -> None:
    """It is what a backup is for; it is kept as it is."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "techstone.db").write_bytes(b"no database" * 1000)
    status, printed = run(tmp_path, "restore", str(small / "b.gz"))
    assert (status, "file is not a database; --replace keeps it" in printed) == (1, True)
    succeed(tmp_path, "restore", str(small / "b.gz"), "--replace")
    assert len(read_all(tmp_path / "data" / "techstone.db")["accounts"]) == 3
    (kept,) = (tmp_path / "data").glob("techstone.db.replaced-*")
    assert kept.read_bytes() == b"no database" * 1000


def test_database_that_is_open_is_not_replaced(small: Path) -> None:
    """A process that does not answer as control does, such as a shell of SQLite's, still has it."""
    with contextlib.closing(sqlite3.connect(small / "data" / "techstone.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        status, printed = run(small, "restore", "b.gz", "--replace")
    assert (status, "a process has it open" in printed) == (1, True), printed


def _look(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_restore_that_is_killed_leaves_nothing_half(tmp_path: Path, server: Server, kind: str) -> None:
    """Whenever it is: what was there before is there, or all of the new; the next one works."""
    for name in ("a", "b", "c"):
        succeed(tmp_path, "account", "create", f"{name}@example.com", "--data", "made")
    succeed(tmp_path, "backup", "b.gz", "--data", "made")
    if kind == "postgres":
        (tmp_path / "techstone.toml").write_text(f'[data]\ndatabase = "{server.url(_create(server))}"\n')
    succeed(tmp_path, "account", "create", "before@example.com")
    began = time.monotonic()
    succeed(tmp_path, "restore", "b.gz", "--replace")
    took = time.monotonic() - began
    succeed(tmp_path, "account", "create", "after@example.com")
    for part in range(4):
        restoring = subprocess.Popen(
            [*_TECHSTONE, "restore", "b.gz", "--replace"], cwd=tmp_path, stdout=subprocess.DEVNULL
        )
        time.sleep(took * (0.4 + 0.2 * part))  # a moment amid it, another one each time
        restoring.send_signal(signal.SIGKILL)
        restoring.wait()
        emails = {row["email"] for row in json.loads(succeed(tmp_path, "account", "list", "--json"))}
        assert len(emails) == (4 if "after@example.com" in emails else 3)
    wait_until(lambda: run(tmp_path, "restore", "b.gz", "--replace")[0] == 0, 20)
    assert not list(tmp_path.rglob("*.restoring*"))


def test_full_disk_is_told_in_one_line(tmp_path: Path, small: Path) -> None:
    """Of a backup and of a restore; nothing is left behind."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*_TECHSTONE, "backup", "-"], cwd=small, check=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[0] == "techstone: no backup was made: No space left on device"
    (tmp_path / "data").mkdir()
    # A disk of 200 KB, that only the command sees; the empty schema alone is larger.
    script = (
        'mount -t tmpfs -o size=200k none data && "$@"; status=$?; ls -A data/*.restoring* 2>/dev/null; exit $status'
    )
    inside = ("unshare", "-m" if os.getuid() == 0 else "-rm", "sh", "-c", script, "sh", *_TECHSTONE)
    status, printed = run(tmp_path, "restore", str(small / "b.gz"), start=inside)
    if "unshare" in printed or "mount" in printed:
        pytest.skip("no mounts are allowed here")
    assert (status, printed.count("\n")) == (1, 1), printed
    assert "full" in printed
    assert "nothing was changed" in printed
