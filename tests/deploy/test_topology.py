"""The composition without containers: its own files, as processes on the loopback, and a request through Caddy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import postgres
import pytest
from redis_server import serve_redis
from service import free_port, wait_until
from upstream import providing

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[2] / "deploy" / "compose"


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
        lines = (folder / "secrets" / "techstone.env").read_text().splitlines()
        given = dict(line.split("=", 1) for line in lines if line[0] != "#")
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **given}
        self.redis_password = given["REDIS_PASSWORD"]

    @contextlib.contextmanager
    def run(self, name: str, *words: str, until: str) -> Iterator[Path]:
        """Run a program until the end, from when it has written a word to its output."""
        out = self.folder / f"{name}.out"
        with out.open("wb") as file:
            process = subprocess.Popen(words, stdout=file, stderr=file, env=self.environment, cwd=self.folder)
        try:
            wait_until(lambda: until in out.read_text() or process.poll() is not None, 60)
            assert process.poll() is None, out.read_text()
            yield out
        finally:
            process.terminate()
            assert process.wait(60) == 0, out.read_text()

    def plane(self, name: str, *words: str) -> contextlib.AbstractContextManager[Path]:
        """Run one of ours, on a data folder of its own."""
        verb = name.partition("-")[0]
        where = ("--config", f"{verb}.toml", "--data", name)
        return self.run(name, self._program, verb, *where, *words, until="is serving")


@pytest.fixture
def house(installed: Path, tmp_path: Path) -> Iterator[House]:
    """Run all of it, in the order in which it depends on each other."""
    database = postgres.running()
    address = database.url(asyncio.run(database.create()))
    ports = {key: free_port() for key in ("control", "one", "two", "site", "plain", "redis")}
    with contextlib.ExitStack() as stack:
        url, _ = stack.enter_context(providing())
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
                f"[[providers]]\nname = 'up'\nbase_url = '{url}'\n[[models]]\nname = 'gpt-4o'\n"
                "routes = [{provider = 'up', model = 'up'}]\nprice = {input = '1', output = '2'}\n"
            )
        (tmp_path / "r").mkdir()
        words = ("--requirepass", here.redis_password, "--maxmemory-policy", "noeviction")
        server = stack.enter_context(serve_redis(tmp_path / "r", *words, password=here.redis_password))
        settings = (tmp_path / "gateway.toml").read_text().replace(f":{ports['redis']}", f":{server.port}")
        (tmp_path / "gateway.toml").write_text(settings)
        told = stack.enter_context(here.plane("control"))
        key = re.findall(r"ts_live_[A-Za-z0-9]{46}", told.read_text())[0]
        for gateway in ("one", "two"):
            stack.enter_context(here.plane(f"gateway-{gateway}", "--port", str(ports[gateway])))
        here.environment |= {
            "SITE": f"localhost:{ports['site']}",
            "GATEWAYS": f"127.0.0.1:{ports['one']} 127.0.0.1:{ports['two']}",
            "XDG_DATA_HOME": str(tmp_path / "caddy"),
            "XDG_CONFIG_HOME": str(tmp_path / "caddy"),
        }
        caddy = (shutil.which("caddy") or "caddy", "run", "--adapter", "caddyfile", "--config", "Caddyfile")
        stack.enter_context(here.run("caddy", *caddy, until="serving initial configuration"))
        authority = tmp_path / "caddy" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        wait_until(authority.exists, 20)
        yield House(f"https://localhost:{ports['site']}", authority, key, (ports["one"], ports["two"]))


class House(NamedTuple):
    """How clients reach it; `gateways` are their own ports, past Caddy."""

    site: str
    authority: Path
    key: str
    gateways: tuple[int, int]

    def ask(self, path: str, *words: str) -> str:
        """Return what curl prints."""
        command = ["curl", "-sS", "--retry", "5", "--noproxy", "*", "--cacert", str(self.authority)]
        return subprocess.run([*command, *words, self.site + path], check=True, capture_output=True, text=True).stdout

    def tally(self) -> list[int]:
        """Return how many answers with 200 each gateway gave, asked past Caddy as Prometheus asks."""
        counts = []
        for port in self.gateways:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                found = re.search(r'_responses_total\{status="200"\} ([0-9.]+)', answer.read().decode())
            counts.append(int(float(found[1])) if found else 0)
        return counts


def test_requests_through_caddy_are_answered(house: House) -> None:
    """TLS at Caddy, two gateways, limits in Redis, control on PostgreSQL: answers and pages, and no metrics outside."""
    body = '{"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}'
    head = ["-H", f"Authorization: Bearer {house.key}", "-H", "Content-Type: application/json"]
    for _ in range(4):
        answer = json.loads(house.ask("/v1/chat/completions", *head, "-d", body))
        assert answer["choices"][0]["message"]["content"] == "Hello."
    code = ["-o", "/dev/null", "-w", "%{http_code}"]
    codes = [house.ask(path, *code) for path in ("/docs", "/metrics", "/readyz")]
    assert codes == ["200", "404", "200"]
    counts = house.tally()
    print(f"answers of the gateways: {counts}")
    assert sum(counts) >= 4
