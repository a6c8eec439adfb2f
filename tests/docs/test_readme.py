"""Every command and line of code of README.md does what the page promises, started as it says: by `make serve`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from service import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
_KEYS = {"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "DEEPSEEK_API_KEY"}
# Indented by four, as the page has its code.
_BLOCKS = re.findall(r"(?:^ {4}.*\n)+", (ROOT / "README.md").read_text(), re.MULTILINE)
# What a block is known by; one that is not known has no test.
_CLONE, _CURL, _PYTHON, _PROVIDER, _SHARE, _VERBS = marks = (
    "git clone", "curl ", "from openai", "OPENAI_API_KEY=", "account create", "make test",
)  # fmt: skip


def find_block(mark: str) -> str:
    found = [block for block in _BLOCKS if mark in block]
    assert len(found) == 1, mark
    return re.sub("^ {4}", "", found[0], flags=re.MULTILINE)


class Made:
    """What `make serve` started, in a data folder of its own."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.port = free_port()
        (folder / "techstone.toml").touch()
        kept = {name: value for name, value in os.environ.items() if name not in _KEYS}
        self.environment = kept | {
            "DATA": str(folder / "data"),
            "CONFIG": str(folder / "techstone.toml"),
            **environment,
        }
        self.out = folder / "out"
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                ["make", "serve", f"PORT={self.port}"],
                cwd=ROOT,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )
        wait_until(lambda: "is serving" in self.out.read_text() or self.process.poll() is not None, 60)
        assert self.process.poll() is None, self.out.read_text()

    @property
    def key(self) -> str:
        found = re.search(r"ts_live_\w+", self.out.read_text())
        assert found is not None
        return found[0]

    def shell(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run a block as it stands, with this installation's key and port in it."""
        text = text.replace("ts_live_…", self.key).replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")
        words = ["bash", "-euo", "pipefail", "-c", text]
        return subprocess.run(
            words, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False, timeout=120
        )

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)  # Ctrl-C
        self.process.wait(30)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    running = Made(tmp_path_factory.mktemp("readme"))
    yield running
    running.stop()


def test_every_block_is_tried_here() -> None:
    """A new one on the page needs a test."""
    assert [sum(mark in block for mark in marks) for block in _BLOCKS] == [1] * len(_BLOCKS)
    assert len(_BLOCKS) == len(marks)


def test_curl_line_answers(made: Made) -> None:
    """It streams what the built-in model says, to `[DONE]`."""
    done = made.shell(find_block(_CURL))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("data: [DONE]\n\n")
    assert '"content"' in done.stdout


def test_openais_client_works(made: Made) -> None:
    """With the base URL and the key exchanged, as said."""
    program = (
        find_block(_PYTHON)
        + "print(client.chat.completions.create(model='gpt-4o', max_tokens=5, "
        + "messages=[{'role': 'user', 'content': 'hi'}]).object)"
    )
    done = made.shell(f"{sys.executable} - <<'END'\n{program}\nEND")
    assert done.stdout == "chat.completion\n", done.stderr


def test_commands_of_sharing_work(made: Made) -> None:
    """Each ends with status 0; KEY_ID is that of the key that was just made. `doctor` finds nothing wrong."""
    lines = find_block(_SHARE).splitlines()
    key_id = ""
    for line in lines:
        done = made.shell(line.replace("KEY_ID", key_id))
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        key_id = key_id or (re.findall(r"key_\w{20}", done.stdout) or [""])[0]
    assert key_id


def test_a_providers_key_is_a_whole_configuration(tmp_path: Path) -> None:
    """Its models are on offer; nothing else was said."""
    block = find_block(_PROVIDER)
    assert block == "OPENAI_API_KEY=sk-… make serve\n"
    running = Made(tmp_path, OPENAI_API_KEY="sk-none")
    try:
        offered = running.shell('curl -sf http://127.0.0.1:8000/v1/models -H "Authorization: Bearer ts_live_…"')
        assert '"gpt-4o"' in offered.stdout
        assert '"techstone-nano"' in offered.stdout
    finally:
        running.stop()


@pytest.mark.parametrize("line", [*find_block(_CLONE).splitlines(), *find_block(_VERBS).splitlines()])
def test_verb_is_there(line: str) -> None:
    """What takes a network or an hour is not run here: `make` knows each verb, and what it would do."""
    verb = line.partition("#")[0].strip()
    if verb.startswith("git clone"):
        assert (ROOT / "Makefile").exists()
        return
    done = subprocess.run([*verb.split(), "-n"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "setup.py" in done.stdout
