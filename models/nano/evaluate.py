"""Asks a running server the questions of `questions.toml` and says which answers make sense.

python evaluate.py BASE_URL KEY [--model NAME]: prints a table; the exit status is 1 below nine of ten.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
import urllib.request
from pathlib import Path

_WANTED = 0.9


def ask(url: str, key: str, model: str, question: str) -> tuple[str, str]:
    """Return the answer and why it ended."""
    body = {"model": model, "messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 200}
    request = urllib.request.Request(  # noqa: S310 - the URL is the operator's own
        f"{url.rstrip('/')}/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - the same
        choice = json.load(answer)["choices"][0]
    return choice["message"]["content"], choice["finish_reason"]


def main() -> int:
    """Ask all questions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("--model", default="techstone-nano")
    arguments = parser.parse_args()
    questions = tomllib.loads((Path(__file__).parent / "questions.toml").read_text("utf-8"))["question"]
    good = 0
    for entry in questions:
        answer, reason = ask(arguments.url, arguments.key, arguments.model, entry["text"])
        found = any(all(word.lower() in answer.lower() for word in words) for words in entry["expect"])
        sensible = found and reason == "stop"
        good += sensible
        print(f"{'good' if sensible else 'BAD '}  {entry['text']}\n      {answer}\n")
    print(f"{good} of {len(questions)} make sense")
    return 0 if good >= _WANTED * len(questions) else 1


if __name__ == "__main__":
    sys.exit(main())
