"""The built-in model's evaluation is apart from what it was trained on, and each question can be answered right."""

from __future__ import annotations

from apart import find_shared
from evaluate import is_circle, is_right
from intents import read_corpus
from questions import Question, read_questions


def test_no_sentence_of_the_evaluation_is_trained_on() -> None:
    """But for the spec's own question, which must be answered by everybody's first copy and paste."""
    assert find_shared() == []


def test_evaluation_is_wide_enough() -> None:
    """At least 200 questions; of every topic of the corpus at least ten, with follow-ups and wishes for a form."""
    questions = read_questions()
    assert len(questions) >= 200
    topics = {intent.topic for intent in read_corpus()}
    few = {topic for topic in topics if sum(question.topic == topic for question in questions) < 10}
    assert few == set()
    assert sum(bool(question.before) for question in questions) >= 40
    assert {question.form for question in questions} == {"", "brief", "list"}


def test_every_question_has_a_taught_answer() -> None:
    """What nobody taught cannot be right: the words that are expected stand in some answer."""
    answers = [answer for intent in read_corpus() for answer in intent.answers]
    plain = [question for question in read_questions() if not question.form]
    lost = [question.text for question in plain if not any(is_right(question, answer) for answer in answers)]
    assert lost == []


def test_answers_are_judged_by_facts_and_form() -> None:
    asked = Question("limits", "pro?", (("500", "Minute"), ("many",)))
    assert is_right(asked, "There are 500 a minute. And more.")
    assert not is_right(asked, "There are 500.")
    brief, listed = (Question("limits", "pro?", (("500",),), form=form) for form in ("brief", "list"))
    assert is_right(brief, "There are 500 a minute.")
    assert not is_right(brief, "There are 500. And more.")
    assert is_right(listed, "- 500 a minute.\n- And more.")
    assert not is_right(listed, "500 a minute.")


def test_circles_are_seen() -> None:
    once = "the plan allows five hundred requests a minute and no more"
    assert not is_circle(once, "stop")
    assert is_circle(once, "length"), "it did not end by itself"
    assert is_circle(f"{once}, {once}, {once}", "stop")
