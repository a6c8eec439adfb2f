"""A PostgreSQL server of the tests' own: real, on a Unix socket and a free port of this machine, gone at the end.

`running()` is the one that a whole run of tests shares. It acknowledges before its disk does (`fsync = off`): what is
tested on it is SQL. What is tested of durability and outages starts a `Server` of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from techstone.adapters.storage import postgres
from techstone.adapters.storage.target import Target

if TYPE_CHECKING:
    from collections.abc import Sequence

_TEMPLATE = "empty"
# Socket: anybody of this machine that may enter the folder; port: by password only.
_ACCESS = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
_HASTE = ("fsync=off", "full_page_writes=off", "autovacuum=off")
_START_SECONDS = 60


def _find_programs() -> Path:
    """Return the folder of the newest server's programs: Debian keeps them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    program = found[-1] if found else shutil.which("postgres")
    assert program, "no PostgreSQL server is installed: apt-get install postgresql"
    return Path(program).resolve().parent


class Server:
    """Started by `start`; `user` is its superuser."""

    user = "techstone"

    def __init__(self, *settings: str, inside: Path | None = None, trust: str | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="techstone-postgres-", dir=inside))
        self._data = self.folder / "data"
        self._programs = _find_programs()
        # initdb refuses root; a folder below pytest's own would not be open to anybody else.
        self._as: dict[str, object] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._settings: tuple[str, ...] = (
            "listen_addresses=127.0.0.1",
            f"port={self.port}",
            f"unix_socket_directories={self.folder}",
        )
        self._settings += ("max_connections=200", "shared_buffers=32MB", *settings)
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-U", self.user, "-E", "UTF8", "--locale=C", "--no-sync", "-D", str(self._data))
        (self._data / "pg_hba.conf").write_text(_ACCESS if trust is None else f"{_ACCESS}host all all {trust} trust\n")

    def _run(self, program: str, *words: str) -> None:
        command = [str(self._programs / program), *words]
        done = subprocess.run(command, cwd=self.folder, check=False, capture_output=True, text=True, **self._as)  # type: ignore[call-overload]
        assert not done.returncode, done.stderr

    def start(self) -> None:
        """Start it; return when it answers."""
        words = [word for setting in self._settings for word in ("-c", setting)]
        command = [str(self._programs / "postgres"), "-D", str(self._data), *words]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, **self._as)  # type: ignore[call-overload]
        ready = ["-h", str(self.folder), "-p", str(self.port), "-q"]
        for _ in range(_START_SECONDS * 20):
            if not subprocess.run([str(self._programs / "pg_isready"), *ready], check=False).returncode:
                return
            assert self._process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.05)
        raise AssertionError("PostgreSQL does not answer")

    def kill(self) -> None:
        """End it as a power cut does: every process of it, at once."""
        assert self._process is not None
        children = self._list_children()
        self._process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait()
        # As long as one of them lives, its memory is there, and no server starts beside it.
        while any(Path(f"/proc/{child}/stat").exists() for child in children):
            time.sleep(0.01)

    def _list_children(self) -> list[int]:
        assert self._process is not None
        parent = self._process.pid
        return list(map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split()))

    def is_running(self) -> bool:
        """Say whether the server is there; one whose disk is full may end itself."""
        return self._process is not None and self._process.poll() is None

    def hang(self) -> None:
        """Stop every process of it as if it hung."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        for pid in (self._process.pid, *self._list_children()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        """End it, and every connection."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # its "fast shutdown"
            self._process.wait()

    def remove(self) -> None:
        """End it, and delete all that it kept."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)  # its "immediate shutdown"
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def target(self, name: str) -> Target:
        """Return a database of it as the store's."""
        return Target(host=str(self.folder), port=self.port, user=self.user, name=name, ssl="disable")

    def url(self, name: str) -> str:
        """Return a database of it as the configuration's."""
        return f"postgresql://{self.user}@/{name}?host={self.folder}&port={self.port}"

    async def connect(self, name: str = "postgres") -> asyncpg.Connection:
        """Return a connection of the test's own to one of its databases."""
        return await asyncpg.connect(host=str(self.folder), port=self.port, user=self.user, database=name)

    async def run(self, name: str, *statements: str) -> None:
        """Run statements in one of its databases."""
        connection = await self.connect(name)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def create(self, template: str = "template1") -> str:
        """Return the name of a new database, a copy of another one."""
        name = f"t{next(self._numbers)}"
        await self.run("postgres", f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    async def drop(self, names: Sequence[str]) -> None:
        """Delete databases, whoever is on them."""
        await self.run("postgres", *(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in names))

    async def create_migrated(self) -> str:
        """Return the name of a new database at the newest schema: migrated once, then copied."""
        if not getattr(self, "_migrated", False):
            await self.run("postgres", f"CREATE DATABASE {_TEMPLATE}")
            await (await postgres.open_store(self.target(_TEMPLATE))).close()
            self._migrated = True
        return await self.create(_TEMPLATE)


@functools.cache
def running() -> Server:
    """Return the server of this run of tests, started where nobody asked before."""
    server = Server(*_HASTE)
    atexit.register(server.remove)
    server.start()
    return server
