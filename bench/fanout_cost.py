"""What one change costs the control plane for each gateway that follows: CPU, bytes, milliseconds. Prints JSON.

    .venv/bin/python bench/fanout_cost.py [--changes 200]

A follower is a connection that asks for the snapshot as a gateway does, and reads what comes. A change is a new key.
"""

from __future__ import annotations

import argparse
import http.client
import json
import selectors
import socket
import statistics
import tempfile
import time
from pathlib import Path

from keys import CONFIG, Plane, await_socket

FOLLOWERS = (0, 1, 10, 100)


class Followers:
    """So many connections that follow; `read` takes what is there and counts it."""

    def __init__(self, path: Path, number: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets = []
        self.number, self.heard = number, 0
        for _ in range(number):
            one = socket.socket(socket.AF_UNIX)
            one.connect(str(path))
            one.sendall(b"GET /internal/snapshot?reads=2 HTTP/1.1\r\nhost: control\r\n\r\n")
            one.setblocking(False)
            self._selector.register(one, selectors.EVENT_READ)
            self._sockets.append(one)

    def settle(self, seconds: float) -> None:
        """Read until nothing has come for so long."""
        while self.read(seconds):
            pass

    def read(self, seconds: float) -> int:
        """Take what comes within so many seconds; return how many bytes."""
        found = 0
        for key, _ in self._selector.select(seconds):
            assert isinstance(key.fileobj, socket.socket)  # noqa: S101 - the selector's type says less
            found += len(key.fileobj.recv(1 << 20))
        self.heard += found
        return found

    def close(self) -> None:
        """End them."""
        for one in self._sockets:
            one.close()
        self._selector.close()


def create_key(path: Path) -> None:
    """Make a key, by the way that the commands take."""
    connection = http.client.HTTPConnection("control")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    connection.request("POST", "/internal/keys", json.dumps(_NEW), {"content-type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.status >= 300:
        raise SystemExit(f"{answer.status}: {text.decode()}")


_NEW = {"account": "owner@localhost", "name": "bench"}


def main() -> None:
    """Print a row for each number of followers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=200)
    changes = parser.parse_args().changes
    rows = []
    with tempfile.TemporaryDirectory(prefix="fanout-") as name:
        folder = Path(name)
        (folder / "techstone.toml").write_text(CONFIG)
        path = folder / "data" / "run" / "internal.sock"
        control = Plane(folder, "control")
        await_socket(path, control)
        for number in FOLLOWERS:
            followers = Followers(path, number)
            followers.settle(0.3)
            followers.heard = 0
            before, times = control.cpu(), []
            for _ in range(changes):
                began = time.monotonic()
                create_key(path)
                followers.read(0)
                times.append(time.monotonic() - began)
            followers.settle(0.3)
            rows.append(
                {
                    "followers": number,
                    "cpu_micros_a_change": round((control.cpu() - before) / changes * 1e6),
                    "bytes_a_change_and_follower": round(followers.heard / changes / max(1, number)),
                    "milliseconds_until_made": round(statistics.median(times) * 1000, 1),
                }
            )
            followers.close()
        control.end()
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
