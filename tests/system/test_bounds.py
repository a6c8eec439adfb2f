"""What floods and slow clients cost: memory and time, for real."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from haste import within
from service import Service, serving
from upstream import providing

from techstone.gateway.guard import Bounds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.conftest import House

STALLED = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Length: 9\r\n\r\n{"
MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    names = ("endless-line", "endless-head")
    with providing() as (url, _):
        text = f'[[providers]]\nname = "up"\nbase_url = "{url}"\n' + "".join(
            f'[[models]]\nname = "{name}"\nroutes = [{{ provider = "up", model = "{name}" }}]\n'
            'price = { input = "0", output = "0" }\n'
            for name in names
        )
        with serving(tmp_path_factory.mktemp("bounds"), text) as running:
            yield running


def _resident(service: Service) -> int:
    pages = Path(f"/proc/{service.children()['gateway']}/statm").read_text().split()[1]
    return int(pages) * 4096


def _worked(service: Service) -> float:
    """Return the CPU seconds that the gateway has taken."""
    fields = Path(f"/proc/{service.children()['gateway']}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nTransfer-Encoding: chunked\r\n\r\n"
)
FLOODS = {
    "a header of 1 MB": (GET + b"A: ", b"b" * MEGABYTE, 431),
    "5,000 headers": (GET, b"A: b\r\n" * 5000 + b"\r\n", 431),
    "20,000 trailers": (CHUNKED + b"0\r\n", b"A: b\r\n" * 20_000, 431),
    "a chunk extension of 200 KB": (CHUNKED + b"1;", b"x" * 200_000, 400),
    "a million chunks of a byte": (CHUNKED, b"1\r\na\r\n" * 1_000_000, 400),
}


@pytest.mark.parametrize("name", FLOODS)
def test_flood_costs_little(service: Service, name: str) -> None:
    """Refused as soon as it can be: at most 1 MB and 50 ms of CPU for a connection (row O-6)."""
    beginning, flood, status = FLOODS[name]
    before, began = _resident(service), _worked(service)
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(beginning.replace(b"KEY", service.key.encode()) + flood)
        answer = sock.recv(4096)
    grown, took = _resident(service) - before, _worked(service) - began
    print(f"{name}: {answer[9:12].decode()}, {grown / MEGABYTE:+.2f} MB, {took * 1000:.0f} ms of CPU")
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert grown <= MEGABYTE
    assert took <= within(0.05)


def _flood(service: Service, megabytes: int) -> bytes:
    """Send one header of so many MB; return what comes back."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as sock:
        answer = b""
        with contextlib.suppress(OSError):
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nA: ")
            for _ in range(megabytes):
                sock.sendall(b"b" * MEGABYTE)
        with contextlib.suppress(OSError):
            answer = sock.recv(4096)
        return answer


def test_header_flood_takes_no_memory(service: Service) -> None:
    """A single header of 64 MB is refused before it is read: at most 1 MB more (row O-6)."""
    _flood(service, 2)
    before = _resident(service)
    answer = _flood(service, 64)
    grown = _resident(service) - before
    print(f"64 MB header: {grown / MEGABYTE:+.2f} MB")
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431")
    assert grown <= MEGABYTE
    assert service.get("/healthz")[0] == 200


@pytest.mark.parametrize("model", ["endless-line", "endless-head"])
@pytest.mark.parametrize("stream", [False, True])
def test_upstream_flood_takes_no_memory(service: Service, model: str, *, stream: bool) -> None:
    """An upstream that sends 100 MB without a line end is cut off: an error, and memory stays flat (row M-3)."""
    before = _resident(service)
    status, body, _ = service.chat({"model": model, "stream": stream})
    grown = _resident(service) - before
    print(f"{model}, stream {stream}: {grown / MEGABYTE:+.2f} MB")
    assert (status, "upstream" in str(body)) in {(500, True), (503, True)}
    assert grown <= 16 * MEGABYTE


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"GET /healthz HT", b"HTTP/1.1 408"),
        (STALLED, b"HTTP/1.1 408"),
    ],
)
async def test_slow_client_is_closed_in_real_time(house: House, sent: bytes, answer: bytes) -> None:
    """Idle, a trickling head, a stalled body: each closed at its deadline, here half a second (row O-5)."""
    bounds = Bounds(head_seconds=0.5, body_seconds=0.5, idle_seconds=0.5, body_rate=10**9)
    house.gateway.connections.bounds = bounds
    loop = asyncio.get_running_loop()
    began = loop.time()
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(sent.replace(b"KEY", house.key.encode()))
    out = await asyncio.wait_for(reader.read(), 5.0)
    writer.close()
    assert 0.45 < loop.time() - began < 1.5
    assert out.startswith(answer)
