"""A cluster of real llama.cpp servers behind a gateway: talks keep their server, and a dead one is no error."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import urllib.request
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from house import House, keep_house
from llama import Llama
from service import Service, serving, wait_until
from tiny_model import write_model

from techstone.adapters.upstreams.health_checks import HealthChecks
from techstone.core.snapshot import Model, Provider, Replica, Route, Snapshot, Timeouts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from techstone.gateway.servers import Server

# The model never says that it is done: what ends then is ended by a limit.
_ENDLESS = {"0": -100, "2": -100}
_TIMEOUTS = Timeouts(first_byte=20.0)
_UP = r'^techstone_replica_state\{provider="gpu",replica="\d",state="up"\} 1\.0$'
# Without any provider or engine there is nothing to offer, and no start.
_ELSEWHERE = """
[[providers]]
name = "elsewhere"
base_url = "http://127.0.0.1:9/v1"
[[models]]
name = "other"
price = { input = "0", output = "0" }
routes = [{ provider = "elsewhere", model = "other" }]
"""


class Cluster(House):
    """A gateway before servers of one provider, with its checks."""

    def __init__(self, engines: list[Llama]) -> None:
        super().__init__()
        self.engines = engines

    def snapshot(self) -> Snapshot:
        replicas = tuple(Replica(engine.base_url) for engine in self.engines)
        provider = Provider("gpu", "llama.cpp", replicas[0].base_url, timeouts=_TIMEOUTS, replicas=replicas)
        model = Model("tiny", (Route("gpu", "tiny"),), max_output_tokens=512)
        return msgspec.structs.replace(super().snapshot(), models=(model,), providers=(provider,))

    @property
    def servers(self) -> tuple[Server, ...]:
        return self.gateway.dispatch.servers.all.get("gpu", ())

    async def ask(self, messages: list[dict[str, str]], tokens: int = 3) -> tuple[int, Any]:
        body = {"model": "tiny", "max_tokens": tokens, "messages": messages, "logit_bias": _ENDLESS}
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(self.request(json.dumps(body).encode()))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        answer = json.loads(await reader.readexactly(length))
        writer.close()
        return int(head.split()[1]), answer

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not true():  # noqa: ASYNC110 - what the checks find out
                await asyncio.sleep(0.02)


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[list[Llama]]:
    model = write_model(tmp_path / "tiny.gguf")
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(3):
            found.append(Llama(model, slots=4))
            found[-1].start()
            stack.callback(found[-1].kill)
        yield found


@pytest.fixture
async def cluster(engines: list[Llama], tmp_path: Path) -> AsyncIterator[Cluster]:
    cluster = Cluster(engines)
    async with keep_house(tmp_path, cluster):
        gateway = cluster.gateway
        checks = HealthChecks(gateway.upstreams, cluster.snapshots, gateway.dispatch)
        checks.start()
        await cluster.until(lambda: [server.health.state for server in cluster.servers] == ["up"] * 3)
        yield cluster
        checks.stop()


async def test_conversation_finds_its_cache(cluster: Cluster) -> None:
    """Each turn of twelve conversations that take turns goes where the turns before are; all servers are used."""
    talks = [[{"role": "user", "content": f"Talk {number}. " + "Tell me more. " * 8}] for number in range(12)]
    for turn in range(3):
        for talk in talks:
            status, answer = await cluster.ask(talk)
            assert status == 200
            if turn:
                usage = answer["usage"]
                # All that was read and written before is known, but for the new question.
                assert usage["prompt_tokens"] - usage["prompt_tokens_details"]["cached_tokens"] < 40
            talk += [answer["choices"][0]["message"], {"role": "user", "content": f"And {turn}?"}]
    assert all(engine.count("tokens_predicted_total") > 0 for engine in cluster.engines)


async def test_killed_server_is_no_error_and_comes_back(cluster: Cluster) -> None:
    """SIGKILL in the middle of 16 clients: every answer is whole. Once it is there again it is asked again."""
    stop = asyncio.Event()
    statuses: list[int] = []

    async def client(number: int) -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            statuses.append((await cluster.ask([{"role": "user", "content": f"{number} {turn}"}], tokens=20))[0])

    clients = [asyncio.create_task(client(number)) for number in range(16)]
    victim = cluster.servers[1]
    await cluster.until(lambda: victim.answered > 20 and victim.in_flight > 0)
    cluster.engines[1].kill()
    await cluster.until(lambda: victim.health.state == "down")
    answered = victim.answered
    await asyncio.to_thread(cluster.engines[1].start)
    await cluster.until(lambda: victim.health.state == "up" and victim.answered > answered + 20)
    stop.set()
    await asyncio.gather(*clients)
    assert set(statuses) == {200}, f"of {len(statuses)}"


async def test_load_of_others_is_heard(cluster: Cluster) -> None:
    """Requests that did not come through the gateway count: it hears of them from the server, and goes elsewhere."""
    asked = [{"role": "user", "content": "A conversation of its own."}]
    await cluster.ask(asked)
    (home,) = (place for place, server in enumerate(cluster.servers) if server.answered)
    with contextlib.ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(cluster.engines[home].generating())
        await cluster.until(lambda: cluster.servers[home].load == 6)
        told = cluster.servers[home].reported
        assert told is not None
        assert (told.running, told.waiting) == (4, 2)
        assert (await cluster.ask(asked))[0] == 200
        assert cluster.servers[home].answered == 1
    await cluster.until(lambda: cluster.servers[home].load == 0)
    await cluster.ask(asked)
    assert cluster.servers[home].answered == 2


def test_cluster_of_the_api_answers_and_each_of_it_is_tried(engines: list[Llama], tmp_path: Path) -> None:
    """Two real servers that an operator key adds are used within seconds; one that dies is told by the trial."""
    with serving(tmp_path, "[engine]\nenabled = false\n[console]\nprivate_providers = true\n" + _ELSEWHERE) as service:
        key = service.ask("key", "create", "--account", "owner@localhost", "--operator")["key"]
        servers = [{"base_url": engine.base_url} for engine in engines[:2]]
        wish = {"name": "gpu", "kind": "llama.cpp", "replicas": servers, "routing": "least-busy", "secret": "sk-any"}
        made = operate(service, key, "/providers", wish)
        assert (made["kind"], made["secret"]) == ("llama.cpp", "set")
        assert [one["base_url"] for one in made["replicas"]] == [one["base_url"] for one in servers]
        route = {"provider": "gpu", "model": "tiny"}
        operate(service, key, "/catalog", {"name": "tiny", "routes": [route], "input": "0", "output": "0"})
        wait_until(lambda: service.chat({"model": "tiny"})[0] == 200)
        wait_until(lambda: service.chat({"model": "tiny"})[0] == 200 and all(map(_has_worked, engines[:2])))
        wait_until(lambda: len(re.findall(_UP, service.get("/metrics")[1], re.MULTILINE)) == 2)
        tried = operate(service, key, "/providers/test", {"name": "gpu", "model": "tiny"})
        assert (tried["models"], [one["chat"]["good"] for one in tried["servers"]]) == (["tiny"], [True, True])
        engines[1].kill()
        tried = operate(service, key, "/providers/test", {"name": "gpu"})
        assert [one["listing"]["good"] for one in tried["servers"]] == [True, False]
        assert "connection was refused" in tried["listing"]["told"]
        assert service.run("provider", "test", "gpu").returncode == 1
        less = operate(service, key, "/providers/change", {"name": "gpu", "replicas": servers[:1]})
        assert (less["base_url"], less["replicas"], less["secret"]) == (servers[0]["base_url"], [], None)
        assert service.chat({"model": "tiny"})[0] == 200
        noted = service.ask("audit", "list", "--action", "provider")
        assert noted[0]["detail"]["secret"] == "dropped with the address"
        assert noted[-1]["detail"]["servers"] == ", ".join(one["base_url"] for one in servers)


def _has_worked(engine: Llama) -> bool:
    return engine.count("tokens_predicted_total") > 0


def operate(service: Service, key: str, path: str, wish: object) -> Any:  # noqa: ANN401 - what the API answers
    request = urllib.request.Request(f"{service.url}/api/v1/operate{path}", json.dumps(wish).encode())
    request.add_header("Authorization", f"Bearer {key}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def test_cluster_of_the_file_is_checked_and_shown(engines: list[Llama], tmp_path: Path) -> None:
    """By `techstone serve`: its gateway asks each server, and metrics and doctor show them."""
    addresses = ", ".join(f"{{ base_url = '{engine.base_url}' }}" for engine in engines)
    text = (
        f"[engine]\nenabled = false\n[[providers]]\nname = 'gpu'\nkind = 'llama.cpp'\nreplicas = [{addresses}]\n"
        "[[models]]\nname = 'tiny'\nprice = { input = '0', output = '0' }\n"
        "routes = [{ provider = 'gpu', model = 'tiny' }]\n"
    )
    with serving(tmp_path, text) as service:
        wait_until(lambda: len(re.findall(_UP, service.get("/metrics")[1], re.MULTILINE)) == 3)
        assert service.chat({"model": "tiny"})[2]["x-techstone-served-by"] == "gpu/tiny"
        wait_until(lambda: f"replica 3 of gpu, {engines[2].base_url}" in service.run("doctor").stdout)
