"""Whether corpus and evaluation are apart: `python apart.py` prints the questions that stand in both."""

from __future__ import annotations

import sys

from dialogues import WISHES
from evaluate import SPEC
from intents import normalise, read_corpus
from questions import read_questions


def find_shared() -> list[str]:
    """Return the evaluation's questions and wishes that are trained on, but for case and marks; the spec's may be."""
    known = {normalise(question) for intent in read_corpus() for question in intent.questions}
    known |= {normalise(text) for group in WISHES.values() for text in group}
    asked = [text for entry in read_questions() for text in (entry.text, entry.before, entry.system) if text]
    return [text for text in asked if normalise(text) in known and text != SPEC.text]


def main() -> int:
    """Print them."""
    shared = find_shared()
    print("\n".join([*shared, f"{len(shared)} of the evaluation's questions stand in the corpus"]))
    return 1 if shared else 0


if __name__ == "__main__":
    sys.exit(main())
