"""An upstream that streams: 100 chunks, one every 2 ms, then its end; or one chunk and silence for the model `idle`."""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

CHUNKS, SECONDS = 100, 0.002
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def _event(delta: str, finish: str = "null") -> bytes:
    text = (
        '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1719000000,"model":"gpt-4o",'
        f'"choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]}}'
    )
    return _frame(text)


def _frame(text: str) -> bytes:
    data = f"data: {text}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


FIRST = _event('{"role":"assistant","content":""}')
PIECE = _event('{"content":" token"}')
LAST = _event("{}", '"stop"') + _frame("[DONE]") + b"0\r\n\r\n"


class Stream(asyncio.Protocol):
    """One connection; a request begins where the previous stream ended."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Stop streaming."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Begin a stream once a request is whole."""
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end or self._transport is None:
            return
        lower = head.lower()
        length = int(lower.split(b"content-length: ")[1].split(b"\r\n")[0]) if b"content-length: " in lower else 0
        if len(body) < length:
            return
        self._buffer = b""
        self._transport.write(_HEAD + FIRST)
        if b'"idle"' not in body:
            self._timer = asyncio.get_running_loop().call_later(SECONDS, self._go_on, 1)

    def _go_on(self, number: int) -> None:
        if self._transport is None:
            return
        if number == CHUNKS - 1:
            self._transport.write(LAST)
            return
        self._transport.write(PIECE)
        self._timer = asyncio.get_running_loop().call_later(SECONDS, self._go_on, number + 1)


async def main(port: int) -> None:
    """Serve for ever."""
    server = await asyncio.get_running_loop().create_server(Stream, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
