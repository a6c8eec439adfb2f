"""The image: what its Dockerfile says, and what its steps leave, as far as a machine without Docker can tell."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"


def test_linter_has_nothing_to_say() -> None:
    """Hadolint, which parses it as Docker does and reads its shell by ShellCheck."""
    program = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([program, "--format", "json", DOCKERFILE], check=False, capture_output=True, text=True)
    assert json.loads(done.stdout) == []


def test_everything_that_is_copied_is_let_in() -> None:
    """The ignore file lets in what the build copies, and nothing that holds data, secrets or configuration."""
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    for path in " ".join(copied).split():
        assert any(name == path or name.startswith(f"{path}/") or path.startswith(f"{name}/") for name in let_in), path
        assert (ROOT / path).exists()
    assert let_in == {
        "deploy/image", "docs/api", "src", "tools/install.py", "tools/setup.py", "LICENSE", "README.md",
        "pyproject.toml", "uv.lock",
    }  # fmt: skip


def test_last_stage_is_nobody_from_nothing() -> None:
    """From scratch, a user by number that is not root, a volume, a health check; no secret is built in."""
    last = DOCKERFILE.read_text().rpartition("\nFROM ")[2]
    assert last.startswith("scratch\n")
    assert "\nUSER 10001:10001\n" in last
    assert "\nVOLUME /data\n" in last
    assert "\nHEALTHCHECK " in last
    assert not re.search(r"(?i)(key|token|password|secret)=", DOCKERFILE.read_text())


def test_health_check_is_a_program(installed: Path) -> None:
    """Its words compile, and say that a service which is not there is not well."""
    words = json.loads(DOCKERFILE.read_text().split("HEALTHCHECK", 1)[1].split("CMD ", 1)[1].splitlines()[0])
    done = subprocess.run([installed / "bin" / words[0], *words[1:]], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "SyntaxError" not in done.stderr


def test_installation_is_small_and_whole(installed: Path) -> None:
    """Installed by the Dockerfile's command: commands work; no engine, no tests' packages; compiled what is loaded."""
    assert subprocess.run([installed / "bin" / "techstone", "--help"], check=False, capture_output=True).returncode == 0
    packages = next(installed.glob("lib/python*/site-packages"))
    assert not {"xllamacpp", "faker", "pytest", "hatchling"} & {path.name for path in packages.iterdir()}
    assert not list(packages.glob("techstone/engine/*.gguf"))
    assert list((packages / "techstone" / "app" / "__pycache__").iterdir())
    assert all(
        (packages / "techstone" / "app" / name).stat().st_mtime_ns % 10**9 == 0 for name in ("serve.py", "wiring.py")
    ), "else a layer of an image makes them younger than what is compiled"
    sizes = {path: path.stat().st_size for path in installed.rglob("*") if path.is_file() and not path.is_symlink()}
    megabytes = sum(sizes.values()) / 1e6
    print(f"installed without the engine: {megabytes:.0f} MB before stripping")
    assert megabytes < 210


def test_gathering_script_is_shell() -> None:
    """It parses, and it names what the engine and packages of C++ need."""
    script = ROOT / "deploy" / "image" / "gather.sh"
    assert subprocess.run([shutil.which("sh") or "sh", "-n", script], check=False).returncode == 0
    assert {"libgomp1", "libstdc++6"} <= set(script.read_text().split())
