"""The planes apart, as on machines of their own: real processes with a data folder each, that meet over TCP alone."""

from __future__ import annotations

import re
import secrets
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from service import Service, free_port, wait_until

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "TECHSTONE_CONTROL_TOKEN"
_BASE = "[engine]\nenabled = false\n"


class Plane(Service):
    """One process of one plane. `verb` is `control` or `gateway`."""

    def __init__(self, folder: Path, verb: str, configuration: str, environment: dict[str, str]) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(folder, f"{_BASE}{configuration}", environment)
        self.verb = verb

    def start(self, *arguments: str) -> str:
        """Start, wait until it says that it serves, and return what it printed."""
        words = ["--port", str(self.port)] if self.verb == "gateway" else []
        command = [sys.executable, "-m", "techstone", self.verb, *words, *arguments]
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("ab") as err:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=out, stderr=err, env=self.environment)
        process = self.process
        wait_until(lambda: "is serving" in self.printed() or process.poll() is not None, 30)
        assert process.poll() is None, self.complained()
        if found := re.search(r"ts_live_[A-Za-z0-9]{46}", self.printed()):
            self.key = found[0]
        return self.printed()

    def kill_alone(self) -> None:
        """Kill the process, which has no children."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, if it still runs, and return the exit status."""
        if self.process is None:
            return 0
        return self.stop(number) if self.process.poll() is None else int(self.process.returncode)


class Planes:
    """Control planes and gateways with one token. `upstream` is a provider's URL.

    `catalog` is what is on offer, and `data` their [data], where that is to be something else.
    """

    def __init__(self, folder: Path, upstream: str = "", *, catalog: str | None = None, data: str = "") -> None:
        self.folder = folder
        self.token = secrets.token_hex(32)
        self._data = data
        self._catalog = catalog or (
            f"[[providers]]\nname = 'up'\nbase_url = '{upstream}'\n"
            "[[models]]\nname = 'gpt-4o'\ncontext_window = 4096\nmax_output_tokens = 1024\n"
            "routes = [{provider = 'up', model = 'up'}]\nprice = {input = '1', output = '2'}\n"
            "[plans.enterprise]\nrpm = 1000000\ntpm = 1000000000\nconcurrent = 1000\n"
        )
        self.running: list[Plane] = []

    def add_control(self, folder: str = "control", *, port: int | None = None, tls: str = "") -> Plane:
        """Return a control plane that is not started yet, its address in `port`."""
        port = port or free_port()
        text = f"{self._data}{self._catalog}[control]\nlisten = '127.0.0.1:{port}'\n{tls}"
        plane = Plane(self.folder / folder, "control", text, {TOKEN: self.token})
        plane.port = port
        self.running.append(plane)
        return plane

    def add_gateway(self, number: int, *controls: str, tls: str = "", extra: str = "") -> Plane:
        """Return a gateway that is not started yet; `controls` are URLs."""
        plane = Plane(
            self.folder / f"gateway-{number}",
            "gateway",
            f"{self._data}{extra}[control]\naddresses = {[*controls]}\n{tls}",
            {TOKEN: self.token},
        )
        self.running.append(plane)
        return plane

    def end(self) -> None:
        """End everything, gateways first."""
        for plane in sorted(self.running, key=lambda plane: plane.verb, reverse=True):
            plane.end()
