"""`make nano`: trains, writes the file that the product ships, asks it the evaluation, measures it, writes the card.

python build.py [--run FOLDER] [--steps N] [--below]: a run that was stopped goes on, and one that is over is not
trained again, unless what it learns from has changed. A file below a bound is not shipped, but with --below.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import card
import speed
from asking import Server
from evaluate import evaluate
from export import export
from train import STEPS, train

ROOT = Path(__file__).resolve().parents[2]
GGUF = ROOT / "src" / "techstone" / "engine" / "techstone-nano.gguf"
_START_SECONDS = 60.0


@contextlib.contextmanager
def serving() -> Iterator[tuple[Server, int, float]]:
    """Run `techstone serve` as a fresh clone does; yield it, its process id and the seconds to its first answer."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "out").open("w+") as out:
        began = time.monotonic()
        command = [str(ROOT / ".venv" / "bin" / "techstone"), "serve", "--port", str(port), "--data", f"{folder}/data"]
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out)  # noqa: S603 - our own program
        try:
            while not (found := re.search(r"ts_live_\w+", Path(out.name).read_text())):
                if process.poll() is not None or time.monotonic() - began > _START_SECONDS:
                    raise SystemExit(f"`{' '.join(command)}` did not start:\n{Path(out.name).read_text()}")
                time.sleep(0.02)
            server = Server(f"http://127.0.0.1:{port}/v1", found[0])
            server.ask([("user", "Hello")])
            yield server, process.pid, time.monotonic() - began
        finally:
            process.terminate()
            process.wait()


def weigh_engine(parent: int) -> int:
    """Return the resident bytes of the engine's process below another one."""
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            text = status.read_text()
            words = (status.parent / "cmdline").read_text().split("\0")
            if f"PPid:\t{parent}\n" in text and "techstone.engine" in words:
                return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024  # type: ignore[index]
    raise SystemExit("the engine's process was not found: its memory is not known")


@contextlib.contextmanager
def replacing(file: Path, new: Path) -> Iterator[None]:
    """Put a new file in the place of another; whatever is raised, the old one comes back."""
    old = new.with_suffix(".before")
    shutil.copyfile(file, old)
    try:
        shutil.copyfile(new, file)
        yield
    except BaseException:  # whatever it was, and Ctrl-C: what is shipped is a good file
        shutil.copyfile(old, file)
        raise


def main() -> None:
    """Build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=ROOT / "build" / "nano")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--below", action="store_true", help="ship it though a bound is missed")
    arguments = parser.parse_args()
    train(arguments.run, arguments.steps)
    made = arguments.run / GGUF.name
    export(arguments.run, made)
    facts = json.loads((arguments.run / "run.json").read_text("utf-8"))
    with replacing(GGUF, made):
        with serving() as (server, pid, started):
            paces = speed.measure(server)
            found = evaluate(server)
            measured = card.Measured(paces, started, weigh_engine(pid), made.stat().st_size, facts["seconds"])
        print(found)
        missed = [*([] if found.good else ["a bound of the evaluation"]), *measured.missed]
        if missed and not arguments.below:
            raise SystemExit(f"missed: {'; '.join(missed)}. The file is {made}, and is not shipped.")
        card.write(facts, found, measured)


if __name__ == "__main__":
    main()
