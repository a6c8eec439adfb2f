"""The built-in model's evaluation is apart from what it was trained on, and each question can be answered right."""

from __future__ import annotations

import dataclasses

import apart
import pytest
from apart import find_shared
from dialogues import put_brief, put_full, put_listed
from evaluate import OUTSIDE, is_circle, is_right
from intents import Intent, read_corpus
from questions import Question, read_questions

# So many answers of the corpus tell that an estimate says what a request would cost. A question that more of them
# satisfy asks for a word that is everywhere.
_MOST_ANSWERS = 10


@pytest.fixture(scope="module")
def corpus() -> list[Intent]:
    return read_corpus()


@pytest.fixture(scope="module")
def about_product() -> list[Question]:
    """Return what is asked about the product, whatever the form."""
    return [dataclasses.replace(question, form="") for question in read_questions() if question.topic not in OUTSIDE]


def test_no_sentence_of_the_evaluation_is_trained_on() -> None:
    """But for the spec's own question, which must be answered by everybody's first copy and paste."""
    assert find_shared() == []


@pytest.mark.parametrize(
    "text", ["how can I make a token?", "I'm new to this. What is a token?", "Please make it short."]
)
def test_trained_words_are_found_again(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """In other words, as a sentence among others, and as the wish beside a question."""
    intent = Intent("concepts", "concepts-token", (), ("How do I create a token?", "What is a token?"), ("A piece.",))
    monkeypatch.setattr(apart, "read_corpus", lambda: [intent])
    monkeypatch.setattr(apart, "WISHES", {"brief-asked": ("{} Please make it short.",)})
    apart_from_it = Question("concepts", "So what would a token be?", (("piece",),))
    monkeypatch.setattr(apart, "read_questions", lambda: [Question("concepts", text, (("piece",),)), apart_from_it])
    assert find_shared() == [text]


def test_evaluation_is_wide_enough(corpus: list[Intent]) -> None:
    """At least 200 questions; of every topic of the corpus at least ten, with follow-ups and wishes for a form."""
    questions = read_questions()
    assert len(questions) >= 200
    topics = {intent.topic for intent in corpus}
    few = {topic for topic in topics if sum(question.topic == topic for question in questions) < 10}
    assert few == set()
    assert sum(bool(question.before) for question in questions) >= 40
    assert {question.form for question in questions} == {"", "brief", "list"}


def test_every_question_has_a_taught_answer(corpus: list[Intent]) -> None:
    """What nobody taught cannot be right: the words that are expected stand in some answer, put in the wished form."""
    put = {"": put_full, "brief": put_brief, "list": put_listed}
    answers = {form: [way(answer) for intent in corpus for answer in intent.answers] for form, way in put.items()}
    questions = read_questions()
    lost = [asked.text for asked in questions if not any(is_right(asked, answer) for answer in answers[asked.form])]
    assert lost == []


def test_refusal_is_no_answer(corpus: list[Intent], about_product: list[Question]) -> None:
    """To say that one does not know is wrong here; what follows a refusal, though, is about the product again."""
    refusing = [intent for intent in corpus if intent.topic in OUTSIDE and not intent.after]
    refusals = [answer for intent in refusing for answer in intent.answers]
    assert {asked.text for asked in about_product for refusal in refusals if is_right(asked, refusal)} == set()


def test_question_tells_right_from_wrong(corpus: list[Intent], about_product: list[Question]) -> None:
    """An expectation that many answers satisfy is luck."""
    answers = [answer for intent in corpus for answer in intent.answers]
    counts = {asked.text: sum(is_right(asked, answer) for answer in answers) for asked in about_product}
    assert {text: count for text, count in counts.items() if count > _MOST_ANSWERS} == {}


def test_answers_are_judged_by_facts_and_form() -> None:
    asked = Question("limits", "pro?", (("500", "Minute"), ("many",)))
    assert is_right(asked, "There are 500 a minute. And more.")
    assert not is_right(asked, "There are 500.")
    brief, listed = (Question("limits", "pro?", (("500",),), form=form) for form in ("brief", "list"))
    assert is_right(brief, "There are 500 a minute.")
    assert not is_right(brief, "There are 500. And more.")
    assert is_right(listed, "- 500 a minute.\n- And more.")
    assert is_right(listed, "- There are 500.")
    assert not is_right(listed, "500 a minute.")
    assert not is_right(listed, "- There are 500.\nAnd more.")
    assert not is_right(listed, "- There are 500. And more. And more."), "one dash makes no list of a paragraph"


def test_circles_are_seen() -> None:
    once = "the plan allows five hundred requests a minute and no more"
    assert not is_circle(once, "stop")
    assert is_circle(once, "length"), "it did not end by itself"
    assert is_circle(f"{once}, {once}, {once}", "stop")
