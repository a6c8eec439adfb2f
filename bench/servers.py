"""The servers that are compared, each as a real process on the core under test; and the upstreams behind them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

COMPLETION = (
    '{"id":"chatcmpl-1","object":"chat.completion","created":1719000000,"model":"gpt-4o","choices":[{"index":0,"message":'
    '{"role":"assistant","content":"Hello! How can I help you today?","refusal":null},"logprobs":null,'
    '"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}'
)

_NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000; client_body_buffer_size 64k;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  {body}
}}
"""
_FIXED = "server {{ listen 127.0.0.1:{port}; default_type application/json; location / {{ return 200 '{answer}'; }} }}"
_PROXY = """
  upstream behind {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering {buffering};
    }}
  }}
"""


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A running server: where, under which key, and its process tree."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    folder: Path
    key: str = "none"
    claim: str = ""
    notes: dict[str, float] = field(default_factory=dict)
    pid: int | None = None  # where only a part of the tree counts

    def tree(self) -> list[int]:
        """Return the ids of the process and all below it."""
        found = [self.pid or self.process.pid]
        for pid in found:
            with contextlib.suppress(OSError):
                found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found

    def cpu_seconds(self) -> float:
        """Return the CPU time that the tree has used, as the kernel accounts it."""
        total = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def gateway(self) -> Server:
        """Return the process in the tree that serves the API, as a server of its own."""
        for pid in self.gateways():
            return replace(self, pid=pid)
        raise RuntimeError(f"{self.name} has no gateway")

    def gateways(self) -> list[int]:
        """Return the ids of the processes in the tree that serve the API."""
        return [pid for pid in self.tree() if "\0gateway\0" in Path(f"/proc/{pid}/cmdline").read_text()]

    def planes(self) -> dict[str, float]:
        """Return the CPU time of the gateways together, and of the control plane, in seconds."""
        found = dict.fromkeys(("gateway", "control"), 0.0)
        for pid in self.tree():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_text()
                for plane in found:
                    if f"\0{plane}\0" in words:
                        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                        found[plane] += (int(fields[11]) + int(fields[12])) / TICKS
        return found

    def resident(self, *, largest: bool = False) -> int:
        """Return the tree's resident memory in bytes, or that of the process which serves the API."""
        sizes = []
        for pid in self.tree():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_text()
                if not largest or "\0gateway\0" in words:
                    sizes.append(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
        return sum(sizes)

    def gauge(self, name: str) -> float:
        """Return a gauge of ours."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            found = re.search(rf"^{name} (\S+)$", answer.read().decode(), re.MULTILINE)
        return float(found[1]) if found else 0.0

    def count_booked(self) -> int:
        """Return how many requests the ledger has."""
        command = [sys.executable, "-m", "techstone", "usage", "--json"]
        done = subprocess.run(command, cwd=self.folder, check=True, capture_output=True)  # noqa: S603 - our own words
        return sum(row["requests"] for row in json.loads(done.stdout))

    def ask(self, *words: str) -> dict[str, str]:
        """Run a command of ours on the server's data and return what it prints."""
        command = [sys.executable, "-m", "techstone", *words, "--json"]
        done = subprocess.run(command, cwd=self.folder, check=True, capture_output=True)  # noqa: S603 - our own words
        return dict(json.loads(done.stdout))


def pin(core: int | str, command: list[str]) -> list[str]:
    """Return the command bound to one core, or to some ("0,1")."""
    return ["taskset", "-c", str(core), *command]


@contextlib.contextmanager
def running(
    command: list[str], folder: Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a folder; stop it with SIGTERM."""
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=err, env=environment)  # noqa: S603 - our own words
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def await_answer(url: str, process: subprocess.Popen[bytes], seconds: float = 60.0) -> float:
    """Wait until something answers there; return how long it took."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - our own loopback
        except urllib.error.HTTPError:
            return time.monotonic() - began
        except OSError:
            time.sleep(0.02)
        else:
            return time.monotonic() - began
    raise RuntimeError(f"nothing answers at {url}")


@contextlib.contextmanager
def nginx(folder: Path, core: int, body: str, port: int, name: str) -> Iterator[Server]:
    """Run nginx with a configuration."""
    folder.mkdir(parents=True)
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, body=body))
    program = shutil.which("nginx", path=SEARCH) or "nginx"
    with running(
        pin(core, [program, "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]), folder
    ) as process:
        await_answer(f"http://127.0.0.1:{port}/", process)
        yield Server(name, port, process, folder)


@contextlib.contextmanager
def fixed_upstream(folder: Path, core: int) -> Iterator[Server]:
    """Run nginx answering every request with one completion."""
    port = free_port()
    with nginx(folder, core, _FIXED.format(port=port, answer=COMPLETION), port, "upstream") as server:
        yield server


@contextlib.contextmanager
def sse_upstream(folder: Path, core: int) -> Iterator[Server]:
    """Run the upstream that streams 100 chunks, one every 2 ms."""
    folder.mkdir(parents=True)
    port = free_port()
    with running(pin(core, [sys.executable, str(HERE / "sse.py"), str(port)]), folder) as process:
        await_answer(f"http://127.0.0.1:{port}/", process)
        yield Server("sse", port, process, folder)


@contextlib.contextmanager
def floor(folder: Path, core: int, upstream: int, *, stream: bool) -> Iterator[Server]:
    """Run nginx as a reverse proxy: the floor, without auth and metering."""
    port = free_port()
    body = _PROXY.format(port=port, upstream=upstream, buffering="off" if stream else "on")
    with nginx(folder, core, body, port, "nginx proxy_pass") as server:
        yield server


@contextlib.contextmanager
def redis(folder: Path, core: int) -> Iterator[Server]:
    """Run Redis without a disk."""
    folder.mkdir(parents=True)
    port = free_port()
    program = shutil.which("redis-server", path=SEARCH) or "redis-server"
    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--maxmemory-policy", "noeviction"]
    with running(pin(core, [program, *words]), folder) as process:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None:
                raise RuntimeError(f"redis-server ended with {process.returncode}")
            time.sleep(0.02)
        yield Server("Redis", port, process, folder)


def configure(folder: Path, upstream: int, *, engine: bool = False, limits: str = "memory", workers: int = 1) -> None:
    """Write a configuration with a provider."""
    (folder / "techstone.toml").write_text(
        f'[server]\nworkers = {workers}\n[data]\nlimits = "{limits}"\n[engine]\nenabled = {str(engine).lower()}\n'
        # Limits that are decided for every request and never reached.
        + "".join(
            f"[plans.{name}]\nrpm = 1_000_000_000\ntpm = 2_000_000_000\nconcurrent = 100_000\n"
            for name in ("enterprise", "pro", "pay-as-you-go")
        )
        + f'[[providers]]\nname = "up"\nbase_url = "http://127.0.0.1:{upstream}/v1"\n'
        + "".join(
            f'[[models]]\nname = "{name}"\nroutes = [{{ provider = "up", model = "{name}" }}]\n'
            'price = { input = "2.50", output = "10.00", cached_input = "1.25" }\n'
            for name in ("gpt-4o", "idle")
        )
    )


@contextlib.contextmanager
def techstone(
    folder: Path, core: int | str, upstream: int, *, engine: bool = False, limits: str = "memory", workers: int = 1
) -> Iterator[Server]:
    """Run `techstone serve` with a provider: auth, limits, metering and access log as they come."""
    folder.mkdir(parents=True)
    configure(folder, upstream, engine=engine, limits=limits, workers=workers)
    port = free_port()
    command = [sys.executable, "-m", "techstone", "serve", "--port", str(port)]
    with running(pin(core, command), folder) as process:
        server = Server("TechStone", port, process, folder)
        server.notes["start"] = await_answer(f"http://127.0.0.1:{port}/readyz", process)
        while not (found := re.search(r"ts_live_[A-Za-z0-9]{46}", (folder / "out").read_text())):
            time.sleep(0.02)
        server.key = found[0]
        yield server


@contextlib.contextmanager
def seeded(folder: Path, cores: str, upstream: int, data: Path, account: str) -> Iterator[Server]:
    """Run `techstone serve` on books that are there, with a key and a claim of one of their accounts."""
    folder.mkdir(parents=True)
    configure(folder, upstream)
    port = free_port()
    command = [sys.executable, "-m", "techstone"]
    with running(pin(cores, [*command, "serve", "--port", str(port), "--data", str(data)]), folder) as process:
        server = Server("TechStone", port, process, folder)
        await_answer(f"http://127.0.0.1:{port}/readyz", process, 300)

        def ask(*words: str) -> dict[str, str]:
            done = subprocess.run(  # noqa: S603 - our own words
                [*command, *words, "--data", str(data), "--json"], cwd=folder, check=True, capture_output=True
            )
            return dict(json.loads(done.stdout))

        server.key = ask("key", "create", "--account", account, "--name", "bench")["key"]
        server.claim = ask("account", "claim", account)["path"]
        yield server


@contextlib.contextmanager
def litellm(folder: Path, core: int, upstream: int, program: str) -> Iterator[Server]:
    """Run LiteLLM's proxy from the virtual environment that LITELLM_VENV points to."""
    folder.mkdir(parents=True)
    port = free_port()
    (folder / "config.yaml").write_text(
        "model_list:\n  - model_name: gpt-4o\n    litellm_params:\n      model: openai/gpt-4o\n      api_key: none\n"
        f"      api_base: http://127.0.0.1:{upstream}/v1\ngeneral_settings:\n  master_key: sk-bench\n"
    )
    command = [program, "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with running(pin(core, command), folder, environment) as process:
        await_answer(f"http://127.0.0.1:{port}/health/liveliness", process)
        yield Server("LiteLLM", port, process, folder, key="sk-bench")
