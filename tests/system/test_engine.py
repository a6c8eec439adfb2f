"""The engine as a real process with a model of random weights: alone, and behind `techstone serve`."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from service import Service, free_port, is_running, serving, wait_until
from tiny_model import write_model

from techstone.engine.options import HEALTH_PATH, EngineOptions, command

if TYPE_CHECKING:
    from collections.abc import Iterator

_MESSAGES = [{"role": "user", "content": "hi"}]
# The model never says that it is done: what ends then is ended by a limit.
_ENDLESS = {"logit_bias": {"0": -100, "2": -100}}
_WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 8}, "unit": {"enum": ["c", "f"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
_TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "parameters": _WEATHER}},
    {"type": "function", "function": {"name": "get_time"}},
]
_NAMED = {"type": "function", "function": {"name": "get_weather"}}
_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


class Engine:
    """One engine process with one slot."""

    def __init__(self, model: Path) -> None:
        self.options = EngineOptions(
            model=str(model), port=free_port(), alias="tiny", api_key="k" * 32, parallel=1, context=2048
        )
        words, extra = command(self.options)
        self.process = subprocess.Popen(words, env={**os.environ, **extra}, stderr=subprocess.PIPE)
        self.started_in = wait_until(self.is_healthy)

    def is_healthy(self) -> bool:
        with contextlib.suppress(OSError):
            return self.ask("GET", HEALTH_PATH, None)[0] == 200
        return False

    def open(self, method: str, path: str, key: str | None, body: object = None) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.options.port, timeout=10)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        connection.request(method, path, json.dumps(body) if body else None, headers)
        return connection

    def ask(self, method: str, path: str, key: str | None, body: object = None) -> tuple[int, bytes]:
        connection = self.open(method, path, key, body)
        with contextlib.closing(connection):
            answer = connection.getresponse()
            return answer.status, answer.read()

    def chat(self, **body: object) -> tuple[int, bytes]:
        return self.ask("POST", "/v1/chat/completions", self.options.api_key, {"messages": _MESSAGES, **body})


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    running = Engine(write_model(tmp_path_factory.mktemp("engine") / "tiny.gguf"))
    yield running
    running.process.kill()
    running.process.communicate()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    configuration = "[engine]\nmodel = 'tiny.gguf'\nparallel = 2\ncontext = 512\n"
    with serving(tmp_path_factory.mktemp("serve"), configuration) as running:
        yield running


def read_events(text: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def check_call(call: dict[str, Any], names: set[str]) -> None:
    """Hold a call to the tools: one of their names, and arguments that follow that tool's schema."""
    assert call["type"] == "function"
    assert call["id"].startswith("call_")
    assert call["function"]["name"] in names
    arguments = json.loads(call["function"]["arguments"])
    if call["function"]["name"] == "get_weather":
        assert set(arguments) == {"city", "unit"}
        assert arguments["unit"] in {"c", "f"}


def test_engine_starts_at_once(engine: Engine) -> None:
    """A small model is ready in well under 2 s (measured: 0.1 s)."""
    assert engine.started_in < 2.0


@pytest.mark.parametrize("key", [None, "k", "K" * 32])
def test_stranger_on_the_machine_gets_nothing(engine: Engine, key: str | None) -> None:
    """The loopback is open to every user of the machine; only the key of this start is answered."""
    body = {"messages": _MESSAGES}
    assert engine.ask("POST", "/v1/chat/completions", key, body)[0] == 401
    assert [engine.ask("GET", path, key)[0] for path in ("/slots", "/props", "/v1/models")] == [401] * 3


def test_hang_up_frees_the_slot(engine: Engine) -> None:
    """The one slot is free at once after its client went away: ten endless answers take no time (each: 0.5 s)."""
    began = time.monotonic()
    for _ in range(10):
        body = {"messages": _MESSAGES, "stream": True, **_ENDLESS}
        connection = engine.open("POST", "/v1/chat/completions", engine.options.api_key, body)
        answer = connection.getresponse()
        assert answer.read(20)
        answer.close()
        connection.close()
    assert engine.chat(max_tokens=1)[0] == 200
    assert time.monotonic() - began < 2.5


def test_terminated_engine_exits_cleanly(tmp_path: Path) -> None:
    """SIGTERM ends it with status 0, in silence, also while it answers."""
    running = Engine(write_model(tmp_path / "tiny.gguf"))
    body = {"messages": _MESSAGES, "stream": True, **_ENDLESS}
    with contextlib.closing(running.open("POST", "/v1/chat/completions", running.options.api_key, body)):
        running.process.send_signal(signal.SIGTERM)
        assert running.process.communicate(timeout=5)[1] == b""
    assert running.process.returncode == 0


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), (b"text", "no GGUF file"), (b"GGUF", "damaged")]
)
def test_unusable_model_is_told_in_one_line(tmp_path: Path, content: bytes | None, reason: str) -> None:
    """The operator reads which file, what is wrong with it, and which setting names it."""
    path = tmp_path / "m.gguf"
    if content is not None:
        path.write_bytes(content)
    words, extra = command(EngineOptions(model=str(path), port=free_port(), alias="m", api_key="k"))
    done = subprocess.run(words, env={**os.environ, **extra}, capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert all(part in done.stderr for part in (str(path), reason, "engine.model"))


def test_engine_does_not_outlive_its_parent(tmp_path: Path) -> None:
    """The parent killed, the engine is gone too."""
    words, extra = command(
        EngineOptions(
            model=str(write_model(tmp_path / "tiny.gguf")), port=free_port(), alias="tiny", api_key="k", parallel=1
        )
    )
    parent = (
        "import os, subprocess, sys, time\n"
        f"child = subprocess.Popen({words!r}, env={{**os.environ, 'TECHSTONE_PARENT': str(os.getpid())}})\n"
        "print(child.pid, flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent], env={**os.environ, **extra}, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        child = int(running.stdout.readline())
        wait_until(lambda: len(list(Path(f"/proc/{child}/task").iterdir())) > 1)
        running.kill()
        wait_until(lambda: not is_running(child))


@pytest.mark.parametrize(("choice", "names"), [("required", {"get_weather", "get_time"}), (_NAMED, {"get_weather"})])
def test_forced_tool_is_called(service: Service, choice: object, names: set[str]) -> None:
    """A forced tool gives a valid call whatever the weights, whole and as a stream."""
    for seed in range(5):
        body = {"tools": _TOOLS, "tool_choice": choice, "max_tokens": 400, "seed": seed}
        status, whole, _ = service.chat(body)
        message = whole["choices"][0]["message"]
        assert (status, whole["choices"][0]["finish_reason"], message["content"]) == (200, "tool_calls", None)
        check_call(message["tool_calls"][0], names)
        events = read_events(service.chat({**body, "stream": True})[1])
        deltas = [event["choices"][0]["delta"] for event in events]
        assert deltas[0]["role"] == "assistant"
        assert deltas[0]["tool_calls"][0]["index"] == 0
        check_call(deltas[0]["tool_calls"][0], names)
        assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("stream", [False, True])
def test_answer_follows_its_schema(service: Service, *, stream: bool) -> None:
    """A JSON schema is enforced by grammar, whatever the weights."""
    schema = {"type": "json_schema", "json_schema": {"name": "weather", "schema": _WEATHER, "strict": True}}
    for seed in range(5):
        answer = service.chat({"response_format": schema, "max_tokens": 400, "seed": seed, "stream": stream})[1]
        if stream:
            text = "".join(event["choices"][0]["delta"].get("content") or "" for event in read_events(answer))
        else:
            text = answer["choices"][0]["message"]["content"]
        assert set(json.loads(text)) == {"city", "unit"}


def test_json_object_is_an_object(service: Service) -> None:
    """`json_object` gives JSON or is cut off, and says so."""
    for seed in range(5):
        answer = service.chat({"response_format": {"type": "json_object"}, "max_tokens": 400, "seed": seed})[1]
        choice = answer["choices"][0]
        assert choice["finish_reason"] == "length" or isinstance(json.loads(choice["message"]["content"]), dict)


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_of_every_choice_are_billed(service: Service, *, stream: bool) -> None:
    """Two choices of four tokens are eight tokens."""
    body = {"n": 2, "max_tokens": 4, **_ENDLESS, "stream": stream}
    answer = service.chat({**body, "stream_options": {"include_usage": True}} if stream else body)[1]
    last = read_events(answer)[-1] if stream else answer
    assert last["usage"]["completion_tokens"] == 8
    if not stream:
        assert [choice["logprobs"] for choice in answer["choices"]] == [None, None]


def test_answer_without_a_limit_ends_with_the_context(service: Service) -> None:
    """Without max_tokens, and a model that never ends, the context of 512 tokens does."""
    answer = service.chat({"max_tokens": None, **_ENDLESS})[1]
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["total_tokens"] <= 512


@pytest.mark.parametrize("stream", [False, True])
def test_too_long_a_prompt_is_the_clients(service: Service, *, stream: bool) -> None:
    """A prompt beyond the context is refused with OpenAI's own code."""
    status, answer, _ = service.chat({"messages": [{"role": "user", "content": "ab " * 600}], "stream": stream})
    error = (json.loads(answer) if stream else answer)["error"]
    assert (status, error["code"], error["param"]) == (400, "context_length_exceeded", "messages")


def test_what_the_model_cannot_take_hurts_nobody_else(service: Service) -> None:
    """Images are the client's mistake (llama.cpp says 500): six in a row do not open the breaker."""
    for _ in range(6):
        assert service.chat({"messages": [{"role": "user", "content": [_IMAGE]}]})[0] == 400
    assert service.chat()[0] == 200


def test_own_parameters_of_llama_cpp_do_nothing(service: Service) -> None:
    """What would get round max_tokens, or fail inside the engine, does not arrive there."""
    own = {"n_predict": 100, "grammar": 'root ::= "x"', "reasoning_format": "?", "timings_per_token": True}
    status, answer, _ = service.chat({"max_tokens": 3, **_ENDLESS, **own})
    assert (status, answer["usage"]["completion_tokens"]) == (200, 3)
    assert "timings" not in answer


def test_answer_has_the_full_form(service: Service) -> None:
    """What llama.cpp leaves out is there, and what is only its own is not (conformance: response objects)."""
    answer = service.chat()[1]
    assert answer["model"] == "gpt-4o"
    assert set(answer) <= {"id", "object", "created", "model", "choices", "usage", "system_fingerprint"}
    choice = answer["choices"][0]
    assert set(choice) == {"index", "message", "logprobs", "finish_reason"}
    assert set(choice["message"]) == {"role", "content", "refusal"}
