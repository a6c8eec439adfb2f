r"""The corpus: intents from `corpus/`, each with ways to ask and answers that are all right.

A file is a topic. `= name` begins an intent, `= name < parent other` one that only makes sense right after one of
these; `? question` and `! answer` lines follow. In a question `(a|b|c)` stands for each of its alternatives; `\(`, `\)`
and `\|` are themselves, and `\n` in an answer is a line end. `#` begins a comment. The first sentence of an answer is a
right answer by itself: it is what somebody gets who asked for brevity.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"

_GROUP = re.compile(r"(?<!\\)\(((?:[^()\\]|\\.)*)(?<!\\)\)")
_BAR = re.compile(r"(?<!\\)\|")
_ESCAPED = re.compile(r"\\([()|])")
# A sentence ends at its mark before a space and a new beginning: not in "e.g.", "gpt-4.1" or "techstone.toml".
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\"(])")


@dataclass(frozen=True)
class Intent:
    """What somebody may want to know; `after` names the intents that it follows, none for one that stands alone."""

    topic: str
    name: str
    after: tuple[str, ...]
    questions: tuple[str, ...]
    answers: tuple[str, ...]


def expand(pattern: str) -> list[str]:
    """Return every sentence that a pattern stands for."""
    parts = _GROUP.split(pattern)
    choices = [_BAR.split(part) if place % 2 else [part] for place, part in enumerate(parts)]
    sentences = ("".join(words) for words in itertools.product(*choices))
    return [_ESCAPED.sub(r"\1", re.sub(r"\s+", " ", sentence)).strip() for sentence in sentences]


def sentences(answer: str) -> list[str]:
    """Return an answer's sentences, in order."""
    return _SENTENCE.split(answer)


def normalise(text: str) -> str:
    """Return what two spellings of one question have in common: lower case, no marks around words, single spaces."""
    return " ".join(filter(None, (word.strip("?!.,;:'\"`()") for word in text.lower().split())))


def read_file(file: Path) -> list[Intent]:
    """Return the intents of a file; raise ValueError for a malformed line, saying which and what was expected."""
    intents: list[Intent] = []
    lines = [line for line in file.read_text("utf-8").splitlines() if not line.startswith("#")]
    name, after, questions, answers = "", tuple[str, ...](), list[str](), list[str]()
    for line in (*lines, "= "):
        mark, _, text = line.partition(" ")
        if mark == "=":
            if name:
                intents.append(Intent(file.stem, name, after, tuple(dict.fromkeys(questions)), tuple(answers)))
            name, _, parents = (part.strip() for part in text.partition("<"))
            after, questions, answers = tuple(parents.split()), [], []
        elif mark == "?":
            questions += expand(text)
        elif mark == "!":
            answers.append(text.replace("\\n", "\n"))
        elif line.strip():
            raise ValueError(f"{file.name}: {line[:40]!r}: expected a line that begins with =, ?, ! or #")
    return intents


def read_corpus(folder: Path = CORPUS) -> list[Intent]:
    """Return all intents, in the order of the files."""
    return [intent for file in sorted(folder.glob("*.txt")) for intent in read_file(file)]
