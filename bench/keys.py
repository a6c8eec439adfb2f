"""How the planes stand a million keys: seconds until each serves, memory, what a change costs. Prints one table.

    python bench/keys.py [KEYS [ACCOUNTS]]

Runs `techstone control` and `techstone gateway` of the tree that PYTHONPATH names (else the installed one) on a folder
of its own, over the Unix sockets.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG = """
[engine]
enabled = false
[[providers]]
name = "up"
base_url = "http://127.0.0.1:9/v1"
[[models]]
name = "gpt-4o"
context_window = 4096
max_output_tokens = 1024
routes = [{provider = "up", model = "up"}]
price = {input = "1", output = "2"}
"""
_SECONDS = 600.0


class Plane:
    """One process, with what is asked of it."""

    def __init__(self, folder: Path, verb: str, *words: str) -> None:
        self._log = (folder / f"{verb}.log").open("ab")
        self.began = time.monotonic()
        self.process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "techstone", verb, *words], cwd=folder, stdout=self._log, stderr=self._log
        )

    def memory(self) -> tuple[float, float]:
        """Return resident MB: now, and at most so far."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in text.splitlines())
        return int(fields["VmRSS"].split()[0]) / 1024, int(fields["VmHWM"].split()[0]) / 1024

    def cpu(self) -> float:
        """Return the seconds of CPU that it took so far."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it by a signal, and wait for that."""
        self.process.send_signal(number)
        self.process.wait(120)
        self._log.close()


def _wait(true: Callable[[], bool], process: subprocess.Popen[bytes]) -> float:
    began = time.monotonic()
    while not true():
        if process.poll() is not None or time.monotonic() - began > _SECONDS:
            raise SystemExit("it ended, or took too long")
        time.sleep(0.002)
    return time.monotonic() - began


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def await_socket(path: Path, plane: Plane) -> float:
    """Wait until a plane listens there; return how many seconds it took."""
    return _wait(lambda: _listens(path), plane.process)


def _ask(port: int, key: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {key}"})
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def _is_good(port: int, key: str) -> bool:
    return _ask(port, key) == 200


def _seed(database: Path, keys: int, accounts: int) -> None:
    """Write records straight into the tables that a first start has made; as they would be after years."""
    with sqlite3.connect(database) as connection:
        now = int(time.time())
        connection.execute("PRAGMA synchronous = OFF")
        columns = "id, email, plan, granted_nano, suspended, created_at, changed"
        connection.executemany(
            f"INSERT INTO accounts ({columns}) VALUES (?, ?, 'pro', 0, 0, ?, 1)",  # noqa: S608 - our own words
            ((f"acct_{number:020x}", f"person-{number}@example.com", now) for number in range(accounts)),
        )
        columns = "id, digest, account, name, hint, created_at, changed"
        connection.executemany(
            f"INSERT INTO keys ({columns}) VALUES (?, ?, ?, 'a key of somebody', 'ts_live_…abcd', ?, 1)",  # noqa: S608
            (
                (
                    f"key_{number:020x}",
                    hashlib.sha256(str(number).encode()).digest(),
                    f"acct_{number % accounts:020x}",
                    now,
                )
                for number in range(keys)
            ),
        )
    connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _command(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "techstone", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout  # noqa: S603 - ours


def _measure(folder: Path, keys: int, accounts: int) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    (folder / "techstone.toml").write_text(CONFIG)
    data, port = folder / "data", _free_port()
    internal = data / "run" / "internal.sock"
    control = Plane(folder, "control")
    await_socket(internal, control)
    made = _command(folder, "key", "create", "--account", "owner@localhost")
    key = next(word for word in made.split() if word.startswith("ts_live_") and "…" not in word)
    control.end()
    _seed(data / "techstone.db", keys, accounts)

    control = Plane(folder, "control")
    await_socket(internal, control)
    rows.append(("control: seconds until it listens", f"{time.monotonic() - control.began:.1f}"))
    time.sleep(2)
    rows.append(("control: MB before a gateway", "{:.0f}, at most {:.0f}".format(*control.memory())))

    gateway = Plane(folder, "gateway", "--port", str(port))
    _wait(lambda: _ask(port, key) == 200, gateway.process)
    rows.append(("gateway: seconds until it serves, nothing on disk", f"{time.monotonic() - gateway.began:.1f}"))
    time.sleep(20)
    now, most = gateway.memory()
    rows.append(("gateway: MB", f"{now:.0f}, at most {most:.0f}"))
    rows.append(("gateway: bytes a key, at most", f"{most * 1024 * 1024 / keys:.0f}"))
    rows.append(("control: MB after telling", "{:.0f}, at most {:.0f}".format(*control.memory())))
    rows.append(("snapshot on disk, MB", f"{(data / 'snapshot.json').stat().st_size / 1e6:.0f}"))

    before, times = (control.cpu(), gateway.cpu()), []
    for _ in range(10):
        made = _command(folder, "key", "create", "--account", "owner@localhost")
        fresh = next(word for word in made.split() if word.startswith("ts_live_") and "…" not in word)
        times.append(_wait(partial(_is_good, port, fresh), gateway.process) * 1000)
    rows.append(("a new key: ms from the command's end until it is good", f"at most {max(times):.0f}"))
    time.sleep(3)
    spent = [(after - earlier) * 100 for after, earlier in zip((control.cpu(), gateway.cpu()), before, strict=True)]
    rows.append(("a new key: CPU ms of control, gateway (with 20 s idle)", "{:.0f}, {:.0f}".format(*spent)))

    gateway.end()
    gateway = Plane(folder, "gateway", "--port", str(port))
    _wait(lambda: _ask(port, key) == 200, gateway.process)
    rows.append(("gateway: seconds until it serves, from its disk", f"{time.monotonic() - gateway.began:.1f}"))
    rows.append(("gateway: MB then", "{:.0f}, at most {:.0f}".format(*gateway.memory())))
    control.end(signal.SIGKILL)
    gateway.end()
    gateway = Plane(folder, "gateway", "--port", str(port))
    _wait(lambda: _ask(port, key) == 200, gateway.process)
    rows.append(("gateway: seconds until it serves without control", f"{time.monotonic() - gateway.began:.1f}"))
    gateway.end()
    return rows


def _main() -> None:
    keys = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    accounts = int(sys.argv[2]) if len(sys.argv) > 2 else max(1, keys // 10)
    with tempfile.TemporaryDirectory(prefix="keys-") as name:
        rows = _measure(Path(name), keys, accounts)
    print(f"{keys:,} keys of {accounts:,} accounts")
    for label, value in rows:
        print(f"  {label:58} {value}")


if __name__ == "__main__":
    _main()
