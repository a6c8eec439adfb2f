"""What the tests of deploy/ share: an installation as the image and the units have it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that the Dockerfile's own command has installed the service into, without the engine."""
    prefix = tmp_path_factory.mktemp("opt") / "techstone"
    command = [sys.executable, str(ROOT / "tools" / "install.py"), str(prefix), "--without-engine"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return prefix
