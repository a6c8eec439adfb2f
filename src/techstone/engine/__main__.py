"""The engine's process: `python -m techstone.engine`, with its options in the environment."""

from __future__ import annotations

import os
import sys

import msgspec

from techstone.engine.options import VARIABLE, EngineOptions
from techstone.engine.server import EngineError, serve


def main() -> int:
    """Serve until SIGTERM; return the exit status."""
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        print(f"engine: {VARIABLE} is not set; `techstone serve` starts the engine", file=sys.stderr)  # noqa: T201 - the operator's terminal
        return 2
    try:
        serve(msgspec.json.decode(text, type=EngineOptions))
    except EngineError as error:
        print(f"engine: {error}", file=sys.stderr)  # noqa: T201 - the same
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
