"""The front behind Debian's nginx and HAProxy: nothing is smuggled past them (rows H-1 and H-2)."""

from __future__ import annotations

import asyncio
import contextlib
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
  access_log off; client_max_body_size 30m; large_client_header_buffers 8 64k;
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


@pytest.fixture(params=["nginx", "haproxy"])
async def proxy(request: pytest.FixtureRequest, house: House, tmp_path: Path) -> AsyncIterator[int]:
    """Run the proxy in front of the house; give its port."""
    port = free_port()
    text = (_NGINX if request.param == "nginx" else _HAPROXY).format(folder=tmp_path, port=port, behind=house.port)
    (tmp_path / "conf").write_text(text)
    program = shutil.which(request.param, path=_SEARCH)
    assert program is not None
    options = ["-e", f"{tmp_path}/error.log", "-c"] if request.param == "nginx" else ["-db", "-f"]
    process = await asyncio.create_subprocess_exec(
        program, *options, f"{tmp_path}/conf", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            break
        assert process.returncode is None
        await asyncio.sleep(0.02)
    try:
        yield port
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


async def test_nothing_is_smuggled_past_a_proxy(house: House, proxy: int) -> None:
    """Of every raw request with another one behind it we ran only what the proxy forwarded, and answered no 5xx."""
    assert len(REFUSED) + len(KEPT) >= 120
    raws = [*REFUSED.values(), *(raw for raw, _ in KEPT.values())]
    gate = asyncio.Semaphore(8)

    async def run(number: int, raw: bytes) -> bytes:
        async with gate:
            return await _send(proxy, raw + _mark(number))

    answers = await asyncio.gather(*(run(number, raw) for number, raw in enumerate(raws)))
    seen = b"".join(house.books.paths)
    for number, (raw, answer) in enumerate(zip(raws, answers, strict=True)):
        heads = [part.partition(b"\r\n\r\n")[0] for part in answer.split(b"HTTP/1.1 ")[1:]]
        ours = [head for head in heads if b"x-request-id: req_" in head]
        assert not [head for head in ours if head[:1] == b"5"], raw[:200]
        if b"/smuggled-%d\n" % number in seen:
            assert len(heads) >= 2, (raw[:200], answer[:500])
    assert not house.upstream.received


async def test_proxied_requests_are_served(house: House, proxy: int) -> None:
    """An ordinary chat request works through the proxy, several on one connection."""
    raw = house.request(CHAT)
    answer = await _send(proxy, raw * 3)
    assert answer.count(b"HTTP/1.1 200") == 3
    assert answer.count(b'"content":"Hello."') == 3
