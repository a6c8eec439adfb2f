"""JSON bombs (row J-2): refused, or taken where they are legal, and nobody else waits for it."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from typing import TYPE_CHECKING

import pytest
from haste import within

if TYPE_CHECKING:
    from tests.system.conftest import House

GOOD = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]'
EMPTIES = b"[" + b"{}," * 1_700_000 + b"{}]"  # 5 MB
DEEP = b"[" * 100_000 + b"]" * 100_000
STALL_SECONDS = 0.1

BOMBS = {
    "100,000 arrays deep": (GOOD + b',"x":' + DEEP + b"}", 400),
    "100,000 objects deep": (GOOD + b',"x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}", 400),
    "100,000 deep content": (b'{"model":"gpt-4o","messages":[{"role":"user","content":' + DEEP + b"}]}", 400),
    "never closed": (GOOD + b',"x":' + b"[" * 1_000_000, 400),
    "integer of 1 MB, judged": (GOOD + b',"seed":' + b"9" * 1_000_000 + b"}", 400),
    "integer of 1 MB, passed on": (GOOD + b',"x":' + b"9" * 1_000_000 + b"}", 200),
    "decimal of 1 MB": (GOOD + b',"temperature":0.' + b"9" * 1_000_000 + b"}", 200),
    "1e999, judged": (GOOD + b',"temperature":1e999}', 400),
    "1e999, passed on": (GOOD + b',"x":1e999}', 200),
    "NaN": (GOOD + b',"x":NaN}', 400),
    "-Infinity": (GOOD + b',"temperature":-Infinity}', 400),
    "lone surrogate": (b'{"model":"gpt-4o","messages":[{"role":"user","content":"\\ud800"}]}', 400),
    "lone surrogate, passed on": (GOOD + b',"x":"\\udc00"}', 400),
    "surrogate in UTF-8": (GOOD + b',"x":"\xed\xa0\x80"}', 400),
    "no UTF-8": (GOOD + b',"x":"\xff"}', 400),
    "overlong UTF-8": (GOOD + b',"x":"\xc0\xaf"}', 400),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD + b"}", 400),
    "repeated keys": (GOOD + b',"model":"closed","model":"gpt-4o"}', 200),
    "1.7 million objects, passed on": (GOOD + b',"x":' + EMPTIES + b"}", 200),
    "1.7 million objects beside a mistake": (GOOD + b',"x":' + EMPTIES + b',"n":"a"}', 400),
    "1.7 million messages": (b'{"model":"gpt-4o","messages":' + EMPTIES + b"}", 400),
    "1.7 million tools": (GOOD + b',"tools":' + EMPTIES + b"}", 400),
    "1.7 million of metadata": (GOOD + b',"metadata":' + EMPTIES + b"}", 400),
}


class Stopwatch:
    """Takes the longest turn of the event loop, in CPU time, so that a busy machine does not count."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.longest = 0.0
        self._loop = loop
        self._last = time.thread_time()
        self._next = loop.call_soon(self._turn)

    def _turn(self) -> None:
        now = time.thread_time()
        self.longest = max(self.longest, now - self._last)
        self._last = now
        self._next = self._loop.call_soon(self._turn)

    def stop(self) -> float:
        self._next.cancel()
        return self.longest


@pytest.mark.parametrize("name", BOMBS)
async def test_bomb_holds_nobody_up(house: House, name: str) -> None:
    """A 400 in the error format, or the upstream's answer; the loop stands still for 100 ms at most."""
    body, status = BOMBS[name]
    gc.freeze()  # else a full collection walks what 3,000 tests before this one left behind (measured: 0.55 s)
    stopwatch = Stopwatch(asyncio.get_running_loop())
    answer = await house.send(house.request(body), seconds=10.0, quiet=0.02)
    stall = stopwatch.stop()
    gc.unfreeze()
    print(f"{name}: {status}, stall {stall * 1000:.1f} ms")
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:300]
    assert len(house.upstream.received) == (status == 200)
    if status == 400:
        error = json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]
        assert error.keys() == {"type", "code", "message", "param"}
        assert len(answer) < 1500
    assert stall <= within(STALL_SECONDS)
