"""`techstone serve` as a person meets it: real processes, the printed lines, the commands beside it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from haste import within
from service import Service, free_port, is_running, serving, wait_until
from tiny_model import ENDLESS

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("serve")) as running:
        yield running


def test_printed_curl_line_answers_as_pasted(service: Service) -> None:
    """The first start prints a curl line; pasted into a shell it streams an answer of the engine."""
    lines = service.printed().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("curl "))
    pasted = "\n".join(lines[first : first + 4]).replace('"stream": true', '"stream": true, "max_tokens": 5')
    done = subprocess.run(["bash", "-c", pasted], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.startswith('data: {"id":"chatcmpl-')
    assert done.stdout.endswith("data: [DONE]\n\n")


def test_every_model_says_who_really_answers(service: Service) -> None:
    """Without a provider `gpt-4o` is answered by the engine; the header, the list and the first lines say so."""
    status, body, headers = service.chat()
    assert (status, body["model"], headers["x-techstone-served-by"]) == (200, "gpt-4o", "engine/tiny")
    models = json.loads(service.get("/v1/models", service.key)[1])["data"]
    assert {model["owned_by"] for model in models} == {"techstone"}
    assert "every model, gpt-4o included, is answered by tiny" in service.printed()


def test_pages_come_from_the_control_plane(service: Service) -> None:
    """/ leads to the Console, /docs says how to call the service; no frame; another path is the API's own 404."""
    for path, words in (("/", "Log in"), ("/docs", service.url)):
        status, page, headers = service.get(path)
        assert status == 200
        assert words in page
        assert "default-src 'none'" in headers["content-security-policy"]
    status, body, _ = service.get("/nowhere")
    assert (status, json.loads(body)["error"]["type"]) == (404, "invalid_request_error")


def test_internal_api_is_not_reachable_from_outside(service: Service) -> None:
    """What the gateways and the command line use is on a socket of its own."""
    for path in ("/internal/keys", "/internal/snapshot", "/internal/doctor"):
        assert service.get(path, service.key)[0] == 404


def test_folder_and_sockets_are_nobody_elses(service: Service) -> None:
    """The data folder has mode 0700, what is in it 0600."""
    data = service.folder / "data"
    assert data.stat().st_mode & 0o777 == 0o700
    for path in data.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def _answers(service: Service, key: str, status: int) -> bool:
    return service.chat(key=key)[0] == status


def test_key_is_in_force_and_revoked_within_a_second(service: Service) -> None:
    """A key made by the command line works, and one that it revokes is refused, 1 s later at most; median of 5."""
    times = []
    for _ in range(5):
        made = service.ask("key", "create", "--account", "owner@localhost", "--name", "short")
        wait_until(partial(_answers, service, made["key"], 200), 1.0)
        service.run("key", "revoke", made["id"])
        times.append(wait_until(partial(_answers, service, made["key"], 401), 1.0))
    print(f"revoked after {statistics.median(times) * 1000:.0f} ms, at most {max(times) * 1000:.0f} ms")


def test_key_is_never_shown_again(service: Service) -> None:
    """Neither a list of keys nor a log line nor the database holds a key."""
    made = service.ask("key", "create", "--account", "owner@localhost")
    assert made["key"] not in json.dumps(service.ask("key", "list"))
    assert made["key"] not in service.complained()
    for file in (service.folder / "data").glob("techstone.db*"):
        assert made["key"].encode() not in file.read_bytes()


def test_rotated_key_overlaps_with_the_new_one(service: Service) -> None:
    """With an overlap both are good; without, the old one is refused."""
    old = service.ask("key", "create", "--account", "owner@localhost")
    new = service.ask("key", "rotate", old["id"], "--overlap", "60")
    wait_until(lambda: service.chat(key=new["key"])[0] == 200, 1.0)
    assert service.chat(key=old["key"])[0] == 200
    last = service.ask("key", "rotate", new["id"])
    wait_until(lambda: service.chat(key=new["key"])[0] == 401, 1.5)
    assert service.chat(key=last["key"])[0] == 200


def test_key_may_use_only_its_models(service: Service) -> None:
    """Another model is refused with 403 and not listed."""
    made = service.ask("key", "create", "--account", "owner@localhost", "--models", "gpt-4o-mini")
    wait_until(lambda: service.chat({"model": "gpt-4o-mini"}, made["key"])[0] == 200, 1.0)
    status, body, _ = service.chat({"model": "gpt-4o"}, made["key"])
    assert (status, body["error"]["code"]) == (403, "permission_denied")
    assert [model["id"] for model in json.loads(service.get("/models", made["key"])[1])["data"]] == ["gpt-4o-mini"]


def test_suspended_account_is_refused_until_resumed(service: Service) -> None:
    """403 for all its keys, then served again."""
    service.ask("account", "create", "late@example.com", "--plan", "pro", "--credit", "0.000000001")
    made = service.ask("key", "create", "--account", "late@example.com")
    wait_until(lambda: service.chat(key=made["key"])[0] == 200, 1.0)
    service.run("account", "suspend", "late@example.com")
    wait_until(lambda: service.chat(key=made["key"])[0] == 403, 1.0)
    service.run("account", "resume", "late@example.com")
    wait_until(lambda: service.chat(key=made["key"])[0] == 200, 1.0)
    assert service.ask("account", "show", "late@example.com")["credit"] == "0.000000001"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("account", "create", "nobody"), "techstone: email must be an address such as name@example.com.\n"),
        (("account", "create", "a@b.c", "--plan", "gold"), "techstone: plan must be one of pay-as-you-go, pro, "),
        (("account", "create", "a@b.c", "--credit", "1e3"), "techstone: credit: an amount in USD is digits"),
        (("account", "show", "no@no.no"), "techstone: There is no account `no@no.no`.\n"),
        (
            ("key", "create", "--account", "owner@localhost", "--expires", "soon"),
            "techstone: expires must be a lifetime",
        ),
        (
            ("key", "create", "--account", "owner@localhost", "--models", "gpt-9"),
            "techstone: models: there is no model",
        ),
        (("key", "create"), "techstone: Missing option '--account'. (see `techstone key create --help`)\n"),
        (("key", "revoke", "key_none"), "techstone: There is no such key."),
        (("nonsense",), "techstone: No such command 'nonsense'. (see `techstone --help`)\n"),
    ],
)
def test_command_that_fails_says_why_in_one_line(service: Service, arguments: tuple[str, ...], line: str) -> None:
    """One clear line on stderr, nothing on stdout, a status that is not 0."""
    done = service.run(*arguments)
    assert done.returncode != 0
    assert done.stderr.startswith(line)
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)


def test_doctor_finds_nothing_wrong(service: Service) -> None:
    """Everything that a start needs is looked at."""
    findings = {finding["what"]: finding["state"] for finding in service.ask("doctor")}
    assert set(findings.values()) == {"ok"}
    assert {"python", "configuration", "data", "engine", "database", "control"} <= findings.keys()


def test_second_server_on_the_data_is_refused(service: Service) -> None:
    """Two supervisors on one folder would fight over it; a taken port is told, too."""
    done = service.run("serve", "--port", str(free_port()))
    assert done.returncode == 1
    assert "another `techstone serve` runs on it" in done.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = service.run("gateway", "--port", str(taken.getsockname()[1]))
    assert "Address already in use. Choose another with --port" in done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_address_for_others_without_tls_is_refused(service: Service, host: str) -> None:
    """Keys would travel in clear; the line says what to do."""
    done = service.run("serve", "--host", host, "--data", "other")
    assert done.returncode == 1
    assert "API keys would travel in clear" in done.stderr
    assert "--insecure-http" in done.stderr
    assert not (service.folder / "other").exists()


@pytest.mark.parametrize("child", ["engine", "control", "gateway"])
def test_killed_child_is_started_again(service: Service, child: str) -> None:
    """Whatever is killed comes back, and nothing else goes down with it."""
    before = service.children()
    os.kill(before[child], signal.SIGKILL)
    if child != "gateway":
        assert service.get("/healthz")[0] == 200
    wait_until(lambda: service.children().get(child) not in (None, before[child]))
    wait_until(lambda: json.loads(service.get("/readyz")[1])["problem"] is None)
    wait_until(lambda: service.chat()[0] == 200, 20.0, pause=0.5)  # five quick failures would open the breaker
    after = service.children()
    assert {name: pid for name, pid in after.items() if name != child} == {
        name: pid for name, pid in before.items() if name != child
    }


def test_api_does_not_notice_that_control_is_gone(service: Service) -> None:
    """While control is stopped, known keys are served; the Console's paths say 503."""
    control = service.children()["control"]
    os.kill(control, signal.SIGSTOP)
    try:
        assert service.chat()[0] == 200
    finally:
        os.kill(control, signal.SIGCONT)


def test_client_that_hangs_up_frees_the_engine(service: Service) -> None:
    """Four endless streams fill every slot; once they hang up, the next request is answered at once."""
    sockets = []
    body = json.dumps({
        "model": "tiny", "stream": True, "max_tokens": 1900, "logit_bias": ENDLESS,
        "messages": [{"role": "user", "content": "hi"}],
    }).encode()  # fmt: skip
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.key}\r\n"
    for _ in range(4):
        sock = socket.create_connection(("127.0.0.1", service.port))
        sock.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        assert sock.recv(15) == b"HTTP/1.1 200 OK"
        sockets.append(sock)
    for sock in sockets:
        sock.close()
    began = time.monotonic()
    assert service.chat()[0] == 200
    assert time.monotonic() - began < within(1.0)


def test_context_that_is_too_long_is_the_clients_mistake(service: Service) -> None:
    """A prompt beyond the engine's context is 400 with OpenAI's code."""
    status, body, _ = service.chat({"messages": [{"role": "user", "content": "word " * 3000}]})
    assert (status, body["error"]["code"]) == (400, "context_length_exceeded")


SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}, "warm": {"type": "boolean"}},
    "required": ["city", "warm"],
    "additionalProperties": False,
}


def test_schema_is_enforced_on_random_weights(service: Service) -> None:
    """`response_format` json_schema gives an object of that schema, whatever the model would say."""
    format_ = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
    status, body, _ = service.chat({"response_format": format_, "max_tokens": 500})
    answer = json.loads(body["choices"][0]["message"]["content"])
    assert (status, answer["city"] in {"Paris", "Rome"}, type(answer["warm"])) == (200, True, bool)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "look"}}])
def test_forced_tool_is_called_on_random_weights(service: Service, choice: object, *, stream: bool) -> None:
    """A forced `tool_choice` gives a call of that tool whose arguments fit its schema, whole and as a stream."""
    tools = [
        {"type": "function", "function": {"name": "look", "parameters": SCHEMA}},
        {"type": "function", "function": {"name": "wait"}},
    ]
    wanted = {"tools": tools if choice != "required" else tools[:1], "tool_choice": choice, "max_tokens": 500}
    status, body, _ = service.chat({**wanted, "stream": stream})
    if stream:
        chunks = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {")]
        message, reason = chunks[0]["choices"][0]["delta"], chunks[-1]["choices"][0]["finish_reason"]
        assert body.endswith("data: [DONE]\n\n")
    else:
        message, reason = body["choices"][0]["message"], body["choices"][0]["finish_reason"]
    call = message["tool_calls"][0]
    assert (status, reason, call["type"], call["function"]["name"]) == (200, "tool_calls", "function", "look")
    assert json.loads(call["function"]["arguments"])["city"] in {"Paris", "Rome"}


@contextlib.contextmanager
def _streaming(service: Service, tokens: int) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    body = {
        "model": "tiny", "stream": True, "max_tokens": tokens, "logit_bias": ENDLESS,
        "messages": [{"role": "user", "content": "hi"}],
    }  # fmt: skip
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {service.key}"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    answer = connection.getresponse()
    assert answer.readline().startswith(b"data: ")
    try:
        yield answer
    finally:
        answer.close()
        connection.close()


def test_later_start_says_no_key_and_stop_is_clean(tmp_path: Path) -> None:
    """The key is printed once; SIGTERM ends everything with status 0; the key is still good after a restart."""
    with serving(tmp_path) as service:
        assert service.key
        print(f"start to first 200: {service.started_in:.2f} s")
        pids = [*service.children().values()]
        assert service.stop() == 0
        wait_until(lambda: not any(map(is_running, pids)))
        assert "ts_live_" not in service.start()
        assert service.chat()[0] == 200


def test_running_stream_ends_whole_while_draining(tmp_path: Path) -> None:
    """After SIGTERM a stream that ends within the limit is whole, and new connections are refused."""
    with serving(tmp_path) as service, _streaming(service, 300) as answer:
        assert service.process is not None
        service.process.terminate()
        assert answer.read().endswith(b"data: [DONE]\n\n")
        assert service.process.wait(15) == 0


def test_second_signal_ends_at_once(tmp_path: Path) -> None:
    """A stalled stream would hold the drain of 20 s; the second signal ends it with an error event."""
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(serving(tmp_path, "[server]\ndrain = 20.0"))
        gateway, engine = (service.children()[name] for name in ("gateway", "engine"))
        answer = stack.enter_context(_streaming(service, 1900))
        os.kill(engine, signal.SIGSTOP)  # at once: a busy machine looks away for as long as the whole stream takes
        assert service.process is not None
        service.process.terminate()
        time.sleep(0.3)  # nothing tells from outside that the first signal was heard
        assert is_running(gateway)
        service.process.terminate()
        began = time.monotonic()
        rest = answer.read()
        assert b'"error"' in rest
        assert b"[DONE]" not in rest
        wait_until(lambda: not is_running(gateway))
        print(f"second signal to the end: {time.monotonic() - began:.2f} s")
        assert time.monotonic() - began < 10.0
        os.kill(engine, signal.SIGCONT)
        assert service.process.wait(15) == 0


def test_control_gives_way_to_requests(service: Service) -> None:
    """Pages wait for requests where there is not enough for both: by niceness, that of its session included."""
    children = service.children()
    niceness = {name: os.getpriority(os.PRIO_PROCESS, children[name]) for name in ("gateway", "control")}
    assert niceness["control"] - niceness["gateway"] == 10
    group = Path(f"/proc/{children['control']}/autogroup")
    assert not group.exists() or group.read_text().endswith(" nice 10\n")


def test_children_end_with_a_killed_supervisor(tmp_path: Path) -> None:
    """A supervisor that is killed leaves nothing behind."""
    with serving(tmp_path) as service:
        pids = [*service.children().values()]
        service.stop(signal.SIGKILL)
        wait_until(lambda: not any(map(is_running, pids)))


def test_missing_secret_stops_the_start(tmp_path: Path) -> None:
    """A provider whose key is not in the environment is told before anything runs."""
    text = '[[providers]]\nname = "up"\nbase_url = "https://up.example/v1"\napi_key_env = "UP_KEY"\n'
    service = Service(tmp_path, text)
    done = service.run("serve")
    assert done.returncode == 1
    assert "providers[0].api_key_env: the environment has no UP_KEY" in done.stderr


def test_model_that_is_no_gguf_is_told(tmp_path: Path) -> None:
    """The engine says which file and what to do; the API serves all the same."""
    (tmp_path / "bad.gguf").write_bytes(b"not a model")
    service = Service(tmp_path, "[engine]\nmodel = 'bad.gguf'\n")
    done = service.run("serve", "--config", "none.toml")
    assert "none.toml: cannot be read" in done.stderr
    service.start()
    try:
        wait_until(lambda: "bad.gguf is no GGUF file; correct engine.model" in service.complained())
        assert service.chat()[0] == 503
    finally:
        service.stop()
