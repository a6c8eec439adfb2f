"""A real Redis for a test: Debian's, on a Unix socket and a free port of the loopback, without a disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import hiredis

from techstone.adapters.limits.connection import Address, pack

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server") or "redis-server"


class RedisServer:
    """The process; it can be killed, stopped as if it hung, and started anew. Ended by its id alone."""

    def __init__(
        self, folder: Path, *words: str, password: str | None = None, environment: dict[str, str] | None = None
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.path = str(folder / "redis.sock")
        self._folder = folder
        self._words = words
        self._password = password
        self._environment = None if environment is None else {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> Address:
        return Address("", 0, path=self.path)

    def start(self) -> None:
        command = [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.path]
        command += ["--save", "", "--dir", str(self._folder), *self._words]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=self._environment)
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError, AssertionError):
                assert self.ask("PING") == b"PONG"
                return
            assert time.monotonic() < deadline, "redis-server did not start"
            time.sleep(0.02)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        Path(self.path).unlink(missing_ok=True)

    def hang(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *words: str | bytes | float) -> object:
        """Send one command and return its reply, on a connection of its own."""
        with Client(self.path) as client:
            if self._password is not None:
                client.ask("AUTH", self._password)
            return client.ask(*words)


class Client:
    """A connection that waits for each reply, for what a test wants to know."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(10)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise
        self._reader = hiredis.Reader()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, *words: str | bytes | float) -> object:
        return self.send(pack(*(word if isinstance(word, bytes) else str(word).encode() for word in words)))

    def send(self, command: bytes) -> object:
        self._socket.sendall(command)
        while (reply := self._reader.gets()) is False:
            data = self._socket.recv(65536)
            assert data, "it closed"
            self._reader.feed(data)
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply


@contextlib.contextmanager
def serve_redis(folder: Path, *words: str, password: str | None = None) -> Iterator[RedisServer]:
    """Run a Redis for a while."""
    server = RedisServer(folder, *words, password=password)
    server.start()
    try:
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.kill()
