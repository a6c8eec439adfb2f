"""llama.cpp's own server with its metrics on, as an operator would run it: `llama.py PORT MODEL SLOTS`."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import xllamacpp
from service import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Llama:
    """One such process. `slots` are how many requests it works on at a time."""

    def __init__(self, model: Path, slots: int = 2) -> None:
        self.port = free_port()
        self._words = [sys.executable, __file__, str(self.port), str(model), str(slots)]
        self.process: subprocess.Popen[bytes]

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> Llama:
        self.process = subprocess.Popen(self._words, stderr=subprocess.DEVNULL)
        wait_until(lambda: self.read("/health") is not None, 30)
        return self

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def read(self, path: str) -> str | None:
        """Return what it answers; None where it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            return None

    @contextlib.contextmanager
    def generating(self) -> Iterator[None]:
        """Keep one request running, or waiting for a slot, that nobody else knows of."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        body = {"model": "tiny", "stream": True, "messages": [{"role": "user", "content": "go on"}], "n_predict": -1}
        body["logit_bias"] = {"0": -100, "2": -100}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        try:
            yield
        finally:
            connection.close()

    def count(self, name: str) -> int:
        """Return a number of its metrics."""
        text = self.read("/metrics") or ""
        return int(float(text.partition(f"\nllamacpp:{name} ")[2].partition("\n")[0]))


def _serve(port: str, model: str, slots: str) -> None:
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {"tiny"}
    params.hostnames = ["127.0.0.1"]
    params.port = int(port)
    params.n_parallel = int(slots)
    params.n_ctx = 2048 * int(slots)
    params.n_batch = params.n_ubatch = 512
    params.use_jinja = True
    params.warmup = False
    params.endpoint_metrics = True
    params.verbosity = -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    _alive = xllamacpp.Server(params)
    signal.pause()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
