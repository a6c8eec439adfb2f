"""What the built-in model is trained on: dialogues that keep the corpus's sense, drawn alike from one seed."""

from __future__ import annotations

from random import Random

import pytest
from dialogues import Dialogues, Form, split
from hypothesis import given
from hypothesis import strategies as st
from intents import Intent, expand, sentences
from noise import disturb

_INTENTS = [
    Intent("limits", "pro", (), ("What does Pro allow?", "pro limits"), ("Pro allows 500 requests. It has 50 slots.",)),
    Intent("limits", "pro-price", ("pro",), ("And what does it cost?",), ("Pro costs what you use.",)),
    Intent("talk", "hello", (), ("Hello",), ("Hello! Ask me anything.",)),
]


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
    assert Form.brief(answer) == "Pro allows 500 requests."
    assert Form.listed(answer) == "- Pro allows 500 requests.\n- It has 50 slots."


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


@given(st.text("abcdefgh ?.!xyz", min_size=1).filter(str.strip), st.integers(0, 10**6))
def test_disturbed_question_is_a_question_still(question: str, seed: int) -> None:
    found = disturb(question, Random(seed))
    assert found.strip()
    assert found == disturb(question, Random(seed))


@pytest.mark.parametrize("count", [20, 45])
def test_some_questions_of_each_intent_are_kept_back(count: int) -> None:
    asked = Intent("t", "n", (), tuple(f"question {number}" for number in range(count)), ("An answer.",))
    (learned,), kept = split([asked], Random(1))
    assert len(kept) == count // 20
    assert set(learned.questions) | {question for question, _ in kept} == set(asked.questions)
