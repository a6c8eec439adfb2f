"""Asks a running server the questions of `evaluation/` and says which answers are right, by topic.

python evaluate.py BASE_URL KEY [--model NAME] [--json FILE] [--wrong]: prints a table; exit status 1 where a bound is
missed: of questions about the product 80 % right, of others 90 % told so, the spec's question right in 20 of 20 tries
at temperature 0 and 0.7, and no answer that goes round in circles.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from asking import Server
from intents import sentences
from questions import Question, read_questions

RIGHT, TOLD, TRIES = 0.8, 0.9, 20
TEMPERATURES = (0.0, 0.7)
# The product spec's example of a request.
SPEC = Question("product", "What is the Token economy?", (("by the token",), ("unified system", "token")))
OUTSIDE = ("unknown",)
# So many words that come three times in one answer are a circle.
_CIRCLE, _ROUNDS = 6, 3
_AT_ONCE = 4


def is_right(question: Question, answer: str) -> bool:
    """Say whether an answer has the facts, in the form that was asked for."""
    told = answer.lower()
    if not any(all(word.lower() in told for word in words) for words in question.expect):
        return False
    if question.form == "brief":
        return len(sentences(answer)) == 1
    # Several sentences behind one dash are a paragraph, not a list.
    lines = answer.splitlines()
    return question.form != "list" or all(line.startswith("- ") and len(sentences(line)) == 1 for line in lines)


def is_circle(answer: str, reason: str) -> bool:
    """Say whether an answer did not end by itself, or says one thing again and again."""
    words = answer.split()
    runs = Counter(tuple(words[at : at + _CIRCLE]) for at in range(len(words) - _CIRCLE + 1))
    return reason != "stop" or any(count >= _ROUNDS for count in runs.values())


def ask(server: Server, question: Question) -> tuple[str, str]:
    """Return the answer to a question and why it ended; what comes before it is asked first."""
    messages = [("system", question.system)] if question.system else []
    if question.before:
        messages.append(("user", question.before))
        messages.append(("assistant", server.ask(messages)[0]))
    return server.ask([*messages, ("user", question.text)])


@dataclass
class Result:
    """Right and asked by topic, circles, and how often the spec's question was right, by temperature."""

    topics: dict[str, tuple[int, int]]
    circles: int
    spec: dict[str, int]
    wrong: list[dict[str, str]]

    def share(self, *, outside: bool) -> tuple[int, int]:
        """Return right and asked of what is about the product, or of what is not."""
        found = [told for topic, told in self.topics.items() if (topic in OUTSIDE) == outside]
        return sum(right for right, _ in found), sum(asked for _, asked in found)

    @property
    def good(self) -> bool:
        """Whether every bound holds."""
        (right, asked), (told, foreign) = self.share(outside=False), self.share(outside=True)
        known = right >= RIGHT * asked and told >= TOLD * foreign
        return known and self.circles == 0 and all(count == TRIES for count in self.spec.values())

    def __str__(self) -> str:
        """Return one line."""
        (right, asked), (told, foreign) = self.share(outside=False), self.share(outside=True)
        return (
            f"about the product {right} of {asked} ({right / asked:.0%}), about anything else {told} of {foreign} "
            f"({told / foreign:.0%}), circles {self.circles}, the spec's question {self.spec} of {TRIES}"
        )


def evaluate(server: Server) -> Result:
    """Ask everything."""
    questions = read_questions()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(lambda question: ask(server, question), questions))
        spec: dict[str, int] = {}
        for temperature in TEMPERATURES:
            tries = pool.map(server.ask, [[("user", SPEC.text)]] * TRIES, [temperature] * TRIES)
            spec[str(temperature)] = sum(is_right(SPEC, answer) for answer, _ in tries)
    topics: dict[str, tuple[int, int]] = {}
    wrong: list[dict[str, str]] = []
    for question, (answer, _) in zip(questions, answers, strict=True):
        right = is_right(question, answer)
        before, asked = topics.get(question.topic, (0, 0))
        topics[question.topic] = before + right, asked + 1
        if not right:
            wrong.append({"topic": question.topic, "asked": question.text, "answer": answer})
    return Result(topics, sum(is_circle(*answer) for answer in answers), spec, wrong)


def main() -> int:
    """Evaluate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("--model", default="techstone-nano")
    parser.add_argument("--json", type=Path, help="where to write all of it")
    parser.add_argument("--wrong", action="store_true", help="show the wrong answers")
    arguments = parser.parse_args()
    found = evaluate(Server(arguments.url, arguments.key, arguments.model))
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(found)), "utf-8")
    for entry in found.wrong if arguments.wrong else ():
        print(f"WRONG {entry['topic']}: {entry['asked']}\n      {entry['answer']}")
    for topic, (right, asked) in found.topics.items():
        print(f"{topic:12} {right:3} of {asked}")
    print(found)
    return 0 if found.good else 1


if __name__ == "__main__":
    sys.exit(main())
