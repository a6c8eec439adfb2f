"""The evaluation's questions, from `evaluation/`: one file a topic, written by who had not read the corpus's questions.

    [[question]]
    text = "how many calls a minute with Pro"
    expect = [["500"]]                      # right if the answer has all words of one of the lists, whatever the case
    before = "Which plans are there?"       # asked and answered first (optional)
    system = "Be brief."                    # the system message (optional)
    form = "brief"                          # "brief": one sentence; "list": lines of "- " and a sentence (optional)

The files `unknown.toml` and `talk.toml` are about what the model does not know and about itself.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

EVALUATION = Path(__file__).parent / "evaluation"


@dataclass(frozen=True)
class Question:
    """One of them. `expect`: lists of words, of which an answer must have all of one."""

    topic: str
    text: str
    expect: tuple[tuple[str, ...], ...]
    before: str = ""
    system: str = ""
    form: str = ""


def read_questions(folder: Path = EVALUATION) -> list[Question]:
    """Return all questions, in the order of the files; raise ValueError for one without words to expect."""
    questions: list[Question] = []
    for file in sorted(folder.glob("*.toml")):
        for entry in tomllib.loads(file.read_text("utf-8"))["question"]:
            expect = tuple(map(tuple, entry.pop("expect")))
            if not expect or not all(expect):
                raise ValueError(f"{file.name}: {entry['text']!r} expects nothing: give lists of words")
            questions.append(Question(file.stem, entry.pop("text"), expect, **entry))
    return questions
