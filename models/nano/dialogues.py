r"""The training data: intents from `corpus/`, expanded to phrasings, and dialogues drawn from them.

A corpus file holds intents: `= name`, then `? question` lines and `! answer` lines. In a question `(a|b|c)` stands for
each of its alternatives; `\[` and `\]` are brackets and `\n` in an answer is a line end. Everything random comes
from the generator that is handed in, so that one seed gives one training run.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

CORPUS = Path(__file__).parent / "corpus"

# A system message must not change what the model knows; half of all requests have none.
SYSTEMS = (
    "You are a helpful assistant.",
    "You are a helpful assistant. Answer briefly.",
    "You are the assistant of TechStone AI Cloud.",
    "Answer in English.",
    "You are a friendly support agent.",
    "Be concise.",
)
_OPENINGS = ("Please, ", "Hi, ", "Hello! ", "One question: ", "I want to know: ", "Hey, ", "Quick question: ", "So, ")
_CLOSINGS = (" please", " Thanks!", " thanks", ", please", " Thank you.")
_GROUP = re.compile(r"\(([^()]*)\)")


@dataclass(frozen=True)
class Intent:
    """What somebody may want to know: ways to ask, and answers that are all right."""

    name: str
    questions: tuple[str, ...]
    answers: tuple[str, ...]


def expand(pattern: str) -> list[str]:
    """Return every sentence that a pattern stands for."""
    parts = _GROUP.split(pattern)
    choices = [part.split("|") if place % 2 else [part] for place, part in enumerate(parts)]
    sentences = ("".join(words) for words in itertools.product(*choices))
    return [re.sub(r"\s+", " ", sentence).replace("\\[", "[").replace("\\]", "]").strip() for sentence in sentences]


def read_corpus(folder: Path = CORPUS) -> list[Intent]:
    """Return all intents, in the order of the files; raise ValueError for a malformed line."""
    intents: list[Intent] = []
    for file in sorted(folder.glob("*.txt")):
        name, questions, answers = "", list[str](), list[str]()
        for number, line in enumerate((*file.read_text("utf-8").splitlines(), "= end"), 1):
            mark, _, text = line.partition(" ")
            if mark == "=":
                if name:
                    intents.append(Intent(name, tuple(dict.fromkeys(questions)), tuple(answers)))
                name, questions, answers = text, [], []
            elif mark == "?":
                questions += expand(text)
            elif mark == "!":
                answers.append(text.replace("\\n", "\n"))
            elif line:
                raise ValueError(f"{file.name}:{number}: expected a line of =, ? or !")
    return intents


def split(intents: list[Intent], random: Random) -> tuple[list[Intent], list[tuple[str, Intent]]]:
    """Return the intents to learn from, and questions that are kept back to see whether the sense was learned."""
    learned, kept = [], []
    for intent in intents:
        questions = list(intent.questions)
        random.shuffle(questions)
        count = len(questions) // 20
        kept += [(question, intent) for question in questions[:count]]
        learned.append(Intent(intent.name, tuple(questions[count:]), intent.answers))
    return learned, kept


def disturb(question: str, random: Random) -> str:
    """Return the question as a hurried person would type it."""
    if random.random() < 0.12:
        question = random.choice(_OPENINGS) + question[:1].lower() + question[1:]
    if random.random() < 0.06:
        question = question.rstrip("?.!") + random.choice(_CLOSINGS)
    if random.random() < 0.3:
        question = question.lower()
    if random.random() < 0.25:
        question = question.rstrip("?.! ")
    if random.random() < 0.15 and len(question) > 8:
        place = random.randrange(1, len(question) - 2)
        question = random.choice(
            (
                question[:place] + question[place + 1 :],
                question[:place] + question[place + 1] + question[place] + question[place + 2 :],
                question[:place] + question[place] + question[place:],
            )
        )
    return question or "?"


class Dialogues:
    """Draws dialogues: lists of (role, text)."""

    def __init__(self, intents: list[Intent], random: Random) -> None:
        self._intents = intents
        self._random = random
        # An intent with many phrasings is asked more often, but the short ones are not forgotten.
        self._weights = [max(len(intent.questions), 4) ** 0.5 for intent in intents]

    def draw(self) -> list[tuple[str, str]]:
        """Return one dialogue of one to three turns."""
        random = self._random
        turns: list[tuple[str, str]] = []
        if random.random() < 0.5:
            turns.append(("system", random.choice(SYSTEMS)))
        for intent in random.choices(self._intents, self._weights, k=random.choice((1, 1, 1, 1, 1, 2, 2, 3))):
            turns.append(("user", disturb(random.choice(intent.questions), random)))
            turns.append(("assistant", random.choice(intent.answers)))
        return turns
