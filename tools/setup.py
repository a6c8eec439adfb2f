"""Sets up `.venv` from `uv.lock`: standard library only, so that a bare python3 is all that a fresh clone needs.

Debian's python3 has neither pip nor ensurepip; so the one tool that installs the rest, uv, is fetched from the address
that the lock pins and unpacked only if its SHA-256 is the lock's. Quiet when all is well; a second run does nothing.
"""

from __future__ import annotations

import compileall
import hashlib
import io
import os
import platform
import shutil
import ssl
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".uv"
VENV = ROOT / ".venv"

# What `make test` drives beside Python: program, Debian package, what needs it.
PROGRAMS = (
    ("nginx", "nginx"),
    ("haproxy", "haproxy"),
    ("wrk", "wrk"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("strace", "strace"),
    ("chromium", "chromium"),
    ("postgres", "postgresql"),
    ("redis-server", "redis-server"),
    ("caddy", "caddy"),
    ("openssl", "openssl"),
    ("promtool", "prometheus"),
    ("systemd-analyze", "systemd"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("faketime", "faketime"),
)


class SetupError(Exception):
    """One line for the person at the terminal."""


def find_wheel(lock: dict[str, list[dict[str, Any]]]) -> tuple[str, str]:
    """Return the address and SHA-256 of uv's wheel for this platform."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    if sys.platform == "darwin":
        wanted = ["macosx", {"aarch64": "arm64"}.get(machine, machine)]
    elif platform.libc_ver()[0] == "glibc":
        wanted = ["manylinux", machine]
    else:
        wanted = ["musllinux", machine]
    for package in lock["package"]:
        if package["name"] == "uv":
            for wheel in package["wheels"]:
                if all(part in wheel["url"] for part in wanted):
                    return wheel["url"], wheel["hash"].removeprefix("sha256:")
    raise SetupError(f"there is no uv for {sys.platform} on {machine}; install uv yourself and run `uv sync --frozen`")


def fetch_uv(lock: dict[str, list[dict[str, Any]]]) -> Path:
    """Return the uv program, fetched and checked if it is not there yet."""
    url, digest = find_wheel(lock)
    program = TOOLS / f"uv-{digest[:16]}"
    if program.exists():
        return program
    try:
        with urllib.request.urlopen(url, context=ssl.create_default_context(), timeout=120) as answer:  # noqa: S310 - https, pinned in the lock
            data = answer.read()
    except (urllib.error.URLError, TimeoutError) as error:
        raise SetupError(f"cannot fetch {url}: {error}. Set-up needs the network once.") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise SetupError(f"{url} is not the file that uv.lock names; nothing was installed")
    with zipfile.ZipFile(io.BytesIO(data)) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith("/scripts/uv"))
        content = wheel.read(name)
    TOOLS.mkdir(exist_ok=True)
    fresh = program.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.chmod(0o755)
    fresh.replace(program)
    return program


def sync(*, everything: bool) -> None:
    """Bring `.venv` to what the lock says; do nothing when it is there already."""
    text = (ROOT / "uv.lock").read_bytes()
    state = hashlib.sha256(text + (ROOT / "pyproject.toml").read_bytes() + sys.version.encode()).hexdigest()
    stamp = VENV / ".techstone-setup"
    found = stamp.read_text().split() if stamp.exists() else []
    if found[:1] == [state] and (not everything or found[1:] == ["everything"]):
        return
    everything = everything or found[1:] == ["everything"]
    uv = fetch_uv(tomllib.loads(text.decode()))
    # The system's certificates, as for uv itself: a company's proxy signs with its own.
    command = [str(uv), "sync", "--frozen", "--quiet", "--system-certs", "--python", sys.executable]
    # Compiled now, not by the first start: that took 6.5 s to its first answer instead of 2.5.
    command += ["--compile-bytecode", *(["--all-groups"] if everything else [])]
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, env=environment)  # noqa: S603 - our own uv
    if done.returncode:
        raise SetupError("uv could not install the packages of uv.lock:\n" + done.stderr.strip())
    compileall.compile_dir(ROOT / "src", quiet=2)
    stamp.write_text(f"{state} {'everything' if everything else ''}")


def install_programs(wanted: tuple[str, ...]) -> None:
    """Install Debian's packages of the wanted programs where that is possible, else say which are missing."""
    missing = sorted(
        {
            package
            for program, package in PROGRAMS
            if program in wanted and not shutil.which(program, path=search_path())
        }
    )
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SetupError(f"missing: {' '.join(missing)}: apt-get install {' '.join(missing)}")
    print(f"installing: {' '.join(missing)}", flush=True)  # noqa: T201 - a command's output
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
    ):
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)  # noqa: S603 - fixed words
        if done.returncode:
            raise SetupError(f"`{' '.join(command)}` failed: {done.stderr.strip()[-500:]}")


def install_training() -> None:
    """Make `models/nano/.venv` with what the built-in model is trained with, from its own pins: PyTorch is large."""
    folder = ROOT / "models" / "nano"
    pins, venv = folder / "requirements.txt", folder / ".venv"
    state = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()
    stamp = venv / ".techstone-setup"
    if stamp.exists() and stamp.read_text() == state:
        return
    uv = str(fetch_uv(tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))))
    print("installing PyTorch for the training: some minutes, 3 GB", flush=True)  # noqa: T201 - a command's output
    for command in (
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(venv)],
        [uv, "pip", "install", "--quiet", "--system-certs", "--python", str(venv), "--require-hashes", "-r", str(pins)],
    ):
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - our own uv
        if done.returncode:
            raise SetupError(f"uv could not install the packages of {pins}:\n" + done.stderr.strip())
    stamp.write_text(state)


def install_node_packages() -> None:
    """Install what the Node tests and our SDK for Node need from their locks, and build the SDK."""
    tests, sdk = ROOT / "tests" / "node", ROOT / "sdk" / "node"
    run_npm(["ci"], [tests / "package-lock.json"], tests / "node_modules")
    run_npm(["ci", "--ignore-scripts"], [sdk / "package-lock.json"], sdk / "node_modules")
    sources = [sdk / name for name in ("package.json", "package-lock.json", "tsconfig.json", "build.mjs")]
    run_npm(["run", "build"], [*sources, *sorted((sdk / "src").rglob("*.ts"))], sdk / "dist")


def run_npm(command: list[str], inputs: list[Path], output: Path) -> None:
    """Run npm in its output's folder, unless the output was made from the same inputs."""
    folder = output.parent
    state = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()
    stamp = folder / "node_modules" / f".techstone-{output.name}"
    if output.exists() and stamp.exists() and stamp.read_text() == state:
        return
    words = ["npm", *command, "--silent", "--no-audit", "--no-fund"]
    done = subprocess.run(words, cwd=folder, check=False, capture_output=True, text=True)  # noqa: S603 - fixed words
    if done.returncode:
        raise SetupError(f"`npm {' '.join(command)}` in {folder} failed: {(done.stderr or done.stdout).strip()[-500:]}")
    stamp.write_text(state)


def search_path() -> str:
    """Return PATH with the folders where Debian keeps servers."""
    return ":".join(
        [os.environ.get("PATH", ""), "/usr/sbin", "/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    )


def main() -> int:
    """Run; `--test` adds what tests need, `--dev` the development tools, `--bench` and `--nano` what they need."""
    try:
        sync(everything="--test" in sys.argv or "--dev" in sys.argv)
        if "--bench" in sys.argv:
            install_programs(("nginx", "wrk", "redis-server"))
        if "--nano" in sys.argv:
            install_training()
        if "--test" in sys.argv:
            install_programs(tuple(program for program, _ in PROGRAMS))
            install_node_packages()
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)  # noqa: T201 - the same
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
