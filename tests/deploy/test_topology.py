"""The composition without containers: its own files, as processes on the loopback, and a request through Caddy."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import postgres
import pytest
from redis_server import serve_redis
from service import free_port, wait_until
from upstream import providing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER = Path(__file__).parents[2] / "deploy" / "compose"


class _Slow(http.server.BaseHTTPRequestHandler):
    """A provider that begins a stream, or no answer at all, and goes on only when it is told to."""

    protocol_version = "HTTP/1.1"
    # Of the one request that it has at a time: it came, it may go on, and whoever asked hung up.
    came, go_on, left = threading.Event(), threading.Event(), threading.Event()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body.get("stream"):
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self._say({"role": "assistant", "content": "first"})
        self.came.set()
        if body["model"] == "stepwise":
            assert self.go_on.wait(30)
            self._say({"content": "second"}, "stop")
            self.wfile.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        else:
            self.rfile.read(1)
            self.left.set()
            self.close_connection = True

    def _say(self, delta: dict[str, str], end: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": end}
        chunk = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "up",
            "choices": [choice],
        }
        event = f"data: {json.dumps(chunk)}\n\n".encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@contextlib.contextmanager
def _providing_slowly() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Slow) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


class Composed:
    """Its files under `folder`, with the addresses of this machine, and what runs by them."""

    def __init__(self, folder: Path, installed: Path, changes: dict[str, str]) -> None:
        self.folder = folder
        self._program = str(installed / "bin" / "techstone")
        for name in ("Caddyfile", "control.toml", "gateway.toml", "make-secrets.sh"):
            text = (FOLDER / name).read_text()
            for old, new in changes.items():
                text = text.replace(old, new)
            (folder / name).write_text(text)
        subprocess.run(["sh", folder / "make-secrets.sh"], check=True, capture_output=True)
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        self.given = {plane: self._read(folder / "secrets" / f"{plane}.env") for plane in ("control", "gateway")}

    @staticmethod
    def _read(path: Path) -> dict[str, str]:
        return dict(line.split("=", 1) for line in path.read_text().splitlines() if line[0] != "#")

    @contextlib.contextmanager
    def run(self, name: str, *words: str, until: str, given: Mapping[str, str]) -> Iterator[Path]:
        """Run a program until the end, from when it has written a word to its output; its environment has `given`."""
        out = self.folder / f"{name}.out"
        with out.open("wb") as file:
            environment = {**self.environment, **given}
            process = subprocess.Popen(words, stdout=file, stderr=file, env=environment, cwd=self.folder)
        try:
            wait_until(lambda: until in out.read_text() or process.poll() is not None, 60)
            assert process.poll() is None, out.read_text()
            yield out
        finally:
            process.terminate()
            assert process.wait(60) == 0, out.read_text()

    def plane(self, name: str, *words: str) -> contextlib.AbstractContextManager[Path]:
        """Run one of ours, on a data folder of its own, by the secrets of its plane alone."""
        verb = name.partition("-")[0]
        where = ("--config", f"{verb}.toml", "--data", name)
        return self.run(name, self._program, verb, *where, *words, until="is serving", given=self.given[verb])


@pytest.fixture(scope="module")
def house(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Run all of it, in the order in which it depends on each other."""
    tmp_path = tmp_path_factory.mktemp("house")
    database = postgres.running()
    address = database.url(asyncio.run(database.create()))
    ports = {key: free_port() for key in ("control", "one", "two", "site", "plain", "redis")}
    with contextlib.ExitStack() as stack:
        keys: list[str | None] = []
        url, _ = stack.enter_context(providing(keys))
        slow = stack.enter_context(_providing_slowly())
        changes = {
            '"postgresql://techstone@postgres/techstone?sslmode=disable"': f'"{address}"',
            "0.0.0.0:8100": f"127.0.0.1:{ports['control']}",
            "https://control:8100": f"https://localhost:{ports['control']}",
            'host = "0.0.0.0"': 'host = "127.0.0.1"',
            "172.31.250.2": "127.0.0.1",
            "/run/secrets": str(tmp_path / "secrets"),
            "skip_install_trust": "skip_install_trust\n\tadmin off\n\tdefault_bind 127.0.0.1\n"
            f"\thttp_port {ports['plain']}",
            "valkey:6379": f"127.0.0.1:{ports['redis']}",
        }
        here = Composed(tmp_path, installed, changes)
        with (tmp_path / "control.toml").open("a") as file:
            file.write(
                f"[[providers]]\nname = 'up'\nbase_url = '{url}'\napi_key_env = 'UP_KEY'\n[[models]]\nname = 'gpt-4o'\n"
                "routes = [{provider = 'up', model = 'up'}]\nprice = {input = '1', output = '2'}\n"
                f"[[providers]]\nname = 'slow'\nbase_url = '{slow}'\n"
            )
            for model in ("stepwise", "silent"):
                file.write(
                    f"[[models]]\nname = '{model}'\nroutes = [{{provider = 'slow', model = '{model}'}}]\n"
                    "price = {input = '1', output = '2'}\n"
                )
        here.given["control"]["UP_KEY"] = "set"
        here.given["gateway"]["UP_KEY"] = "sk-up"
        (tmp_path / "r").mkdir()
        password = here.given["gateway"]["REDIS_PASSWORD"]
        words = ("--requirepass", password, "--maxmemory-policy", "noeviction")
        server = stack.enter_context(serve_redis(tmp_path / "r", *words, password=password))
        settings = (tmp_path / "gateway.toml").read_text().replace(f":{ports['redis']}", f":{server.port}")
        (tmp_path / "gateway.toml").write_text(settings)
        told = stack.enter_context(here.plane("control"))
        key = re.findall(r"ts_live_[A-Za-z0-9]{46}", told.read_text())[0]
        for gateway in ("one", "two"):
            stack.enter_context(here.plane(f"gateway-{gateway}", "--port", str(ports[gateway])))
        given = {
            "SITE": f"localhost:{ports['site']}",
            "GATEWAYS": f"127.0.0.1:{ports['one']} 127.0.0.1:{ports['two']}",
            "XDG_DATA_HOME": str(tmp_path / "caddy"),
            "XDG_CONFIG_HOME": str(tmp_path / "caddy"),
        }
        caddy = (shutil.which("caddy") or "caddy", "run", "--adapter", "caddyfile", "--config", "Caddyfile")
        stack.enter_context(here.run("caddy", *caddy, until="serving initial configuration", given=given))
        authority = tmp_path / "caddy" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        wait_until(authority.exists, 20)
        yield House(f"https://localhost:{ports['site']}", authority, key, (ports["one"], ports["two"]), keys)


class House(NamedTuple):
    """How clients reach it; `gateways` are their own ports, past Caddy; `keys` are what the provider was shown."""

    site: str
    authority: Path
    key: str
    gateways: tuple[int, int]
    keys: list[str | None]

    def ask(self, path: str, *words: str) -> str:
        """Return what curl prints."""
        command = self._curl("--retry", "5", *words, self.site + path)
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    @contextlib.contextmanager
    def chat(self, *words: str, **body: object) -> Iterator[subprocess.Popen[str]]:
        """Run a curl that asks for an answer and prints each line as it comes; at the end it is killed."""
        wanted = json.dumps({"messages": [{"role": "user", "content": "hi"}], **body})
        head = ("-H", f"Authorization: Bearer {self.key}", "-H", "Content-Type: application/json")
        command = self._curl("-N", *words, *head, "-d", wanted, self.site + "/v1/chat/completions")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
            try:
                yield client
            finally:
                client.kill()

    def _curl(self, *words: str) -> list[str]:
        return ["curl", "-sS", "--noproxy", "*", "--cacert", str(self.authority), *words]

    def tally(self) -> list[int]:
        """Return how many answers with 200 each gateway gave, asked past Caddy as Prometheus asks."""
        counts = []
        for port in self.gateways:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                found = re.search(r'_responses_total\{status="200"\} ([0-9.]+)', answer.read().decode())
            counts.append(int(float(found[1])) if found else 0)
        return counts


def test_requests_through_caddy_are_answered(house: House) -> None:
    """TLS at Caddy, two gateways, limits in Redis, control on PostgreSQL: answers and pages, and no metrics outside.

    Each plane has its own secrets; of the provider's key the control plane knows only that it is there.
    """
    body = '{"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}'
    head = ["-H", f"Authorization: Bearer {house.key}", "-H", "Content-Type: application/json"]
    for _ in range(4):
        answer = json.loads(house.ask("/v1/chat/completions", *head, "-d", body))
        assert answer["choices"][0]["message"]["content"] == "Hello."
    assert house.keys == ["Bearer sk-up"] * 4
    code = ["-o", "/dev/null", "-w", "%{http_code}"]
    codes = [house.ask(path, *code) for path in ("/docs", "/metrics", "/readyz")]
    assert codes == ["200", "404", "200"]
    counts = house.tally()
    print(f"answers of the gateways: {counts}")
    assert sum(counts) >= 4


@pytest.fixture
def slow() -> type[_Slow]:
    """Return the slow provider, which nobody has asked yet."""
    for event in (_Slow.came, _Slow.go_on, _Slow.left):
        event.clear()
    return _Slow


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_provider_hears_through_caddy_that_the_client_has_left(
    house: House, slow: type[_Slow], protocol: str, *, stream: bool
) -> None:
    """Before an answer and amid a stream that says nothing: else it would work on, for nobody, and be paid."""
    with house.chat(protocol, model="silent", stream=stream) as client:
        assert slow.came.wait(20)
        if stream:
            assert client.stdout
            assert "first" in client.stdout.readline()
        assert not slow.left.is_set()
    assert slow.left.wait(2)


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
def test_chunks_come_through_caddy_at_once(house: House, slow: type[_Slow], protocol: str) -> None:
    """The provider says its second word only when the client has the first."""
    with house.chat(protocol, model="stepwise", stream=True) as client:
        assert client.stdout
        assert "first" in client.stdout.readline()
        slow.go_on.set()
        rest = client.stdout.read()
        assert "second" in rest
        assert rest.rstrip().endswith("data: [DONE]")
        assert client.wait(20) == 0
