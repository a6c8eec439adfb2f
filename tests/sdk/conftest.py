"""What the tests of the SDK speak to: one service for all, a real process with keys of each kind; and a recorder."""

from __future__ import annotations

import http.server
import json
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from service import Service, serving
from upstream import providing

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = ("gpt-4o", "fail-500", "fail-503", "silent")
PRICE = '{ input = "2.5", output = "10" }'  # USD per million tokens: "Hello." costs 9 * 2.5 + 2 * 10 millionths
COST = "0.0000425"
OWNER = ("--account", "owner@localhost")


class Deployment:
    """A service, what its provider received, and keys."""

    def __init__(self, service: Service, received: list[dict[str, Any]]) -> None:
        self.service = service
        self.received = received
        self.key = service.key
        self.limited = service.ask("key", "create", *OWNER, "--models", "fail-500")["key"]
        self.slow = service.ask("key", "create", *OWNER, "--rpm", "1")["key"]
        self.admin = service.ask("key", "create", *OWNER, "--admin")["key"]

    @property
    def url(self) -> str:
        """The base URL."""
        return f"{self.service.url}/v1"


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with providing() as (url, received):
        text = f'[[providers]]\nname = "up"\nbase_url = "{url}"\n' + "".join(
            f'[[models]]\nname = "{name}"\nroutes = [{{ provider = "up", model = "{name}" }}]\nprice = {PRICE}\n'
            for name in MODELS
        )
        with serving(tmp_path_factory.mktemp("sdk"), text) as service:
            yield Deployment(service, received)


class Received(NamedTuple):
    """A request as it came, and when by the monotonic clock."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float


class Recorder:
    """A server that answers what it is told, one after the other, the last one ever after, and remembers requests."""

    def __init__(self) -> None:
        self.url = ""
        self.received: list[Received] = []
        self.answers: list[tuple[int, dict[str, str], Any]] = []

    def answer(self, body: Any, status: int = 200, **headers: str) -> None:  # noqa: ANN401 - any JSON
        """Add an answer; `retry_after` is the header Retry-After."""
        self.answers.append((status, {name.replace("_", "-"): value for name, value in headers.items()}, body))


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            recorder.received.append(Received(self.command, self.path, headers, body, time.monotonic()))
            status, extra, answer = recorder.answers.pop(0) if len(recorder.answers) > 1 else recorder.answers[0]
            data = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **extra}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_PATCH = do_POST = do_GET  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
        thread.start()
        recorder.url = f"http://127.0.0.1:{server.server_port}"
        yield recorder
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no variable of the machine decide what a client does."""
    for name in ("TECHSTONE_API_KEY", "TECHSTONE_ADMIN_KEY", "TECHSTONE_BASE_URL", "API_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS"):
        monkeypatch.delenv(name, raising=False)
