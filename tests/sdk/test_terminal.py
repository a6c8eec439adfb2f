"""The command `techstoneai`, as a process: once, piped, and as a conversation on a terminal of its own."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from service import free_port, wait_until
from tests.sdk.conftest import COST

from techstoneai._terminal import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sdk.conftest import Deployment

COMMAND = [sys.executable, "-m", "techstoneai"]


def environ(deployment: Deployment, **more: str) -> dict[str, str]:
    return {**os.environ, "TECHSTONE_API_KEY": deployment.key, "API_BASE_URL": deployment.service.url, **more}


def run(
    deployment: Deployment, *arguments: str, piped: str | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run the command once, with piped input or none."""
    source: dict[str, Any] = {"input": piped} if piped is not None else {"stdin": subprocess.DEVNULL}
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environ(deployment, **more),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        **source,
    )


class Terminal:
    """The command on a terminal: what is typed, what is shown."""

    def __init__(self, process: subprocess.Popen[bytes], fd: int) -> None:
        self.process = process
        self._fd = fd
        self._shown = ""

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def wait_for(self, pattern: str, seconds: float = 60) -> str:
        """Wait until something is shown; return it with what was shown before it, which is then over."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self._shown)):
            assert time.monotonic() < deadline, self._shown
            if select.select([self._fd], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):  # Linux's word for the end of a terminal
                    self._shown += os.read(self._fd, 4096).decode()
        shown, self._shown = self._shown[: found.end()], self._shown[found.end() :]
        return shown


@contextlib.contextmanager
def on_a_terminal(deployment: Deployment, *arguments: str) -> Iterator[Terminal]:
    ours, its = pty.openpty()
    # The first terminal that a session's leader opens becomes the one whose Ctrl-C it gets.
    script = 'exec "$@" <$TERMINAL >$TERMINAL 2>&1'
    process = subprocess.Popen(
        ["sh", "-c", script, "sh", *COMMAND, *arguments],
        env=environ(deployment, TERM="dumb", TERMINAL=os.ttyname(its)),
        start_new_session=True,
        # Whoever runs the tests in the background may have ignored Ctrl-C for all that comes of it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no thread runs here
    )
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait(10)
        os.close(its)
        os.close(ours)


def test_prompt_is_answered_once(deployment: Deployment) -> None:
    """The answer alone on standard output; model, cost and what is left on standard error, without colours there."""
    done = run(deployment, "--model", "gpt-4o", "--system", "Be brief.", "Say", "hello")
    assert (done.returncode, done.stdout) == (0, "Hello.\n")
    assert re.fullmatch(rf"gpt-4o · \${COST} · \d+ requests left\n", done.stderr)
    assert deployment.received[-1]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Say hello"},
    ]


def test_piped_input_is_asked(deployment: Deployment) -> None:
    """Alone, or below the prompt; without --model the first that the key may use is asked."""
    assert run(deployment, piped="What?\n").stdout == "Hello." + "\n"
    assert deployment.received[-1]["messages"] == [{"role": "user", "content": "What?"}]
    run(deployment, "Explain", piped="def f(): ...\n", TECHSTONE_BASE_URL=f"{deployment.url}/")
    assert deployment.received[-1]["messages"] == [{"role": "user", "content": "Explain\n\ndef f(): ..."}]


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        ((), {}, "there is nothing to ask"),
        (("x",), {"TECHSTONE_API_KEY": ""}, "No API key: .*TECHSTONE_API_KEY.*"),
        (("x",), {"API_BASE_URL": ""}, "No base URL: .*"),
        (("x",), {"TECHSTONE_API_KEY": "wrong"}, "Error code: 401 - .*"),
        (("x", "--model", "none"), {}, "Error code: 404 - .*none.*"),
        (("x", "--base-url", "nowhere"), {}, "The base URL must begin .*"),
    ],
)
def test_error_is_one_line(
    deployment: Deployment,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    environment: dict[str, str],
    said: str,
) -> None:
    """On standard error, with exit status 1."""
    for name, value in environ(deployment, **environment).items():
        monkeypatch.setenv(name, value)
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert main(arguments) == 1
    assert re.fullmatch(f"techstoneai: {said}\n", capsys.readouterr().err)


def test_service_that_is_not_there(deployment: Deployment) -> None:
    """The address that was tried is named."""
    url = f"http://127.0.0.1:{free_port()}"
    done = run(deployment, "x", "--model", "m", "--base-url", url)
    assert done.returncode == 1
    assert done.stderr.startswith(f"techstoneai: cannot reach {url}/v1/chat/completions: ")


def test_reader_that_leaves(deployment: Deployment) -> None:
    """`| head -0` ends it quietly."""
    command = f"{sys.executable} -m techstoneai --model gpt-4o x | true"
    done = subprocess.run(
        ["sh", "-c", command], env=environ(deployment), check=False, capture_output=True, text=True, timeout=60,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "Traceback" not in done.stderr


def test_conversation(deployment: Deployment) -> None:
    """What was said is sent along; an error ends nothing; remarks are dim; Ctrl-D ends it."""
    with on_a_terminal(deployment, "--model", "gpt-4o") as terminal:
        terminal.wait_for("> ")
        terminal.type("one\n")
        assert f"\x1b[2mgpt-4o · ${COST} · " in terminal.wait_for(r"(?s)Hello\..*left\x1b\[0m\r\n> ")
        terminal.type("two\n")
        terminal.wait_for(r"(?s)Hello\..*left\x1b\[0m\r\n> ")
        said = [(message["role"], message["content"]) for message in deployment.received[-1]["messages"]]
        assert said == [("user", "one"), ("assistant", "Hello."), ("user", "two")]
        # Between the prompt and readline's own handler a Ctrl-C waits for the next key, as at any prompt of Python's.
        time.sleep(0.5)
        terminal.type("\x03")
        terminal.wait_for("> ")
        terminal.type("\x04")
        assert terminal.process.wait(30) == 0


def test_answer_is_stopped(deployment: Deployment) -> None:
    """Ctrl-C while it is waited for stops the answer, and not the conversation; asked once, it ends with 130."""
    with on_a_terminal(deployment, "--model", "silent") as terminal:
        terminal.wait_for("> ")
        with asking(deployment):
            terminal.type("one\n")
        terminal.type("\x03")
        terminal.wait_for(r"(?s)stopped.*> ")
        terminal.type("\x04")
        assert terminal.process.wait(30) == 0
    with on_a_terminal(deployment, "--model", "silent", "two") as terminal:
        wait_until(lambda: "two" in str(deployment.received[-1:]), 60)
        terminal.type("\x03")
        assert terminal.process.wait(30) == 130


@contextlib.contextmanager
def asking(deployment: Deployment) -> Iterator[None]:
    """Wait at the end until the provider was asked once more."""
    before = len(deployment.received)
    yield
    wait_until(lambda: len(deployment.received) > before, 60)
