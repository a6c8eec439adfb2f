"""`techstone serve` as a real process on a folder of its own, with a model of random weights."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haste import within
from tiny_model import write_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What the machine's own environment must not decide.
_ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.endswith("_API_KEY") and name not in {"CONFIG", "DATA"}
}


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(true: Callable[[], bool], seconds: float = 10.0, pause: float = 0.01) -> float:
    """Wait until something is true, for so long on a quiet machine; return how long it took."""
    began, seconds = time.monotonic(), within(seconds)
    while not true():
        assert time.monotonic() - began < seconds, "it did not come true in time"
        time.sleep(pause)
    return time.monotonic() - began


class Service:
    """One installation: its folder, its process, its first key. `house`: over how many gateways it is spread."""

    house = 0

    def __init__(self, folder: Path, configuration: str = "", environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.environment = _ENVIRONMENT | (environment or {})
        self.key = ""
        self.started_in = 0.0
        self.process: subprocess.Popen[bytes] | None = None
        model = folder / "tiny.gguf"
        if not model.exists():
            write_model(model)
        text = configuration if "[engine]" in configuration else f"{configuration}\n[engine]\nmodel = 'tiny.gguf'\n"
        (folder / "techstone.toml").write_text(text)

    def start(self, *arguments: str) -> str:
        """Start, wait until it says how to use it, and return what it printed."""
        command = [sys.executable, "-m", "techstone", "serve", "--port", str(self.port), *arguments]
        began = time.monotonic()
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("ab") as err:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=out, stderr=err, env=self.environment)
        wait_until(
            lambda: "is serving" in self.printed() or self.process is None or self.process.poll() is not None, 30
        )
        self.started_in = time.monotonic() - began
        assert self.process.poll() is None, self.complained()
        time.sleep(0.05)  # the key may be printed a moment after that line
        if found := re.search(r"ts_live_[A-Za-z0-9]{46}", self.printed()):
            self.key = found[0]
        return self.printed()

    def printed(self) -> str:
        return (self.folder / "out").read_text()

    def complained(self) -> str:
        return (self.folder / "err").read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 60) -> int:
        """Send a signal and return the exit status."""
        if self.process is None:
            return 0
        self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def kill(self, child: str | None = None) -> None:
        """Kill one process, or all at once."""
        assert self.process is not None
        children = self.children()
        everybody = [*children.values(), self.process.pid] if child is None else [children[child]]
        for pid in everybody:
            os.kill(pid, signal.SIGKILL)
        if child is None:
            self.process.wait(10)
        wait_until(lambda: not any(map(is_running, everybody)))

    def strike(self, number: int) -> None:
        """Kill the gateway, and every other time everything (which also ends the supervisor's growing patience)."""
        if number % 2 == 0:
            self.kill("gateway")
        else:
            self.kill()
            self.start()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ours on this installation."""
        command = [sys.executable, "-m", "techstone", *arguments]
        return subprocess.run(
            command, cwd=self.folder, check=False, capture_output=True, text=True, env=self.environment, timeout=120
        )

    def ask(self, *arguments: str) -> Any:  # noqa: ANN401 - whatever JSON the command prints
        """Run a command with --json and return what it prints."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, key: str | None = None) -> tuple[int, str, dict[str, str]]:
        """Return status, body and headers."""
        return self._send(urllib.request.Request(self.url + path), key)

    def chat(self, body: dict[str, object] | None = None, key: str | None = None) -> tuple[int, Any, dict[str, str]]:
        """Send a chat request; return status, decoded body and headers."""
        wanted = {"model": "gpt-4o", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}], **(body or {})}
        request = urllib.request.Request(
            self.url + "/v1/chat/completions", json.dumps(wanted).encode(), {"Content-Type": "application/json"}
        )
        status, text, headers = self._send(request, key or self.key)
        return status, text if wanted.get("stream") else json.loads(text), headers

    @staticmethod
    def _send(request: urllib.request.Request, key: str | None) -> tuple[int, str, dict[str, str]]:
        if key:
            request.add_header("Authorization", f"Bearer {key}")
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read().decode(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(), dict(error.headers)

    def gauge(self, name: str) -> float:
        """Return a gauge of /metrics."""
        found = re.search(rf"^{name} (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        assert found is not None, name
        return float(found[1])

    def children(self) -> dict[str, int]:
        """Return the process ids of the supervisor's children by what they are."""
        assert self.process is not None
        found = {}
        for name in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            words = Path(f"/proc/{name}/cmdline").read_text().split("\0")
            if "-m" in words:
                module = words[words.index("-m") + 1]
                verb = "engine" if module.endswith("engine") else words[words.index("-m") + 2]
                worker = f"-{words[words.index('--worker') + 1]}" if "--worker" in words else ""
                found[verb + worker] = int(name)
        return found


def is_running(pid: int) -> bool:
    """Say whether a process lives (a zombie does not)."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@contextlib.contextmanager
def serving(
    folder: Path, configuration: str = "", environment: dict[str, str] | None = None, port: int | None = None
) -> Iterator[Service]:
    """Run an installation for a while, on a port that was chosen before where it must be known elsewhere."""
    service = Service(folder, configuration, environment)
    service.port = port or service.port
    service.start()
    try:
        yield service
    finally:
        if service.process is not None and service.process.poll() is None:
            service.stop()
    assert service.ask("ledger", "check") == [], "the books are in order after every test"
