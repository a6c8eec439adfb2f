"""D-1: SIGTERM amid many live streams: those that end in time are whole, others end with an error; each is billed."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from typing import TYPE_CHECKING

import pytest
from client import Answer, connect, post, read
from customers import list_bills, open_account
from haste import LONG
from puppet import Puppet, compose, configure, describe_model, describe_plan
from service import serving, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from service import Service

# The long run is `make torture`'s.
STREAMS = 200 if LONG else 60
DRAIN = 10.0 if LONG else 5.0
WORDS = 40
# How many seconds a stream runs: within the limit, beyond it, as good as without end.
LENGTHS = (DRAIN / 2, DRAIN * 3, 3600.0)


@pytest.fixture
def service(tmp_path: Path, upstream: Puppet) -> Iterator[Service]:
    configuration = configure(upstream.url, describe_model("long"), describe_plan("many", 1000))
    with serving(tmp_path, f"{configuration}[server]\ndrain = {DRAIN}\n") as service:
        yield service


async def _listen(service: Service, key: str, seconds: float) -> Answer:
    async with connect(service) as (reader, writer):
        writer.write(post(key, compose("long", stream=True, words=WORDS, pause=seconds / WORDS, mark=" word")))
        return await read(reader)


async def _refuses(service: Service) -> bool:
    """Say whether a new connection gets nothing."""
    try:
        async with connect(service) as (reader, writer):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            return not await reader.read(1)
    except OSError:
        return True


async def _drain(service: Service, upstream: Puppet, key: str) -> tuple[list[Answer], float, bool]:
    """Open all streams and end the service; return what came, the seconds to its end, and whether it let more in."""
    listening = [
        asyncio.create_task(_listen(service, key, LENGTHS[number % len(LENGTHS)])) for number in range(STREAMS)
    ]
    await asyncio.to_thread(wait_until, lambda: upstream.count("now", "long") == STREAMS)
    assert service.process is not None
    began = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    await asyncio.sleep(0.5)
    refused = await _refuses(service)
    answers = [await one for one in listening]
    status = await asyncio.to_thread(service.process.wait, 60)
    assert status == 0, service.complained()
    return answers, time.monotonic() - began, refused


def test_streams_that_end_in_time_are_whole_and_all_are_billed(service: Service, upstream: Puppet) -> None:
    """D-1: it ends with status 0, a second after the limit at the latest; each bill is of the words that came."""
    customer = open_account(service, "many")
    answers, seconds, refused = asyncio.run(_drain(service, upstream, customer.key))
    service.start()
    bills = {bill.request_id: bill.completion_tokens for bill in list_bills(service, customer)}
    heard = {answer.headers["x-request-id"]: answer.body.count(b'"content":" ') for answer in answers}
    heard = {name: words for name, words in heard.items() if words}
    whole = [answer for answer in answers if answer.whole]
    cut = [answer for answer in answers if b'"error"' in answer.body and b"[DONE]" not in answer.body]
    figures = {
        "id": "D-1", "streams": STREAMS, "drain s": DRAIN, "whole": len(whole), "cut": len(cut),
        "bills": len(bills), "billed otherwise": sum(bills.get(name) != words for name, words in heard.items()),
        "exit s": round(seconds, 2), "new refused": refused,
    }  # fmt: skip
    print(json.dumps(figures))
    assert (len(whole), len(cut)) == (-(-STREAMS // 3), STREAMS - -(-STREAMS // 3)), figures
    assert bills == heard, figures
    assert refused
    if LONG:  # there the machine has nothing else to do
        assert seconds <= DRAIN + 1, figures
