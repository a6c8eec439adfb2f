"""What an admission and its settlement cost Redis: the real script, the real server, one core. Prints JSON.

    .venv/bin/python bench/admission_cost.py [--accounts 10000] [--requests 20000]

A request is two calls, `admit` and `settle`. CPU is the server's own, as the kernel accounts it, so a busy machine
moves it less than it moves rates. The distribution is the server's (`INFO latencystats`): of the script, without
reading and writing.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path

import hiredis
from servers import SEARCH, redis

from techstone.adapters.limits import script
from techstone.adapters.limits.connection import pack
from techstone.core.snapshot import Account, Key, Limits, Plan
from techstone.core.view import Principal

PRESSES = ((1, 1), (1, 32), (2, 32), (4, 32))
_TURNS = 5
_TOKENS = 1000
_PLAN = Plan("pro", 600, 1_000_000, 1000, "postpaid")


class Client:
    """One connection that sends so many calls at once and waits for all replies."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._reader = hiredis.Reader()

    def send(self, calls: list[bytes]) -> None:
        """Send calls in one write."""
        self._socket.sendall(b"".join(calls))

    def hear(self, number: int) -> list[object]:
        """Return so many replies."""
        replies: list[object] = []
        while len(replies) < number:
            reply = self._reader.gets()
            if reply is False:
                self._reader.feed(self._socket.recv(1 << 20))
            elif isinstance(reply, hiredis.ReplyError):
                raise reply
            else:
                replies.append(reply)
        return replies

    def ask(self, *words: bytes) -> object:
        """Return the reply to one command."""
        self.send([pack(*words)])
        return self.hear(1)[0]

    def close(self) -> None:
        """End it."""
        self._socket.close()


def make_callers(accounts: int) -> list[script.Caller]:
    """Return principals of so many accounts, a key each, limits on the account."""
    limits = Limits(_PLAN.rpm, _PLAN.tpm, _PLAN.concurrent)
    return [
        script.describe(
            "g" * 16,
            Principal(
                Key(f"key_{number:020x}", "", f"acct_{number:020x}", "", ""),
                Account(f"acct_{number:020x}", "", "pro"),
                _PLAN,
                limits,
                key_limited=False,
                bounded=False,
            ),
        )
        for number in range(accounts)
    ]


def run_turn(
    clients: list[Client], callers: list[script.Caller], depth: int, requests: int, numbers: count[int]
) -> int:
    """Admit and settle about so many requests, `depth` at a time on each connection; return how many it were."""
    writer, done, accounts = script.Writer(), 0, len(callers)
    while done < requests:
        asked = []
        for client in clients:
            batch = [(b"r%d" % (number := next(numbers)), callers[number * 7919 % accounts]) for _ in range(depth)]
            client.send([writer.write("admit", who, name, script.pack_pair(_TOKENS, 0)) for name, who in batch])
            asked.append(batch)
        for client, batch in zip(clients, asked, strict=True):
            ends = []
            for (name, who), reply in zip(batch, client.hear(depth), strict=True):
                found = script.read(reply) if isinstance(reply, bytes) else None
                if not isinstance(found, script.Admitted):
                    raise SystemExit(f"refused: {found}")
                end = script.pack_end(-_TOKENS // 2, 0, found.period, 0)
                taken = script.pack_taken([(found.entry, _TOKENS)])
                ends.append(writer.write("settle", who, name, end, b"j" * 16, taken, b""))
            client.send(ends)
        for client in clients:
            client.hear(depth)
        done += depth * len(clients)
    return done


def measure(folder: Path, accounts: int, requests: int) -> dict[str, object]:
    """Return the figures: µs of Redis's CPU a request, calls a second, the script's percentiles, bytes an account."""
    callers, numbers, rows = make_callers(accounts), count(1), []
    with redis(folder / "redis", 0) as server:
        clients = [Client(server.port) for _ in range(max(number for number, _ in PRESSES))]
        clients[0].ask(b"SCRIPT", b"LOAD", script.ADMISSION)
        empty = _read_number(clients[0], b"memory", "used_memory")
        run_turn(clients[:1], callers, 32, accounts, numbers)
        full = _read_number(clients[0], b"memory", "used_memory")
        clients[0].ask(b"CONFIG", b"RESETSTAT")
        for connections, depth in PRESSES:
            turns = []
            for _ in range(_TURNS):
                cpu, began = server.cpu_seconds(), time.monotonic()
                done = run_turn(clients[:connections], callers, depth, requests, numbers)
                used, took = server.cpu_seconds() - cpu, time.monotonic() - began
                turns.append((used / done * 1e6, 2 * done / took))
            micros, rate = (statistics.median(found) for found in zip(*turns, strict=True))
            rows.append(
                {
                    "clients": connections,
                    "at_once": depth,
                    "cpu_micros_a_request": round(micros, 1),
                    "least": round(min(turn[0] for turn in turns), 1),
                    "calls_a_second_as_run": round(rate),
                    "calls_a_second_of_a_core": round(2e6 / micros),
                }
            )
        told = clients[0].ask(b"INFO", b"latencystats")
        text = told.decode() if isinstance(told, bytes) else ""
        found = re.search(r"evalsha:p50=([\d.]+),p99=([\d.]+),p99.9=([\d.]+)", text)
        for client in clients:
            client.close()
    quantiles = [float(word) for word in found.groups()] if found else []
    words = [shutil.which("redis-server", path=SEARCH) or "redis-server", "--version"]
    version = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[2]  # noqa: S603 - ours
    return {
        "server": version,
        "presses": rows,
        "script_micros": dict(zip(("p50", "p99", "p99.9"), quantiles, strict=False)),
        "bytes_an_account": round((full - empty) / accounts),
    }


def _read_number(client: Client, section: bytes, name: str) -> int:
    told = client.ask(b"INFO", section)
    text = told.decode() if isinstance(told, bytes) else ""
    return int(text.partition(f"{name}:")[2].split()[0])


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=20_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="admission-") as name:
        print(json.dumps(measure(Path(name), arguments.accounts, arguments.requests), indent=2))


if __name__ == "__main__":
    main()
