"""M-1: killed at any moment, under load, every answer that a client has whole is billed exactly once."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from haste import LONG, within
from oracle import PROMPT, oracle, read_log
from service import wait_until
from spread import housing

if TYPE_CHECKING:
    from pathlib import Path

    from service import Service

# The long run is `make torture`'s.
KILLS = 200 if LONG else 4
CLIENTS = 32
_CONFIG = """
[[providers]]
name = "up"
base_url = "%s"
[[models]]
name = "m"
max_output_tokens = 100
price = {input = "2", output = "10"}
routes = [{provider = "up", model = "x"}]
[plans.torture]
rpm = 1000000
tpm = 1000000000
concurrent = 1000
billing = "prepaid"
[engine]
enabled = false
"""


class Clients:
    """Ask without end, half of them for streams; keep what was received."""

    def __init__(self, service: Service, key: str) -> None:
        self._service = service
        self._key = key
        self.received: dict[str, tuple[bool, int, str | None]] = {}  # by request id: whole, tokens, cost
        self.first_answer = 0.0

    async def run(self, until: asyncio.Event) -> None:
        await asyncio.gather(*(self._ask(until, number % 2 == 0) for number in range(CLIENTS)))

    async def _ask(self, until: asyncio.Event, stream: bool) -> None:  # noqa: FBT001 - one of two kinds
        body = json.dumps({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hi"}]}).encode()
        request = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: application/json\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        while not until.is_set():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._service.port)
                writer.write(request)
                raw = b""
                try:
                    while part := await reader.read(65536):
                        raw += part
                finally:
                    self._take(raw, stream=stream)
                    writer.close()
            except OSError:
                await asyncio.sleep(0.02)

    def _take(self, raw: bytes, *, stream: bool) -> None:
        head, found, body = raw.partition(b"\r\n\r\n")
        if not found or b" 200 " not in head[:16]:
            return
        self.first_answer = self.first_answer or time.monotonic()
        fields = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:])
        request = fields["x-request-id"]
        if stream:
            whole = b"data: [DONE]\n\n\r\n0\r\n\r\n" in body
            self.received[request] = (whole, body.count(b'"content":" word"'), None)
        else:
            whole = len(body) == int(fields["content-length"])
            usage: dict[str, Any] = json.loads(body)["usage"] if whole else {"completion_tokens": 0, "cost": None}
            self.received[request] = (whole, usage["completion_tokens"], usage["cost"])


async def _torture(service: Service, clients: Clients, chance: random.Random) -> list[float]:
    """Kill and start anew, again and again; return the seconds from each start to the first answer."""
    recoveries = []
    for _ in range(KILLS):
        until = asyncio.Event()
        clients.first_answer = 0.0
        running = asyncio.create_task(clients.run(until))
        began = time.monotonic()
        await asyncio.to_thread(service.start)
        await _until(lambda: clients.first_answer > 0)
        recoveries.append(clients.first_answer - began)
        await asyncio.sleep(chance.random() * 0.5)
        await asyncio.to_thread(service.kill)
        until.set()
        await running
    return recoveries


async def _until(true: Any) -> None:  # noqa: ANN401 - any question
    async with asyncio.timeout(within(10)):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("gateways", [0, 2])
def test_whole_answers_are_billed_once_whenever_the_service_is_killed(tmp_path: Path, gateways: int) -> None:
    """Lost 0, double 0, mismatched 0, against what the upstream says that it sent."""
    seed = int(os.environ.get("SEED", "1"))
    with oracle(tmp_path) as (url, log), housing(tmp_path, _CONFIG % url, gateways) as service:
        service.ask("account", "create", "t@example.com", "--plan", "torture", "--credit", "100000")
        key = service.ask("key", "create", "--account", "t@example.com")["key"]
        service.stop()
        clients = Clients(service, key)
        recoveries = asyncio.run(_torture(service, clients, random.Random(seed)))
        service.start()
        wait_until(lambda: "applied" not in service.printed() and _settled(service))
        records = service.ask("usage", "--requests", "--since", "2d")
        violations = service.ask("ledger", "check")
        account = service.ask("account", "show", "t@example.com")
        service.stop()
        sent = read_log(log)
    by_id = {record["request_id"]: record for record in records}
    whole = {name for name, (complete, _, _) in clients.received.items() if complete}
    lost = [name for name in whole if by_id.get(name, {}).get("state") != "settled"]
    double = len(records) - len(by_id)
    mismatched = [
        name
        for name in whole - set(lost)
        if (by_id[name]["prompt_tokens"], by_id[name]["completion_tokens"]) != (PROMPT, sent[name]["sent"])
    ]
    beyond = [name for name, record in by_id.items() if record["completion_tokens"] > sent[name]["sent"]]
    recoveries.sort()
    figures = {
        "id": "M-1", "gateways": gateways, "seed": seed, "kills": KILLS,
        "whole": len(whole), "records": len(records), "lost": len(lost),
        "double": double, "mismatched": len(mismatched), "beyond": len(beyond),
        "restart p50": round(recoveries[len(recoveries) // 2], 2),
        "restart p99": round(recoveries[int(len(recoveries) * 0.99)], 2),
    }  # fmt: skip
    print(json.dumps(figures))
    assert (lost, double, mismatched, beyond) == ([], 0, [], []), figures
    assert violations == []
    assert len(whole) > 10 * KILLS
    spent = sum(_nano(record["cost"]) for record in records)
    assert _nano(account["spent"]) == spent
    assert _nano(account["credit"]) == 100_000 * 10**9 - spent


def _settled(service: Service) -> bool:
    """Say whether nothing more comes: two looks, half a second apart, see the same."""
    first = service.ask("usage", "--by", "account")
    time.sleep(0.5)
    return bool(service.ask("usage", "--by", "account") == first)


def _nano(usd: str) -> int:
    whole, _, part = usd.partition(".")
    return int(whole) * 10**9 + int(part.ljust(9, "0"))
