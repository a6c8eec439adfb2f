"""The units of systemd: verified and rated by systemd itself, their commands run as they stand."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from service import free_port, wait_until

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))


def _place(unit: Path, installed: Path, folder: Path) -> Path:
    """Return a copy of the unit for the program where it is here; of a template, its instance 1."""
    copy = folder / unit.name.replace("@", "@1")
    copy.write_text(unit.read_text().replace("/opt/techstone", str(installed)))
    return copy


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_takes_the_unit(unit: Path, installed: Path, tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say."""
    command = ["systemd-analyze", "verify", str(_place(unit, installed, tmp_path))]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if "techstone" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_service_has_few_rights(unit: Path, installed: Path, tmp_path: Path) -> None:
    """`systemd-analyze security` rates the exposure at 1.5 of 10 or less; what is not hardened at all has 9.6."""
    command = ["systemd-analyze", "security", "--offline=yes", str(_place(unit, installed, tmp_path))]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    print(f"{unit.name}: {found[1]}")
    assert float(found[1]) <= 1.5


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_service_is_given_time_to_stop(unit: Path) -> None:
    """Longer than the drain of 30 s where it serves requests."""
    seconds = int(re.findall(r"^TimeoutStopSec=(\d+)$", unit.read_text(), re.MULTILINE)[0])
    assert seconds >= (15 if "control" in unit.name else 35)


def test_each_plane_reads_its_own_secrets() -> None:
    """A gateway, which the Internet reaches, has no password of the database; nobody but root reads the files."""
    read = {unit.stem: re.findall(r"^EnvironmentFile=-(\S+)$", unit.read_text(), re.MULTILINE) for unit in UNITS}
    assert read == {
        "techstone": ["/etc/techstone/secrets.env"],
        "techstone-control": ["/etc/techstone/control.env"],
        "techstone-gateway@": ["/etc/techstone/gateway.env"],
    }
    owned = (FOLDER / "techstone.tmpfiles").read_text().splitlines()
    for (path,) in read.values():
        assert f"z {path} 0600 root root -" in owned


def test_control_plane_starts_by_its_unit(installed: Path, tmp_path: Path) -> None:
    """The words of ExecStart, with the folders of this test: it serves on its data folder, and ends on SIGTERM."""
    line = re.findall(r"^ExecStart=(.*)$", (FOLDER / "techstone-control.service").read_text(), re.MULTILINE)[0]
    (tmp_path / "control.toml").write_text(f"[control]\nlisten = '127.0.0.1:{free_port()}'\n")
    for there, here in (("/opt/techstone", installed), ("/etc/techstone", tmp_path), ("/var/lib/techstone", tmp_path)):
        line = line.replace(there, str(here))
    out = tmp_path / "out"
    with out.open("wb") as file:
        given = {"TECHSTONE_CONTROL_TOKEN": "x" * 32}
        process = subprocess.Popen(line.split(), stdout=file, stderr=file, env=given, cwd=tmp_path)
    try:
        wait_until(lambda: "is serving" in out.read_text() or process.poll() is not None, 60)
        assert process.poll() is None, out.read_text()
    finally:
        process.terminate()
        assert process.wait(60) == 0, out.read_text()
