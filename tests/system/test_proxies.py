"""The front behind Debian's nginx and HAProxy: nothing is smuggled past them (rows H-1 and H-2)."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from corpus import CHAT, KEPT, REFUSED
from service import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.system.conftest import House

_SEARCH = os.environ["PATH"] + ":/usr/sbin:/sbin"
_NGINX = """
worker_processes 1; daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1000; }}
http {{
  log_format forwarded "$upstream_addr"; access_log {folder}/access.log forwarded;
  client_max_body_size 30m; large_client_header_buffers 8 64k;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream house {{ server 127.0.0.1:{behind}; keepalive 16; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://house; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off;
      proxy_next_upstream off;
    }}
  }}
}}
"""
_HAPROXY = """
global
  maxconn 500
  tune.maxrewrite 1024
  stats socket {folder}/s level user
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
  http-reuse always
  retries 0
frontend front
  bind 127.0.0.1:{port}
  default_backend house
backend house
  server house 127.0.0.1:{behind}
"""


class Proxy:
    """A proxy in front of the house."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.port = free_port()
        self._folder = folder

    async def start(self, behind: int) -> asyncio.subprocess.Process:
        text = (_NGINX if self.name == "nginx" else _HAPROXY).format(folder=self._folder, port=self.port, behind=behind)
        (self._folder / "conf").write_text(text)
        program = shutil.which(self.name, path=_SEARCH)
        assert program is not None
        options = ["-e", f"{self._folder}/error.log", "-c"] if self.name == "nginx" else ["-db", "-f"]
        quiet = asyncio.subprocess.DEVNULL
        return await asyncio.create_subprocess_exec(
            program, *options, f"{self._folder}/conf", stdout=quiet, stderr=quiet
        )

    async def forwarded(self) -> int:
        """Return how many requests it has handed on, by its own count."""
        if self.name == "nginx":
            lines = (self._folder / "access.log").read_text().splitlines()
            return sum(line != "-" for line in lines)
        reader, writer = await asyncio.open_unix_connection(f"{self._folder}/s")
        writer.write(b"show stat\n")
        table = (await reader.read()).decode().removeprefix("# ")
        writer.close()
        rows = csv.DictReader(table.splitlines())
        return next(int(row["stot"]) for row in rows if (row["pxname"], row["svname"]) == ("house", "house"))


@pytest.fixture(params=["nginx", "haproxy"])
async def proxy(
    request: pytest.FixtureRequest, house: House, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Proxy]:
    """Run the proxy."""
    running = Proxy(request.param, tmp_path_factory.mktemp("p"))  # short: a socket's path has 108 bytes
    process = await running.start(house.port)
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.close()
            break
        assert process.returncode is None
        await asyncio.sleep(0.02)
    try:
        yield running
    finally:
        process.terminate()
        await process.wait()


async def _send(port: int, raw: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    out = b""
    try:
        writer.write(raw)
        while part := await asyncio.wait_for(reader.read(65536), 0.3):
            out += part
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return out


def _mark(number: int) -> bytes:
    return b"GET /v1/models/smuggled-%d HTTP/1.1\r\nHost: x\r\n\r\n" % number


async def test_nothing_is_smuggled_past_a_proxy(house: House, proxy: Proxy) -> None:
    """Of every raw request with another one behind it we saw only what the proxy forwarded, and answered no 5xx."""
    assert len(REFUSED) + len(KEPT) >= 120
    raws = [*REFUSED.values(), *(raw for raw, _ in KEPT.values())]
    gate = asyncio.Semaphore(8)

    async def run(number: int, raw: bytes) -> bytes:
        async with gate:
            return await _send(proxy.port, raw + _mark(number))

    answers = await asyncio.gather(*(run(number, raw) for number, raw in enumerate(raws)))
    seen = b"".join(house.books.paths)
    await asyncio.sleep(0.1)  # until the last log line is written
    forwarded = await proxy.forwarded()
    print(f"{proxy.name}: {len(raws)} raw requests, {forwarded} forwarded, {len(house.books.paths)} seen")
    assert forwarded >= len(KEPT)
    assert len(house.books.paths) <= forwarded
    for number, (raw, answer) in enumerate(zip(raws, answers, strict=True)):
        heads = [part.partition(b"\r\n\r\n")[0] for part in answer.split(b"HTTP/1.1 ")[1:]]
        ours = [head for head in heads if b"x-request-id: req_" in head]
        assert not [head for head in ours if head[:1] == b"5"], raw[:200]
        if b"/smuggled-%d\n" % number in seen:
            assert len(heads) >= 2, (raw[:200], answer[:500])
    assert not house.upstream.received


async def test_proxied_requests_are_served(house: House, proxy: Proxy) -> None:
    """An ordinary chat request works through the proxy, several on one connection."""
    raw = house.request(CHAT)
    answer = await _send(proxy.port, raw * 3)
    assert answer.count(b"HTTP/1.1 200") == 3
    assert answer.count(b'"content":"Hello."') == 3
