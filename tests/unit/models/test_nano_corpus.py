"""The built-in model's corpus: wide enough, of one mind, and true to the documentation."""

from __future__ import annotations

import functools
import re
import shlex
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from intents import Intent, normalise, read_corpus, sentences
from noise import settle

from techstone.app.cli.root import techstone
from techstone.app.presets import MODELS, PLANS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ROOT = Path(__file__).parents[3]

_PAGES = [*(ROOT / "docs").rglob("*.md"), *map(ROOT.joinpath, ("README.md", "techstone.example.toml", "Makefile"))]
_DOCS = "\n".join(file.read_text("utf-8") for file in _PAGES)
_QUOTED = re.compile(r"`([^`]+)`")
_NUMBER = re.compile(r"(?<![\w.,-])\d[\d,]*(?:\.\d+)*")
# What an answer leaves to the reader: "PORT=…" tells PORT, "sk-..." tells sk-.
_LEFT = re.compile(r"=?(?:…|\.\.\.).*")
# Quoted words that no page of ours can tell: a place for the reader's own, and a variable of every shell.
_NOT_OURS = {"ADDRESS", "PATH"}
_COMMAND = re.compile(r"`(?:docker exec NAME )?techstone ([^`<>|]+)[^`]*`")
_GROUP_HAS = re.compile(r"`techstone (\w+)` has ")
_SHORTEST, _LONGEST = 3, 75
# Small numbers are words of the language ("2 ways"), not facts.
_COUNTED = {"1", "2", "3"}

# A plan by its name, and where the part of a sentence begins that tells of the next one.
_PLAN = re.compile(r"\b(?:Pay As You Go|Pro|Enterprise)\b|`(?:pay-as-you-go|pro|enterprise)`")
_NEXT_PLAN = re.compile(rf"[,;] (?=(?:(?![,;] ).)*?(?:{_PLAN.pattern}))")
_LIMIT = re.compile(
    r"(?P<figure>(?<![\w.,-])\d[\d,]*\b(?! seconds))"
    r"|(?P<concurrent>(?:requests )?at a time)|(?P<rpm>requests|RPM)|(?P<tpm>tokens|TPM)"
)
# Two prices in one breath are input and output.
_PAIR = re.compile(r"(\d+\.\d+) and (?:\d+ tokens at )?(?:USD )?(\d+\.\d+)")
_MODEL = re.compile("`(" + "|".join(re.escape(model.name) for model in MODELS) + ")`")
# Amounts have at most three decimals: with more it is what an example comes to.
_PRICE = re.compile(
    r"(?P<figure>(?<![\w.,-])\d+\.\d{1,3}(?!\d)|(?:(?<=USD )|(?<=costs ))\d+(?!\d|\.\d))"
    r"|(?P<cached_input>[Cc]ached input)|(?P<input>input)|(?P<output>output)"
)


@pytest.fixture(scope="module")
def corpus() -> list[Intent]:
    return read_corpus()


def facts(answer: str) -> set[str]:
    """Return what an answer claims that can be looked up: numbers, and the words of what it quotes as code."""
    quoted = {_LEFT.sub("", word.strip(",;")) for text in _QUOTED.findall(answer) for word in text.split()}
    numbers = {number.rstrip(",") for number in _NUMBER.findall(_QUOTED.sub(" ", answer))}
    return (quoted - _NOT_OURS - {""}) | (numbers - _COUNTED)


def commands(answer: str) -> Iterator[list[str]]:
    """Yield the words after `techstone` of each command that an answer quotes, or says that a group of them has."""
    for sentence in sentences(answer):
        yield from (shlex.split(quoted) for quoted in _COMMAND.findall(sentence))
        if group := _GROUP_HAS.match(sentence):
            yield from ([group[1], *quoted.split()] for quoted in _QUOTED.findall(sentence[group.end() :]))


def plans(answer: str) -> Iterator[tuple[str, str]]:
    """Yield plan by plan the part of an answer that tells of it; a sentence without a name goes on about the last."""
    names = [""]
    for sentence in sentences(answer) if _PLAN.search(answer) else ():
        for part in _NEXT_PLAN.split(sentence) if len(_PLAN.findall(sentence)) > 1 else [sentence]:
            names = [name.strip("`").lower().replace(" ", "-") for name in _PLAN.findall(part)] or names
            yield from ((name, part) for name in names)


def models(answer: str) -> Iterator[tuple[str, str]]:
    """Yield model by model the part of an answer from its name to the next one's."""
    first, *rest = _MODEL.split(_PAIR.sub(r"\1 input and \2 output", answer))
    if rest:
        yield from zip(["", *rest[::2]], [first, *rest[1::2]], strict=True)


def figures(parts: Iterable[tuple[str, str]], words: re.Pattern[str]) -> Iterator[tuple[str, str, str]]:
    """Yield whose each figure is, of what, and the figure: of what stands right after it, else of what came last."""
    kind = ""
    for owner, text in parts:
        found = list(words.finditer(text))
        for word, after in zip(found, [*found[1:], None], strict=False):
            named = after if after and word.lastgroup == "figure" and after.lastgroup != "figure" else word
            kind = kind if named.lastgroup == "figure" else str(named.lastgroup)
            if word.lastgroup == "figure":
                yield owner, kind, word[0]


def gather(
    corpus: list[Intent], divide: Callable[[str], Iterator[tuple[str, str]]], words: re.Pattern[str]
) -> set[tuple[str, str, str, str]]:
    """Return all figures of all answers, each behind its intent."""
    parts = ((intent.name, divide(answer)) for intent in corpus for answer in intent.answers)
    return {(name, *fact) for name, divided in parts for fact in figures(divided, words)}


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


def test_question_keeps_its_answer_when_disturbed(corpus: list[Intent]) -> None:
    """No disturbance turns the question of an intent that stands alone into one of another."""
    owners: dict[str, set[str]] = defaultdict(set)
    for intent in corpus:
        for question in () if intent.after else intent.questions:
            owners[settle(question)].add(intent.name)
    assert {text: sorted(names) for text, names in owners.items() if len(names) > 1} == {}


def test_plans_are_told_as_they_are(corpus: list[Intent]) -> None:
    """Every figure of an answer that names a plan is a limit of that plan, and each limit of each plan is told."""
    limits = {(plan.name, kind, f"{getattr(plan, kind):,}") for plan in PLANS for kind in ("rpm", "tpm", "concurrent")}
    told = gather(corpus, plans, _LIMIT)
    assert {row for row in told if row[1:] not in limits} == set()
    assert limits - {row[1:] for row in told} == set()


def test_prices_are_told_as_they_are(corpus: list[Intent]) -> None:
    """Every price after a model's name is the default price of that model, and each one is told."""
    kinds = ("input", "output", "cached_input")
    prices = {(model.name, kind, getattr(model, kind)) for model in MODELS for kind in kinds}
    told = gather(corpus, models, _PRICE)
    assert {row for row in told if row[1:] not in prices} == set()
    assert prices - {row[1:] for row in told} == set()


def test_price_of_a_model_is_told_whole(corpus: list[Intent]) -> None:
    """Where an answer says what a model "costs", it tells both input and output."""
    costs = [
        (intent.name, part[0], {kind for _, kind, _ in figures([part], _PRICE)})
        for intent in corpus
        for answer in intent.answers
        for part in models(answer)
        if part[1].startswith(" costs")
    ]
    assert {model for _, model, _ in costs} == {model.name for model in MODELS}
    assert [row for row in costs if not row[-1] >= {"input", "output"}] == []


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
    """Every number, code, header, path and variable of an answer stands in the docs, or in the Makefile."""
    unknown = {
        intent.name: sorted(missing)
        for intent in corpus
        if (missing := {fact for answer in intent.answers for fact in facts(answer) if not _is_told(fact)})
    }
    assert unknown == {}


def test_commands_are_the_command_lines(corpus: list[Intent]) -> None:
    """Every command of an answer is one of `techstone`'s own, and takes the words that the answer gives it."""
    told = [(intent.name, words) for intent in corpus for answer in intent.answers for words in commands(answer)]
    assert len(told) > 200
    assert [(name, " ".join(words)) for name, words in told if not _is_command(words)] == []


def _is_command(words: list[str]) -> bool:
    command: click.Command = techstone
    while words and isinstance(command, click.Group) and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    try:
        # What stands for the reader's own is no number or time: so it is parsed, and not converted.
        _, left, _ = command.make_parser(click.Context(command)).parse_args(words)
    except click.BadOptionUsage:
        return True  # `techstone serve --port` names an option, and leaves its value
    except click.NoSuchOption:
        return False
    return not left


@functools.cache
def _is_told(fact: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(fact)}(?![\w])", _DOCS) is not None
