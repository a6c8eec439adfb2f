"""Every block of code in the documentation runs as it stands, against a real service with the built-in model."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from service import Service, serving

from techstone.control.pages.documentation import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

SDK = Path(__file__).parents[2] / "sdk" / "node"
_FENCE = re.compile(r"^```(bash|python|javascript)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# All blocks of a language in one process, each by itself in it: starting one takes longer than what most of them do.
_RUNNERS = {
    "python": """
import runpy, sys, traceback
failed = 0
for path in sys.argv[1:]:
    try:
        runpy.run_path(path, run_name="__main__")
    except BaseException:
        failed += 1
        print(path, file=sys.stderr)
        traceback.print_exc()
sys.exit(failed > 0)
""",
    "javascript": """
import { pathToFileURL } from 'node:url';
let failed = 0;
for (const path of process.argv.slice(2)) {
  try {
    await import(pathToFileURL(path));
  } catch (error) {
    failed += 1;
    console.error(path, error);
  }
}
process.exit(failed ? 1 : 0);
""",
    "bash": """
failed=0
for path in "$@"; do
  bash -eu "$path" || { failed=1; echo "$path: exit status $?" >&2; }
done
exit $failed
""",
}
_PROGRAMS = {"python": (sys.executable, "py"), "javascript": ("node", "mjs"), "bash": ("bash", "sh")}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("docs")) as service:
        yield service


def _write_blocks(folder: Path, language: str) -> list[str]:
    """Write every block of a language to a file named by where it stands; return the files."""
    files = []
    for page in sorted(FOLDER.glob("*.md")):
        text = page.read_text()
        for found in _FENCE.finditer(text):
            if found[1] == language:
                line = text[: found.start()].count("\n") + 2
                file = folder / f"{page.stem}-{line}.{_PROGRAMS[language][1]}"
                file.write_text(found[2])
                files.append(str(file))
    return files


@pytest.mark.parametrize("language", _RUNNERS)
def test_blocks_run_as_they_stand(service: Service, tmp_path: Path, language: str) -> None:
    """With the three environment variables that the pages name, and both SDKs installed."""
    scope = tmp_path / "node_modules" / "@techstoneai"
    scope.mkdir(parents=True)
    (scope / "sdk").symlink_to(SDK)
    (tmp_path / "node_modules" / "openai").symlink_to(SDK / "node_modules" / "openai")
    files = _write_blocks(tmp_path, language)
    assert len(files) > 20
    program, ending = _PROGRAMS[language]
    runner = tmp_path / f"run.{ending}"
    runner.write_text(_RUNNERS[language])
    admin = service.ask("key", "create", "--account", "owner@localhost", "--admin")["key"]
    environment = {
        **os.environ,
        "API_BASE_URL": service.url,
        "TECHSTONE_API_KEY": service.key,
        "TECHSTONE_ADMIN_KEY": admin,
    }
    done = subprocess.run(
        [program, str(runner), *files],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-5000:]
