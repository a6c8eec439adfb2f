"""A cloud on hosts of its own (`hosts.py`): control plane, gateways, provider, and Redis and PostgreSQL where wanted.

The test itself stands in the host `client`. Everything is a real process in the namespace of its host.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hosts import networking
from oracle import oracle
from planes import TOKEN, Plane
from postgres import Server
from redis_server import RedisServer
from service import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hosts import Host, Network

_CATALOG = """
[[providers]]
name = "up"
base_url = "%s"
[[models]]
name = "m"
context_window = 4096
max_output_tokens = 100
price = {input = "2", output = "10"}
routes = [{provider = "up", model = "x"}]
[plans.enterprise]
rpm = 1000000
tpm = 1000000000
concurrent = 1000
[plans.small]
rpm = 60
tpm = 1000000000
concurrent = 2
billing = "postpaid"
[plans.sixty]
rpm = 60
tpm = 1000000000
concurrent = 1000
billing = "postpaid"
"""
_PORT = 8100


class Machine(Plane):
    """A plane on a host of its own."""

    def __init__(self, host: Host, folder: Path, verb: str, configuration: str, environment: dict[str, str]) -> None:
        super().__init__(folder, verb, configuration, environment)
        self.host = host

    @property
    def url(self) -> str:
        """Where clients of it reach it."""
        return f"http://{self.host.address}:{self.port}"

    def start(self, *arguments: str) -> str:
        """Start in its host; return what it printed."""
        with self.host.inside():
            return super().start("--insecure-http", *arguments)

    def begin(self) -> None:
        """Start, and do not wait."""
        words = ["--port", str(self.port)] if self.verb == "gateway" else []
        command = [sys.executable, "-m", "techstone", self.verb, *words, "--insecure-http"]
        with self.host.inside(), (self.folder / "out").open("wb") as out, (self.folder / "err").open("ab") as err:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=out, stderr=err, env=self.environment)

    def hang(self) -> None:
        """Stop it as if it hung."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def chat_status(self, key: str, **wanted: object) -> int:
        """Return the status of a small chat request."""
        return self.chat({"model": "m", **wanted}, key)[0]

    def readiness(self) -> dict[str, object]:
        """Return what /readyz says, with its status as `http`."""
        status, text, _ = self.get("/readyz")
        found: dict[str, object] = json.loads(text)
        return {**found, "http": status}


class Cloud:
    """All of it. `log` is the oracle's; `key` is the operator's own first key, without limits."""

    def __init__(self, network: Network, folder: Path, url: str, log: Path) -> None:
        self.folder = folder
        self.log = log
        self._network = network
        self._token = secrets.token_hex(32)
        self._catalog = _CATALOG % url
        self.redis_host = network.add("redis")
        self.database_host = network.add("database")
        self.control_host = network.add("control")
        self.redis: RedisServer | None = None
        self.server: Server | None = None
        self.control: Machine
        self.gateways: list[Machine] = []
        self.key = ""

    def add_redis(self, environment: dict[str, str] | None = None) -> RedisServer:
        """Start Redis; the gateways that are added afterwards share it."""
        folder = self.folder / "redis"
        folder.mkdir()
        words = ("--bind", "0.0.0.0", "--protected-mode", "no")
        self.redis = RedisServer(folder, *words, environment=environment)
        self.start_redis()
        return self.redis

    def start_redis(self) -> None:
        """Start it in its host, again."""
        assert self.redis is not None
        with self.redis_host.inside():
            self.redis.start()

    def add_postgres(self, inside: Path | None = None) -> Server:
        """Make a PostgreSQL server, with its data in a folder; it is the database of the control plane made later."""
        self.server = Server("listen_addresses=*", inside=inside, trust=f"{self.database_host.address}/24")
        self.start_postgres()
        return self.server

    def start_postgres(self) -> None:
        """Start it in its host, again."""
        assert self.server is not None
        with self.database_host.inside():
            self.server.start()

    def add_control(self, name: str = "postgres", extra: str = "") -> None:
        """Start the control plane; `name` is the database on the server, where there is one."""
        data = ""
        if self.server is not None:
            host = self.database_host.address
            data = f"[data]\ndatabase = 'postgresql://techstone@{host}:{self.server.port}/{name}?sslmode=disable'\n"
        section = f"[control]\nlisten = '{self.control_host.address}:{_PORT}'\n{extra}"
        text = f"{data}{self._catalog}{section}"
        self.control = Machine(self.control_host, self.folder / "control", "control", text, {TOKEN: self._token})
        self.control.start()
        self.key = self.control.key

    def add_gateway(self, extra: str = "", environment: dict[str, str] | None = None) -> Machine:
        """Start a gateway on a new host; `extra` is added to its section [control]."""
        number = len(self.gateways)
        host = self._network.add(f"gateway-{number}")
        limits = ""
        if self.redis is not None:
            limits = f"[data]\nlimits = 'redis://{self.redis_host.address}:{self.redis.port}'\n"
        text = (
            f"{limits}[server]\nhost = '0.0.0.0'\ndrain = 1\n"
            f"[control]\naddresses = ['http://{self.control_host.address}:{_PORT}']\n{extra}"
        )
        surroundings = {TOKEN: self._token, **(environment or {})}
        gateway = Machine(host, self.folder / f"gateway-{number}", "gateway", text, surroundings)
        gateway.start()
        gateway.key = self.key
        self.gateways.append(gateway)
        return gateway

    def settle(self) -> None:
        """Wait until all gateways see each other in Redis, none is degraded, and each knows its part without Redis."""
        wait_until(
            lambda: all(
                gateway.gauge("techstone_limits_gateways") == len(self.gateways)
                and (gateway.folder / "data" / "gateways").exists()
                and gateway.gauge("techstone_limits_degraded") == 0
                for gateway in self.gateways
            ),
            20,
        )

    def open_account(self, plan: str) -> tuple[str, str]:
        """Return a new account's address and key, once every gateway knows it."""
        email = f"{secrets.token_hex(4)}@example.com"
        self.control.ask("account", "create", email, "--plan", plan)
        return email, self.make_key(email)

    def make_key(self, email: str) -> str:
        """Return a new key, once every gateway knows it."""
        made = self.control.ask("key", "create", "--account", email)
        for gateway in self.gateways:
            wait_until(lambda gateway=gateway: gateway.get("/v1/models", made["key"])[0] == 200, 5, 0.05)  # type: ignore[misc] # bound now
        return str(made["key"])

    def end(self) -> None:
        """End everything, gateways first."""
        for machine in (*self.gateways, self.control):
            with contextlib.suppress(ProcessLookupError):
                machine.go_on()
            machine.end()
        if self.redis is not None:
            with contextlib.suppress(ProcessLookupError):
                self.redis.kill()
        if self.server is not None:
            self.server.remove()


def list_booked(cloud: Cloud, email: str | None = None) -> list[dict[str, object]]:
    """Return the requests that the ledger has, once every gateway says that it has shipped all."""
    for gateway in cloud.gateways:
        if gateway.process is not None and gateway.process.poll() is None:
            wait_until(lambda gateway=gateway: gateway.gauge("techstone_journal_waiting_bytes") == 0, 20, 0.1)  # type: ignore[misc] # bound now
    words = () if email is None else ("--account", email)
    return list(cloud.control.ask("usage", "--requests", "--since", "2d", *words))


@contextlib.contextmanager
def clouding() -> Iterator[Cloud]:
    """Give a cloud that has no processes yet; this thread stands in the host `client` meanwhile."""
    with networking() as network, tempfile.TemporaryDirectory(prefix="techstone-cloud-") as name:
        folder = Path(name)
        client, provider = network.add("client"), network.add("provider")
        with client.inside():
            with provider.inside():
                upstream = oracle(folder, provider.address)
                url, log = upstream.__enter__()
            cloud = Cloud(network, folder, url, log)
            try:
                yield cloud
            finally:
                cloud.end()
                upstream.__exit__(None, None, None)


def fill(file: Path) -> None:
    """Write to a file until its disk is full."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as out:
        while True:
            out.write(bytes(4096))


def find_library() -> str:
    """Return libfaketime's path."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    assert found, "libfaketime is not installed: apt-get install faketime"
    return str(found[0])


def count_in_any_minute(times: list[float]) -> int:
    """Return the most of them that any 60 s hold."""
    times, most, first = sorted(times), 0, 0
    for last, at in enumerate(times):
        while times[first] <= at - 60:
            first += 1
        most = max(most, last - first + 1)
    return most
