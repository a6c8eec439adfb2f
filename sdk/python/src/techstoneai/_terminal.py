"""The command `techstoneai`: a chat in the terminal. Answers go to standard output, all else to standard error."""

from __future__ import annotations

import argparse
import contextlib
import os
import stat
import sys
from typing import TYPE_CHECKING

from openai import APIConnectionError, APITimeoutError, OpenAIError

from ._client import TechStoneAI

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openai.types.chat import ChatCompletionMessageParam

    from ._stream import ChatStream

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_DESCRIPTION = "Chat with a model of TechStone AI Cloud: once with a prompt or piped input, else as long as you like."
_EPILOG = "The key is read from TECHSTONE_API_KEY, the base URL from TECHSTONE_BASE_URL or API_BASE_URL."


class _Chat:
    """A conversation with one model, and what was said in it."""

    def __init__(self, client: TechStoneAI, model: str, system: str | None) -> None:
        self._client = client
        self._model = model
        self._said: list[ChatCompletionMessageParam] = [{"role": "system", "content": system}] if system else []

    def ask(self, prompt: str) -> bool:
        """Print the answer to a prompt; return whether it came to its end. What came of it has been said."""
        asked: list[ChatCompletionMessageParam] = [*self._said, {"role": "user", "content": prompt}]
        words: list[str] = []
        try:
            with self._client.chat.completions.create(
                model=self._model, messages=asked, stream=True, stream_options={"include_usage": True}
            ) as stream:
                _print_words(stream, words)
                _remark(_describe(stream, self._model))
        except KeyboardInterrupt:
            _remark("stopped")
            return False
        finally:
            if words:
                self._said = [*asked, {"role": "assistant", "content": "".join(words)}]
        return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser("techstoneai", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("prompt", nargs="*", help="what to ask; piped input is added below it")
    parser.add_argument("--model", metavar="M", help="the model to ask, else the first that the key may use")
    parser.add_argument("--system", metavar="S", help="what the model is told before all else")
    parser.add_argument("--base-url", metavar="URL", help="where the service is, such as https://api.example.com/v1")
    wanted = parser.parse_args(arguments)
    try:
        prompt = _read_prompt(" ".join(wanted.prompt))
        if prompt == "":
            return _complain("there is nothing to ask")
        with TechStoneAI(base_url=wanted.base_url) as client:
            chat = _Chat(client, wanted.model or _find_model(client), wanted.system)
            if prompt is None:
                return _converse(chat)
            return 0 if chat.ask(prompt) else _INTERRUPTED
    except OpenAIError as error:
        return _complain(_explain(error))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Who reads has had enough, as `| head` does; Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _read_prompt(given: str) -> str | None:
    """Return what is to be asked once, or None for a conversation."""
    if sys.stdin.isatty():
        return given or None
    kind = os.fstat(sys.stdin.fileno()).st_mode
    # With a prompt, read only what somebody piped: the input that a job or an editor left us may never end.
    piped = sys.stdin.read().strip() if not given or stat.S_ISFIFO(kind) or stat.S_ISREG(kind) else ""
    return "\n\n".join(filter(None, [given, piped]))


def _find_model(client: TechStoneAI) -> str:
    for model in client.models.list():
        return model.id
    raise OpenAIError("this key may use no model")


def _converse(chat: _Chat) -> int:
    with contextlib.suppress(ImportError):  # not on every system
        import readline  # noqa: F401, PLC0415 - by being imported it edits lines and remembers them
    _remark("Ctrl-C stops an answer, Ctrl-D ends.")
    while True:
        try:
            prompt = input("> ").strip()
        except EOFError:
            _end_line()
            return 0
        except KeyboardInterrupt:
            _end_line()
            continue
        try:
            if prompt:
                chat.ask(prompt)
        except OpenAIError as error:
            _complain(_explain(error))


def _print_words(stream: ChatStream, words: list[str]) -> None:
    try:
        for chunk in stream:
            for choice in chunk.choices:
                if word := choice.delta.content or choice.delta.refusal:
                    words.append(word)
                    sys.stdout.write(word)
                    sys.stdout.flush()
    finally:
        # Also after a break: what is said of it stands on a line of its own.
        if words and not words[-1].endswith("\n"):
            _end_line()


def _describe(stream: ChatStream, model: str) -> str:
    facts = [model]
    if stream.cost is not None:
        facts.append(f"${stream.cost:f}")
    if stream.rate_limit.remaining is not None:
        facts.append(f"{stream.rate_limit.remaining} requests left")
    return " · ".join(facts)


def _explain(error: OpenAIError) -> str:
    if isinstance(error, APIConnectionError) and not isinstance(error, APITimeoutError):
        return f"cannot reach {error.request.url}: {error.__cause__}"
    return str(error)


def _end_line() -> None:
    sys.stdout.write("\n")
    sys.stdout.flush()


def _remark(text: str) -> None:
    dim = sys.stderr.isatty() and not os.environ.get("NO_COLOR")  # https://no-color.org
    print(f"\x1b[2m{text}\x1b[0m" if dim else text, file=sys.stderr, flush=True)  # noqa: T201 - a command's output


def _complain(text: str) -> int:
    print("techstoneai:", " ".join(text.split()), file=sys.stderr, flush=True)  # noqa: T201 - a command's output
    return 1
