"""How the engine is run, for those who start it. Imports nothing heavy: they stay small."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

BUILT_IN = Path(__file__).parent / "techstone-nano.gguf"
HEALTH_PATH = "/health"
# The options travel in the environment, since the key in them must not be seen in a list of processes.
VARIABLE = "TECHSTONE_ENGINE"


class EngineOptions(msgspec.Struct, frozen=True):
    """What to serve, where, and how much of it. `context` is in tokens, for each of `parallel` requests at a time.

    Where `parallel` and `threads` are None, the size of the model decides.
    """

    model: str
    port: int
    alias: str
    api_key: str
    host: str = "127.0.0.1"
    parallel: int | None = None
    context: int = 2048
    threads: int | None = None

    def __repr__(self) -> str:
        """Leave the key out."""
        return f"EngineOptions(model={self.model!r}, port={self.port}, alias={self.alias!r})"

    __str__ = __repr__


def name_model(path: str | Path) -> str:
    """Return the name under which a GGUF file is served: that of the file."""
    return Path(path).stem


def command(options: EngineOptions) -> tuple[list[str], dict[str, str]]:
    """Return the command line that runs the engine, and what it needs in its environment."""
    return [sys.executable, "-m", "techstone.engine"], {VARIABLE: msgspec.json.encode(options).decode()}
