"""The oracle: a provider in a process of its own that says, request by request, what it really sent.

Run as a script: `oracle.py LOG HOST`; prints its port. Each line of the log is a request: its id, and the tokens that
were written to the socket by the end of each piece, so that what was sent is known however the request ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROMPT = 9
SLOWLY = "slowly"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_BASE = '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"x","choices":[%s]%s}'


class _Oracle:
    """Answers with 1 to 20 words, whole or as a stream, one write a word; asked `SLOWLY`, 20 in 5 s or so."""

    def __init__(self, log: str) -> None:
        self._log = open(log, "a", buffering=1)  # noqa: PTH123, SIM115 - a path's name; for as long as the process lives

    def note(self, request: str, sent: int, *, whole: bool) -> None:
        self._log.write(json.dumps({"id": request, "sent": sent, "whole": whole}) + "\n")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
                body = json.loads(await reader.readexactly(int(fields["content-length"])))
                words = random.randint(1, 20)
                if body.get("stream"):
                    slow = body["messages"][-1]["content"] == SLOWLY
                    await self._stream(writer, fields["x-request-id"], 20 if slow else words, 0.5 if slow else 0.005)
                else:
                    await self._answer(writer, fields["x-request-id"], words)
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, request: str, words: int) -> None:
        await asyncio.sleep(random.random() * 0.02)
        message = {"role": "assistant", "content": "word " * words, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "x", "choices": [choice]}
        data = json.dumps({**answer, "usage": _usage(words)}).encode()
        self.note(request, words, whole=True)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data))
        await writer.drain()

    async def _stream(self, writer: asyncio.StreamWriter, request: str, words: int, pause: float) -> None:
        writer.write(_HEAD)
        pieces = ['{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}']
        pieces += ['{"index":0,"delta":{"content":" word"},"finish_reason":null}'] * words
        pieces += ['{"index":0,"delta":{},"finish_reason":"stop"}']
        for sent, piece in enumerate(pieces):
            self.note(request, min(sent, words), whole=False)
            _write(writer, _BASE % (piece, ""))
            await writer.drain()
            await asyncio.sleep(random.random() * pause)
        _write(writer, _BASE % ("", ',"usage":' + json.dumps(_usage(words))))
        self.note(request, words, whole=True)
        _write(writer, "[DONE]")
        writer.write(b"0\r\n\r\n")
        await writer.drain()


def _usage(words: int) -> dict[str, int]:
    return {"prompt_tokens": PROMPT, "completion_tokens": words, "total_tokens": PROMPT + words}


def _write(writer: asyncio.StreamWriter, event: str) -> None:
    data = f"data: {event}\n\n".encode()
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))


@contextlib.contextmanager
def oracle(folder: Path, host: str = "127.0.0.1") -> Iterator[tuple[str, Path]]:
    """Run it; give its base URL and its log."""
    log = folder / "oracle.jsonl"
    with subprocess.Popen([sys.executable, __file__, str(log), host], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://{host}:{int(process.stdout.readline())}/v1", log
        finally:
            process.terminate()


def read_log(log: Path) -> dict[str, dict[str, Any]]:
    """Return the last word on each request."""
    found: dict[str, dict[str, Any]] = {}
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        found[entry["id"]] = entry
    return found


async def _main() -> None:
    server = await asyncio.start_server(_Oracle(sys.argv[1]).serve, sys.argv[2], 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
