"""The load: wrk for requests and streams, and a thousand streams that say nothing."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servers import SEARCH, pin

if TYPE_CHECKING:
    from pathlib import Path

    from servers import Server

CONNECTIONS = 32
# A steady rate: each of so many connections asks again so long after its answer, 6,000 a second together.
STEADY_CONNECTIONS = 64
_STEADY_MILLISECONDS = 10
_PACE_CONNECTIONS, _PACE_MILLISECONDS = 16, 40

_SCRIPT = """
{steady}
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {key}"
wrk.body = [==[{body}]==]
done = function(summary, latency, requests)
  io.stderr:write(string.format('{{"requests": %d, "micros": %d, "bad": %d, "p50": %d, "p99": %d}}',
    summary.requests, summary.duration,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


def chat_body(*, stream: bool, model: str = "gpt-4o") -> str:
    """Return a small chat request."""
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is the Token economy?"},
    ]
    body: dict[str, object] = {"model": model, "messages": messages, "temperature": 0.7, "max_tokens": 1024}
    return json.dumps(body | ({"stream": True} if stream else {}))


@dataclass(frozen=True)
class Figures:
    """What one run measured. Times in µs; `cpu` is the server's CPU time a request."""

    rate: float
    cpu: float
    p50: float
    p99: float
    resident: int
    bad: int


def measure(server: Server, folder: Path, core: int, seconds: int, *, stream: bool) -> Figures:
    """Load the server from one core for so long, after a short warm-up."""
    script = _write_script(server, folder, stream=stream)
    _run_wrk(server, script, core, 2)
    before = server.cpu_seconds()
    found = _run_wrk(server, script, core, seconds)
    return _read_figures(server, found, server.cpu_seconds() - before)


def _read_figures(server: Server, found: dict[str, int], used: float) -> Figures:
    requests = max(1, found["requests"])
    return Figures(
        rate=requests / found["micros"] * 1e6,
        cpu=used / requests * 1e6,
        p50=found["p50"],
        p99=found["p99"],
        resident=server.resident(),
        bad=found["bad"],
    )


def sustain(server: Server, folder: Path, core: int, seconds: int) -> tuple[Figures, float, int]:
    """Load at a steady rate for so long; return also the longest lag of the ledger in seconds, and what it booked."""
    script = _write_script(server, folder, stream=False, steady=f"function delay() return {_STEADY_MILLISECONDS} end")
    lags = [0.0]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.25):
            lags.append(server.gauge("techstone_journal_lag_seconds"))

    watching = threading.Thread(target=watch)
    watching.start()
    before = server.cpu_seconds()
    found = _run_wrk(server, script, core, seconds, STEADY_CONNECTIONS)
    figures = _read_figures(server, found, server.cpu_seconds() - before)
    over.set()
    watching.join()
    while server.gauge("techstone_journal_waiting_bytes"):
        time.sleep(0.1)
    return figures, max(lags), server.count_booked()


def pace(server: Server, folder: Path, core: int, seconds: int) -> Figures:
    """Load at a rate that leaves room, some hundred requests a second."""
    script = _write_script(server, folder, stream=False, steady=f"function delay() return {_PACE_MILLISECONDS} end")
    before = server.cpu_seconds()
    found = _run_wrk(server, script, core, seconds, _PACE_CONNECTIONS)
    return _read_figures(server, found, server.cpu_seconds() - before)


@dataclass(frozen=True)
class Press:
    """How a server is pressed: from so many connections, each asking again so many milliseconds after its answer."""

    name: str
    connections: int
    pause: int = 0


def press(server: Server, folder: Path, core: int, seconds: int, how: Press) -> Figures:
    """Load for so long, after a short warm-up; its `cpu` is of the process that serves the API alone."""
    steady = f"function delay() return {how.pause} end" if how.pause else ""
    script = _write_script(server, folder, stream=False, steady=steady)
    _run_wrk(server, script, core, 1, how.connections)
    gateway = server.gateway()
    before = gateway.cpu_seconds()
    found = _run_wrk(server, script, core, seconds, how.connections)
    return _read_figures(server, found, gateway.cpu_seconds() - before)


def _write_script(server: Server, folder: Path, *, stream: bool, steady: str = "") -> Path:
    script = folder / f"{server.name.split()[0]}-{stream}.lua"
    script.write_text(_SCRIPT.format(key=server.key, body=chat_body(stream=stream), steady=steady))
    return script


def _run_wrk(server: Server, script: Path, core: int, seconds: int, connections: int = CONNECTIONS) -> dict[str, int]:
    program = shutil.which("wrk", path=SEARCH) or "wrk"
    url = f"http://127.0.0.1:{server.port}/v1/chat/completions"
    command = [program, "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url]
    done = subprocess.run(pin(core, command), check=True, capture_output=True, text=True)  # noqa: S603 - our own words
    return dict(json.loads(done.stderr))


def hold_idle_streams(server: Server, count: int) -> float:
    """Return the bytes that each of so many streams adds to the gateway while nothing is said."""
    body = chat_body(stream=True, model="idle").encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {server.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    before = server.resident(largest=True)
    streams = []
    for _ in range(count):
        stream = socket.create_connection(("127.0.0.1", server.port))
        stream.sendall(head + body)
        streams.append(stream)
    for stream in streams:
        if b"200 OK" not in stream.recv(4096):
            raise RuntimeError("a stream was refused")
    time.sleep(1.0)
    after = server.resident(largest=True)
    for stream in streams:
        stream.close()
    return (after - before) / count
