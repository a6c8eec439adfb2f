"""Whether corpus and evaluation are apart: `python apart.py` prints the questions that stand in both."""

from __future__ import annotations

import re
import sys

from dialogues import WISHES
from evaluate import SPEC
from intents import read_corpus
from noise import settle
from questions import read_questions

# A sentence of fewer words ("Why is that?") belongs to nobody.
_FEWEST = 4
# People's sentences begin without a capital, and after "Question:".
_SENTENCE = re.compile(r"(?<=[.!?:])\s+")


def find_shared() -> list[str]:
    """Return the evaluation's questions and wishes that are trained on, whole or by a sentence; the spec's may be.

    Two are the same if a disturbance could turn one into the other: what the model was shown in some words it knows.
    """
    known = {settle(question) for intent in read_corpus() for question in intent.questions}
    known |= {settle(text.replace("{}", " ")) for group in WISHES.values() for text in group}
    asked = [text for entry in read_questions() for text in (entry.text, entry.before, entry.system) if text]
    return [text for text in asked if text != SPEC.text and not known.isdisjoint(map(settle, _parts(text)))]


def _parts(text: str) -> list[str]:
    return [text, *(sentence for sentence in _SENTENCE.split(text) if len(sentence.split()) >= _FEWEST)]


def main() -> int:
    """Print them."""
    shared = find_shared()
    print("\n".join([*shared, f"{len(shared)} of the evaluation's questions stand in the corpus"]))
    return 1 if shared else 0


if __name__ == "__main__":
    sys.exit(main())
