"""What the built-in model is trained on: dialogues that keep the corpus's sense, drawn alike from one seed."""

from __future__ import annotations

import itertools
from random import Random

import pytest
from dialogues import WISHES, Dialogues, put_brief, put_full, put_listed, split
from hypothesis import given
from hypothesis import strategies as st
from intents import Intent, expand, normalise, sentences
from noise import disturb, settle

_INTENTS = [
    Intent("limits", "pro", (), ("What does Pro allow?", "pro limits"), ("Pro allows 500 requests. It has 50 slots.",)),
    Intent("limits", "pro-price", ("pro",), ("And what does it cost?",), ("Pro costs what you use.",)),
    Intent("talk", "hello", (), ("Hello",), ("Hello! Ask me anything.",)),
]
_QUESTIONS = [question for intent in _INTENTS for question in intent.questions]
# What each kind of wish asks for: the system's message, a question and a remark after an answer.
_BY_SYSTEM = {"plain": put_full, "brief": put_brief, "list": put_listed}
_BY_USER = {
    "brief-asked": put_brief, "list-asked": put_listed,
    "shorter": put_brief, "listed": put_listed, "longer": put_full, "again": None,
}  # fmt: skip


def test_pattern_stands_for_each_of_its_sentences() -> None:
    assert expand("(What|Which) plans (exist|are there)?") == [
        "What plans exist?", "What plans are there?", "Which plans exist?", "Which plans are there?",
    ]  # fmt: skip
    assert expand(r"what is f\(x\) \| y") == ["what is f(x) | y"]


def test_sentences_end_where_people_hear_it() -> None:
    """Not within names, numbers and paths; the first one is the whole of a brief answer."""
    answer = "gpt-4.1 is at `/v1/models`, e.g. by curl. `techstone doctor` looks. It is free!"
    assert sentences(answer) == [
        "gpt-4.1 is at `/v1/models`, e.g. by curl.",
        "`techstone doctor` looks.",
        "It is free!",
    ]


def test_answers_take_the_form_that_is_asked_for() -> None:
    answer = _INTENTS[0].answers[0]
    assert put_brief(answer) == "Pro allows 500 requests."
    assert put_listed(answer) == "- Pro allows 500 requests.\n- It has 50 slots."


@given(st.integers(0, 10**6))
def test_follow_ups_follow_and_every_question_is_answered(seed: int) -> None:
    """A follow-up's answer comes only after its parent's, the roles take turns, and one seed draws one dialogue."""
    dialogue = Dialogues(_INTENTS, Random(seed)).draw()
    assert dialogue == Dialogues(_INTENTS, Random(seed)).draw()
    turns = dialogue[1:] if dialogue[0].role == "system" else dialogue
    assert [message.role for message in turns] == ["user", "assistant"] * (len(turns) // 2)
    answers = [message for message in turns if message.role == "assistant"]
    told = {intent.name: intent.answers for intent in _INTENTS}
    for at, answer in enumerate(answers):
        assert "costs" not in answer.text or "Pro" in "".join(earlier.text for earlier in answers[:at])
        assert any(text.startswith(answer.text.removeprefix("- ").split("\n")[0]) for text in told[answer.intent])


def test_answers_take_the_form_that_is_wished_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the system's, unless the user wishes for another; "again" is for the form before; each wish is drawn."""
    monkeypatch.setattr("dialogues.disturb", lambda question, _: question)
    system = {text: kind for kind in _BY_SYSTEM for text in WISHES[kind]}
    user = {wish.format(question): kind for kind in _BY_USER for wish in WISHES[kind] for question in _QUESTIONS}
    told = {intent.name: intent.answers[0] for intent in _INTENTS}
    drawn = set()
    for seed in range(1000):
        dialogue = Dialogues(_INTENTS, Random(seed)).draw()
        first = system[dialogue[0].text] if dialogue[0].role == "system" else "plain"
        put = _BY_SYSTEM[first]
        for asked, answer in itertools.pairwise(dialogue):
            if answer.role == "assistant":
                kind = user.get(asked.text, first)
                put = {**_BY_SYSTEM, **_BY_USER}[kind] or put
                assert answer.text == put(told[answer.intent]), (kind, asked.text)
                drawn.add(kind)
    assert drawn == {*_BY_SYSTEM, *_BY_USER}


def test_any_intent_is_answered_in_any_form_whatever_was_asked() -> None:
    """Follow-ups, too, without what they follow: an answer's words go by its code."""
    drawn = set()
    for seed in range(300):
        *system, asked, answer = Dialogues(_INTENTS, Random(seed)).stray()
        assert [message.role for message in (asked, answer)] == ["user", "assistant"]
        assert [message.role for message in system] in ([], ["system"])
        told = next(intent.answers[0] for intent in _INTENTS if intent.name == answer.intent)
        drawn |= {(answer.intent, put) for put in (put_full, put_brief, put_listed) if answer.text == put(told)}
    assert drawn == {(intent.name, put) for intent in _INTENTS for put in (put_full, put_brief, put_listed)}


@given(st.text("abcdefgh ?.!xyz", min_size=1).filter(str.strip), st.integers(0, 10**6))
def test_disturbed_question_is_a_question_still(question: str, seed: int) -> None:
    found = disturb(question, Random(seed))
    assert found.strip()
    assert found == disturb(question, Random(seed))


@pytest.mark.parametrize(
    "question",
    [
        "Why does my key stop after thirty days of silence?",
        "How do I rotate a key with an overlap of one hour?",
        "Where can I see what my account spent in March?",
    ],
)
def test_disturbed_question_asks_the_same_in_another_way(question: str) -> None:
    """It keeps half of its words or more, 95 times in 100, is another text most times, and other words often."""
    words = set(normalise(question).split())
    drawn = [disturb(question, Random(seed)) for seed in range(400)]
    kept = [len(words & set(normalise(found).split())) >= len(words) / 2 for found in drawn]
    assert sum(kept) >= 0.95 * len(drawn)
    assert sum(found != question for found in drawn) > len(drawn) / 2
    assert sum(normalise(found) != normalise(question) for found in drawn) > len(drawn) / 4


@pytest.mark.parametrize(
    ("question", "other"),
    [
        ("How do I create a key?", "how can i make key"),
        ("Explain tokens.", "Tell me about tokens"),
        ("Where can I find the docs?", "where is the documentation"),
        ("I'm getting a 429", "i get a 429"),
        ("What is it?", "what's that"),
    ],
)
def test_questions_that_may_become_each_other_settle_alike(question: str, other: str) -> None:
    """By another word of a line, of two lines with one in common, in two steps, by haste; the sense does not."""
    assert settle(question) == settle(other)
    assert settle(question) != settle("How do I revoke a key?")
    assert settle("Is it me?") == "is it me", "something is left"


@pytest.mark.parametrize("count", [20, 45])
def test_some_questions_of_each_intent_are_kept_back(count: int) -> None:
    asked = Intent("t", "n", (), tuple(f"question {number}" for number in range(count)), ("An answer.",))
    (learned,), kept = split([asked], Random(1))
    assert len(kept) == count // 20
    assert set(learned.questions) | {question for question, _ in kept} == set(asked.questions)
