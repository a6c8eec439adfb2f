"""Whether corpus and evaluation are apart: `python apart.py` prints the questions that stand in both."""

from __future__ import annotations

import sys

from corpus import normalise, read_corpus
from questions import read_questions


def find_shared() -> list[str]:
    """Return the evaluation's questions that the corpus has too, but for case and marks."""
    known = {normalise(question) for intent in read_corpus() for question in intent.questions}
    asked = [question for entry in read_questions() for question in (entry.text, entry.before) if question]
    return [question for question in asked if normalise(question) in known]


def main() -> int:
    """Print them."""
    shared = find_shared()
    print("\n".join([*shared, f"{len(shared)} of the evaluation's questions stand in the corpus"]))
    return 1 if shared else 0


if __name__ == "__main__":
    sys.exit(main())
