"""Installs the service into a folder of its own from `uv.lock`: what the image and a machine under systemd have.

Standard library only, as `setup.py`. Everything comes by the hashes of the lock, also what builds the wheel; the folder
does not need this repository afterwards, but stays where it is and on the python3 that ran this.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from setup import ROOT, SetupError, fetch_uv

# llama.cpp and the model that comes with it: 112 MB, which gateways of providers' models do not need.
_ENGINE = "xllamacpp"
_MODELS = "lib/python*/site-packages/techstone/engine/*.gguf"
# Litestar names it for made-up examples in schemas, which we do not have, and loads it only then: 16 MB.
_UNUSED = ("faker", "polyfactory")
# Loads all that the service can load, so that it is there compiled where the service may not write. Compiling every
# package whole takes 79 MB, this 27. Migrations run under Alembic alone; what is loaded late is named.
_LOAD = """
import importlib, pkgutil, sys, techstone
for module in pkgutil.walk_packages(techstone.__path__, "techstone."):
    if ".migrations" not in module.name and not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name != "xllamacpp" or "engine" in sys.argv:
                raise
import authlib.jose, fpdf, genai_prices, stripe
"""


def install(prefix: Path, *, engine: bool, strip: bool = False) -> None:
    """Bring a folder to what the lock says; `strip` takes out what only debuggers read. Raise SetupError."""
    uv = fetch_uv(tomllib.loads((ROOT / "uv.lock").read_text()))
    left_out = [word for name in (*_UNUSED, *(() if engine else (_ENGINE,))) for word in ("--no-install-package", name)]
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        tools = scratch / "tools"
        _run(uv, tools, "sync", "--frozen", "--only-group", "build", *_COPY)
        wheel = ("build", "--wheel", "--no-build-isolation", "--python", str(tools), "--out-dir", folder)
        _run(uv, tools, *wheel)
        _run(uv, prefix, "sync", "--frozen", "--no-default-groups", "--no-install-project", *_COPY, *left_out)
        found = next(scratch.glob("*.whl"))
        _run(uv, prefix, "pip", "install", "--offline", "--no-deps", "--python", str(prefix), *_COPY, str(found))
    if not engine:
        for model in prefix.glob(_MODELS):
            model.unlink()
    if strip:
        _perform(["strip", "--strip-unneeded", *map(str, prefix.rglob("*.so*"))], {})
    # A layer of an image keeps whole seconds: what is compiled would be older than its source there, and not be used.
    for source in prefix.rglob("*.py"):
        os.utime(source, (int(source.stat().st_mtime),) * 2)
    _perform([str(prefix / "bin" / "python"), "-c", _LOAD, *(["engine"] if engine else [])], {})


# A cache is another file system where an image is built.
_COPY = ("--link-mode", "copy")


def _run(uv: Path, environment: Path, *words: str) -> None:
    # The system's certificates, as in set-up.
    command = [str(uv), *words, "--quiet", "--system-certs"]
    if words[0] == "sync":
        command += ["--python", sys.executable]
    _perform(command, {"UV_PROJECT_ENVIRONMENT": str(environment)})


def _perform(command: list[str], more: dict[str, str]) -> None:
    away = {"VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"}
    given = {name: value for name, value in os.environ.items() if name not in away} | more
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, env=given)  # noqa: S603 - uv, strip and python
    if done.returncode:
        raise SetupError(f"`{' '.join(command[:2])}` failed:\n{done.stderr.strip()}")


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description="Install TechStone AI Cloud into a folder.")
    parser.add_argument("prefix", type=Path, help="the folder, for example /opt/techstone")
    parser.add_argument("--without-engine", action="store_true", help="leave out llama.cpp and the built-in model")
    parser.add_argument("--strip", action="store_true", help="smaller, and no names for debuggers; needs binutils")
    chosen = parser.parse_args()
    try:
        install(chosen.prefix.absolute(), engine=not chosen.without_engine, strip=chosen.strip)
    except SetupError as error:
        print(f"install: {error}", file=sys.stderr)  # noqa: T201 - a command's output
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
