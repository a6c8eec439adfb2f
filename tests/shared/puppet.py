"""A provider in a process of its own that does what a request's last message tells it, and counts by model.

Run as a script, it serves, and prints its port.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from client import reset

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODEL = """
[[models]]
name = "%s"
max_output_tokens = 100
price = {input = "%d", output = "1000000"}
routes = [{provider = "%s", model = "%s"}]
"""
_PLAN = """
[plans.%s]
rpm = %d
tpm = %d
concurrent = %d
billing = "prepaid"
"""
_PROVIDER = """
[[providers]]
name = "%s"
base_url = "%s"
timeouts = {first_byte = %s, between_bytes = %s}
"""


def configure(url: str, *parts: str) -> str:
    """Return a configuration with the puppet as two providers: `up`, and `hasty`, whose time-outs are short."""
    providers = [_PROVIDER % ("up", url, "60.0", "60.0"), _PROVIDER % ("hasty", url, "1.0", "1.0")]
    return "".join([*providers, *parts, "[engine]\nenabled = false\n"])


def describe_model(name: str, *, provider: str = "up", input_price: int = 1) -> str:
    """Return a model's part of the configuration: each has a breaker and a count of its own."""
    return _MODEL % (name, input_price, provider, name)


def describe_plan(name: str, concurrent: int, *, rpm: int = 10**6, tpm: int = 10**9) -> str:
    """Return a prepaid plan's part of the configuration."""
    return _PLAN % (name, rpm, tpm, concurrent)


class Puppet:
    """The other process, as tests see it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"

    def count(self, what: str, model: str) -> int:
        """Return how many requests for a model run (`now`), ran at a time (`most`) or ever came (`calls`)."""
        with urllib.request.urlopen(self.url) as answer:
            return int(json.load(answer)[what].get(model, 0))


@contextlib.contextmanager
def performing() -> Iterator[Puppet]:
    """Run it for a while."""
    with subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Puppet(int(process.stdout.readline()))
        finally:
            process.terminate()


def compose(model: str, *, stream: bool = False, tokens: int = 50, **told: Any) -> dict[str, Any]:  # noqa: ANN401 - for `_Script`, which says what there is
    """Return a chat request that tells the upstream what to do."""
    message = {"role": "user", "content": json.dumps(told)}
    return {"model": model, "stream": stream, "max_tokens": tokens, "messages": [message]}


# From here on: in its own process.


class _Script(NamedTuple):
    """What a request's last message tells: seconds before anything, words, seconds before each, what goes wrong.

    `mark` is what each word is; without one it is the number of the call, so that no two answers are the same.
    """

    wait: float = 0.0
    words: int = 3
    pause: float = 0.0
    fault: str = ""
    mark: str = ""


class _Puppet:
    """Answers as it is told, and counts by model; GET asks for the counts."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET"):
                    _send(writer, 200, {"now": self.now, "most": self.most, "calls": self.calls})
                    continue
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                with self._count(body["model"]):
                    script = _Script(**json.loads(body["messages"][-1]["content"]))
                    await self._answer(script, body, reader, writer)
        writer.close()

    @contextlib.contextmanager
    def _count(self, model: str) -> Iterator[None]:
        self.calls[model] += 1
        self.now[model] += 1
        self.most[model] = max(self.most[model], self.now[model])
        try:
            yield
        finally:
            self.now[model] -= 1

    async def _answer(
        self, script: _Script, body: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await _rest(reader, script.wait)
        if script.fault.isdigit():
            _send(writer, int(script.fault), {"error": {"message": "no", "type": "x", "param": None, "code": None}})
        elif script.fault == "reset" or (script.fault == "cut" and not body.get("stream")):
            reset(writer)
        elif script.fault == "silent":
            await reader.read(1)
        elif body.get("stream"):
            await self._stream(script, reader, writer)
        else:
            await _rest(reader, script.pause * script.words)
            message = {"role": "assistant", "content": self._say(script) * script.words, "refusal": None}
            choices = [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]
            _send(writer, 200, _BASE | {"object": "chat.completion", "choices": choices, "usage": _usage(script.words)})

    def _say(self, script: _Script) -> str:
        return script.mark or f" {self.calls.total()}"

    async def _stream(self, script: _Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        word = {"content": self._say(script)}
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(_event({"role": "assistant", "content": ""}))
        for number in range(script.words):
            if script.fault and number == script.words // 2:
                await (reader.read(1) if script.fault == "stall" else writer.drain())
                reset(writer)
                return
            await _rest(reader, script.pause)
            writer.write(_event(word))
            await writer.drain()
        last = json.dumps(_BASE | {"choices": [], "usage": _usage(script.words)}).encode()
        writer.write(_event({}, "stop") + _frame(b"data: %b\n\ndata: [DONE]\n\n" % last) + b"0\r\n\r\n")


_BASE = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "x"}


def _usage(words: int) -> dict[str, int]:
    return {"prompt_tokens": 9, "completion_tokens": words, "total_tokens": 9 + words}


def _frame(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(delta: dict[str, str], reason: str | None = None) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
    return _frame(b"data: %b\n\n" % json.dumps(_BASE | {"choices": choices}).encode())


def _send(writer: asyncio.StreamWriter, status: int, body: dict[str, Any]) -> None:
    data = json.dumps(body).encode()
    head = "HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    writer.write((head % (status, len(data))).encode() + data)


async def _rest(reader: asyncio.StreamReader, seconds: float) -> None:
    """Wait; raise ConnectionResetError as soon as the gateway hangs up."""
    if seconds:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await reader.read(1)
                raise ConnectionResetError


async def _serve() -> None:
    server = await asyncio.start_server(_Puppet().serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
