"""Structured logs: whole lines, no secrets, and never in the way."""

from __future__ import annotations

import json
import os
import time

import pytest
from haste import within

from techstone.adapters.telemetry.log import AccessLine, Log
from techstone.core.keys import conceal


def _line(path: str = "/v1/models") -> AccessLine:
    return AccessLine(1.5, "request", "req_1", "GET", path, 200, 0.25)


def test_line_is_one_json_object() -> None:
    """Control characters are escaped, so that no path forges a line; what is empty is left out."""
    read_end, write_end = os.pipe()
    log = Log(write_end)
    log.write([_line(), _line('/a\n{"event":"forged"}\x1b[2J')])
    log.close()
    lines = os.read(read_end, 65536).decode().splitlines()
    os.close(read_end)
    os.close(write_end)
    assert json.loads(lines[0]) == {
        "ts": 1.5,
        "event": "request",
        "request_id": "req_1",
        "method": "GET",
        "path": "/v1/models",
        "status": 200,
        "duration": 0.25,
    }
    assert json.loads(lines[1])["path"] == '/a\n{"event":"forged"}\x1b[2J'
    assert len(lines) == 2
    assert "\x1b" not in lines[1]


@pytest.mark.parametrize(
    "text",
    [
        "ts_live_" + "a" * 46,
        "ts_test_" + "B" * 46,
        "ts_admin_" + "c" * 46,
        "sk-proj-abc_DEF-123",
        "ts_code_" + "d" * 26,
        "Bearer abc.def/ghi+jkl=",
        "bearer abc",
    ],
)
def test_what_looks_like_a_key_is_taken_out(text: str) -> None:
    """The net under everything else: no form of a key gets through."""
    assert conceal(f"failed with {text}, sorry") == "failed with [redacted], sorry"


def test_secret_of_a_link_is_taken_out() -> None:
    """A GET of it does not use it up: whoever reads the log could still set a password by it."""
    assert conceal("GET /console/link/aB-_9 failed") == "GET /console/link/[redacted] failed"


def _fail() -> None:
    raise ValueError("bad key ts_live_" + "a" * 46)


def test_defect_is_logged_with_its_trace_and_without_keys() -> None:
    """Where it happened is in the line; a key in the message is not."""
    read_end, write_end = os.pipe()
    log = Log(write_end)
    with pytest.raises(ValueError, match="bad key") as caught:
        _fail()
    log.event("error", "defect", repr(caught.value), request_id="req_1", error=caught.value)
    log.close()
    line = json.loads(os.read(read_end, 65536))
    os.close(read_end)
    os.close(write_end)
    assert (line["level"], line["event"], line["request_id"]) == ("error", "defect", "req_1")
    assert "test_log.py" in line["trace"]
    assert "a" * 46 not in json.dumps(line)


def test_pipe_that_never_blocks_loses_nothing_for_good() -> None:
    """Where stderr is shared with a program that made it non-blocking, a full pipe is waited for, not given up."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    log = Log(write_end)
    sent = 4 * [_line("/" + "a" * 200)] * 512
    log.write(sent)
    text = b""
    while text.count(b"\n") < len(sent):
        text += os.read(read_end, 65536)
    log.write([_line("/last")])
    text += os.read(read_end, 65536)
    log.close()
    os.close(read_end)
    os.close(write_end)
    assert b'"/last"' in text
    assert [json.loads(line)["status"] for line in text.splitlines()] == [200] * (len(sent) + 1)


def test_reader_that_does_not_read_blocks_nobody() -> None:
    """With a full pipe lines are dropped and counted, at once."""
    read_end, write_end = os.pipe()
    log = Log(write_end)
    began = time.monotonic()
    for _ in range(200):
        log.write([_line("/" + "a" * 1000)] * 512)
    assert time.monotonic() - began < within(2.0)
    assert log.dropped > 0
    os.close(read_end)  # the writing thread hears that nobody reads, and ends
    log._thread.join(2.0)
    assert not log._thread.is_alive()
    os.close(write_end)
