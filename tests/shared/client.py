"""A client on raw sockets: sees heads, last bytes and broken connections as they are, and breaks them itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterable

    from service import Service


class Answer(NamedTuple):
    """What came, and when: its head and its last byte, by the monotonic clock. All in lower case but the body."""

    status: int
    headers: dict[str, str]
    body: bytes
    begun: float
    ended: float

    @property
    def whole(self) -> bool:
        """Whether it is all that was asked for."""
        whole_json = self.headers["content-type"] == "application/json"
        return self.status == 200 and (whole_json or self.body.endswith(b"data: [DONE]\n\n"))


def post(key: str, wanted: dict[str, Any] | bytes, *fields: str, path: str = "/v1/chat/completions") -> bytes:
    body = wanted if isinstance(wanted, bytes) else json.dumps(wanted).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {key}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *fields, "", ""]).encode() + body


@contextlib.asynccontextmanager
async def connect(
    service: Service, port: int | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to a service: at a port of its, else at the next of its gateways."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port or service.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def read(reader: asyncio.StreamReader) -> Answer:
    """Read one answer to its last byte; raise OSError or EOFError where it breaks off."""
    line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().lower().split("\r\n")
    begun = time.monotonic()
    headers = dict(field.split(": ", 1) for field in fields)
    assert len(headers) == len(fields), "no header comes twice"
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        parts = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readexactly(2)
        body = b"".join(parts)
    return Answer(int(line.split()[1]), headers, body, begun, time.monotonic())


async def ask(service: Service, raw: bytes) -> Answer:
    async with connect(service) as (reader, writer):
        writer.write(raw)
        return await read(reader)


async def insist(service: Service, raw: bytes) -> Answer:
    """Ask again, as an SDK does but without end, where the connection broke off, and after 409 and 503."""
    while True:
        with contextlib.suppress(OSError, EOFError):
            answer = await ask(service, raw)
            # 401: where control is slow to come back, a gateway serves by its copy on disk, which may lack the key.
            if answer.status not in {401, 409, 503}:
                return answer
            assert answer.headers.get("x-should-retry") != "false", answer
            await asyncio.sleep(int(answer.headers.get("retry-after-ms", "100")) / 1000)
        await asyncio.sleep(0.02)


async def gather(coroutines: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    return list(await asyncio.gather(*coroutines))


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST; what waits to be sent is dropped."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
