"""The built-in model's corpus: wide enough, of one mind, and true to the documentation."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from pathlib import Path

import pytest
from intents import Intent, normalise, read_corpus, sentences

ROOT = Path(__file__).parents[3]

_DOCS = "\n".join(
    file.read_text("utf-8")
    for file in sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "techstone.example.toml"])
)
_QUOTED = re.compile(r"`([^`]+)`")
_NUMBER = re.compile(r"(?<![\w.,-])\d[\d,]*(?:\.\d+)*")
# Words of a quoted command that stand for the reader's own: EMAIL, KEY_ID, …, sk-ts-….
_BLANK = re.compile(r"[A-Z][A-Z_]*|…|\.\.\.|.*…")
_SHORTEST, _LONGEST = 3, 75
# Small numbers are words of the language ("2 ways"), not facts.
_COUNTED = {"1", "2", "3"}


@pytest.fixture(scope="module")
def corpus() -> list[Intent]:
    return read_corpus()


def facts(answer: str) -> set[str]:
    """Return what an answer claims that can be looked up: numbers, and the words of what it quotes as code."""
    quoted = {word.strip(",;") for text in _QUOTED.findall(answer) for word in text.split()}
    numbers = set(_NUMBER.findall(_QUOTED.sub(" ", answer))) - _COUNTED
    return {word for word in quoted if not _BLANK.fullmatch(word)} | {number.rstrip(",") for number in numbers}


def test_corpus_asks_many_things_in_many_ways(corpus: list[Intent]) -> None:
    """At least 600 intents, each asked in at least eight ways; follow-ups are beside."""
    alone = [intent for intent in corpus if not intent.after]
    assert len(alone) >= 600
    assert {intent.name: len(intent.questions) for intent in alone if len(intent.questions) < 8} == {}


def test_names_are_one_each_and_follow_what_is_there(corpus: list[Intent]) -> None:
    names = [intent.name for intent in corpus]
    assert sorted({name for name in names if names.count(name) > 1}) == []
    assert sorted({parent for intent in corpus for parent in intent.after} - set(names)) == []


def test_groups_are_closed(corpus: list[Intent]) -> None:
    """What is left of a group that was not closed would be asked as it stands."""
    assert [question for intent in corpus for question in intent.questions if "|" in question] == []


def test_question_has_one_answer(corpus: list[Intent]) -> None:
    """The same words, but for case and marks, belong to one intent; after a parent, to one of its follow-ups."""
    owners: dict[str, list[Intent]] = defaultdict(list)
    for intent in corpus:
        for text in {normalise(question) for question in intent.questions}:
            owners[text].append(intent)
    clashes = {
        text: [intent.name for intent in sharers]
        for text, sharers in owners.items()
        if len(sharers) > 1 and not _are_apart(sharers)
    }
    assert clashes == {}


def test_plans_are_told_as_they_are(corpus: list[Intent]) -> None:
    """Every number of a plan in an answer is the product's."""
    answers = " ".join(answer for intent in corpus for answer in intent.answers)
    assert set(re.findall(r"Pro (?:plan )?(?:allows|has) (\d+) requests", answers)) == {"500"}
    assert set(re.findall(r"Pay As You Go (?:plan )?allows (\d+) requests (?:and|per)", answers)) <= {"60"}
    assert {"150,000", "2,000,000"} <= set(re.findall(r"([\d,]+\d) tokens", answers))


def _are_apart(intents: list[Intent]) -> bool:
    parents = [parent for intent in intents for parent in intent.after]
    return all(intent.after for intent in intents) and len(parents) == len(set(parents))


def test_answers_are_short_and_whole(corpus: list[Intent]) -> None:
    """An answer is one to six sentences that a small model can learn, and ends as a sentence does."""
    for intent in corpus:
        assert intent.answers, intent.name
        for answer in intent.answers:
            assert _SHORTEST <= len(answer.split()) <= _LONGEST, (intent.name, answer)
            assert answer[-1] in ".!?`:", (intent.name, answer)
            assert len(sentences(answer)) <= 6, (intent.name, answer)


def test_facts_agree_with_the_documentation(corpus: list[Intent]) -> None:
    """Every number, code, header, path and command of an answer stands in the docs."""
    unknown = {
        intent.name: sorted(missing)
        for intent in corpus
        if (missing := {fact for answer in intent.answers for fact in facts(answer) if not _is_told(fact)})
    }
    assert unknown == {}


@functools.cache
def _is_told(fact: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(fact)}(?![\w])", _DOCS) is not None
