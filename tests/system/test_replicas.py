"""A cluster of real llama.cpp servers behind `techstone serve`: talks keep their server, a dead one is no error."""

from __future__ import annotations

import contextlib
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
from llama import Llama
from service import Service, serving, wait_until
from tiny_model import write_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LIMITS = "rpm = 100_000\ntpm = 1_000_000_000\nconcurrent = 400"
# The model never says that it is done: what ends then is ended by a limit.
_ENDLESS = {"0": -100, "2": -100}


class Cluster:
    """Servers of one provider, `gpu`, and the service before them."""

    def __init__(self, engines: list[Llama], service: Service) -> None:
        self.engines = engines
        self.service = service

    def ask(self, messages: list[dict[str, str]], tokens: int = 3) -> tuple[int, Any]:
        body = {"model": "tiny", "max_tokens": tokens, "messages": messages, "logit_bias": _ENDLESS}
        status, answer, _ = self.service.chat(body)
        return status, answer

    def state(self, replica: int) -> str:
        """Return what the gateway's checks say of one."""
        label = rf'techstone_replica_state{{provider="gpu",replica="{replica}",state="(\w+)"}} 1\.0'
        return str(re.findall(label, self.service.get("/metrics")[1])[0])


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with contextlib.ExitStack() as stack:
        engines = []
        for _ in range(3):
            engines.append(Llama(write_model(tmp_path / "tiny.gguf"), slots=4).start())
            stack.callback(engines[-1].kill)
        addresses = ", ".join(f"{{ base_url = '{engine.base_url}' }}" for engine in engines)
        text = (
            f"[engine]\nenabled = false\n[[providers]]\nname = 'gpu'\nkind = 'llama.cpp'\nreplicas = [{addresses}]\n"
            "[[models]]\nname = 'tiny'\nmax_output_tokens = 512\nprice = { input = '0', output = '0' }\n"
            f"routes = [{{ provider = 'gpu', model = 'tiny' }}]\n[plans.pay-as-you-go]\n{_LIMITS}\n"
        )
        service = stack.enter_context(serving(tmp_path, text))
        found = Cluster(engines, service)
        wait_until(lambda: [found.state(number) for number in (1, 2, 3)] == ["up"] * 3)
        yield found


def test_conversation_finds_its_cache(cluster: Cluster) -> None:
    """Each turn of twelve conversations that take turns goes where the turns before are; all servers are used."""
    talks = [[{"role": "user", "content": f"Talk {number}. " + "Tell me more. " * 8}] for number in range(12)]
    for turn in range(3):
        for talk in talks:
            status, answer = cluster.ask(talk)
            usage = answer["usage"]
            assert status == 200
            if turn:
                # What was asked before is known, but for the end of the last block.
                assert usage["prompt_tokens_details"]["cached_tokens"] >= 100, usage
            talk += [answer["choices"][0]["message"], {"role": "user", "content": f"And {turn}?"}]
    assert all(engine.count("tokens_predicted_total") > 0 for engine in cluster.engines)


def test_killed_server_is_no_error_and_comes_back(cluster: Cluster) -> None:
    """SIGKILL in the middle of 16 clients: every answer is whole. Once it is there again it is asked again."""
    stop = threading.Event()
    statuses: list[int] = []

    def client(number: int) -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            status, _ = cluster.ask([{"role": "user", "content": f"{number} {turn}"}], tokens=20)
            statuses.append(status)

    clients = [threading.Thread(target=client, args=(number,)) for number in range(16)]
    for thread in clients:
        thread.start()
    victim = cluster.engines[1]
    wait_until(lambda: victim.count("tokens_predicted_total") > 100, 30)
    victim.kill()
    wait_until(lambda: cluster.state(2) == "down", 20)
    before = len(statuses)
    wait_until(lambda: len(statuses) > before + 32, 30)
    victim.start()
    wait_until(lambda: cluster.state(2) == "up" and victim.count("tokens_predicted_total") > 100, 30)
    stop.set()
    for thread in clients:
        thread.join()
    assert set(statuses) == {200}, f"of {len(statuses)}"


def test_load_of_others_is_heard(cluster: Cluster) -> None:
    """Requests that did not come through the gateway count: it hears of them from the server, and goes elsewhere."""
    asked = [{"role": "user", "content": "A conversation of its own."}]
    before = [engine.count("tokens_predicted_total") for engine in cluster.engines]
    cluster.ask(asked)
    after = [engine.count("tokens_predicted_total") for engine in cluster.engines]
    (home,) = (place for place in range(3) if after[place] > before[place])
    page = f'techstone_replica_running{{provider="gpu",replica="{home + 1}"}} '
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(cluster.engines[home].generating())
        wait_until(lambda: page + "4.0" in cluster.service.get("/metrics")[1])
        assert cluster.ask(asked)[0] == 200
        assert cluster.engines[home].count("tokens_predicted_total") >= after[home]
    assert any(
        cluster.engines[place].count("tokens_predicted_total") > after[place] for place in range(3) if place != home
    )
