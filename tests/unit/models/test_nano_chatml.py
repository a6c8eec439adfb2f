"""What the built-in model is shown: the same in training and by the chat template of its file."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from chatml import END, IGNORED, START, TEMPLATE, encode, name_code, show
from dialogues import Message
from jinja2.sandbox import ImmutableSandboxedEnvironment

_DIALOGUE = [
    Message("system", "You are a helpful Assistant."),
    Message("user", "What does PRO allow?"),
    Message("assistant", "Pro allows 500 requests.", "limits-pro"),
    Message("user", "And Über?"),
    Message("assistant", "It costs what you use.", "limits-pro-price"),
]
_ASKED = _DIALOGUE[:-1]


class Letters:
    """A tokenizer of one token a letter, and one a mark."""

    def encode(self, sequence: str) -> SimpleNamespace:
        return SimpleNamespace(ids=[hash(part) for part in re.findall(r"<\|[\w-]+\|>|[^<]", sequence)])


def test_template_shows_what_was_learned_from() -> None:
    """Questions in lower case after a space, everything else as it is; texts in parts alike."""
    shown = "".join(f"{START}{role}\n{show(role, text)}{END}\n" for role, text, _ in _ASKED)
    whole = [{"role": role, "content": text} for role, text, _ in _ASKED]
    parts = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text, _ in _ASKED]
    template = ImmutableSandboxedEnvironment().from_string(TEMPLATE)
    for messages in (whole, parts):
        assert template.render(messages=messages, add_generation_prompt=True) == f"{shown}{START}assistant\n"


@pytest.mark.parametrize("whole", [True, False])
def test_last_answer_is_learned_after_its_code(whole: bool) -> None:  # noqa: FBT001 - both are tried
    """Where an answer begins its code is learned; of the last alone the words, if it is not left at its beginning."""
    tokenizer = Letters()
    ids, targets = encode(tokenizer, _DIALOGUE, whole=whole)
    first, last = (tokenizer.encode(name_code(intent)).ids[0] for intent in ("limits-pro", "limits-pro-price"))
    opening = tokenizer.encode(f"{START}assistant\n").ids
    begins = [place for place in range(len(ids)) if ids[: place + 1][-len(opening) :] == opening]
    words = tokenizer.encode(f"It costs what you use.{END}").ids
    learned = {place: target for place, target in enumerate(targets) if target != IGNORED}
    assert list(learned.values()) == [first, last, *(words if whole else [])]
    assert list(learned)[:2] == begins, "the code is what comes after the mark of an answer"
    assert len(ids) == len(targets)
    if whole:
        assert all(ids[place + 1] == target for place, target in learned.items() if target != first)
    else:
        assert targets[-1] == last


def test_model_learns_from_what_the_template_shows() -> None:
    """Up to the last answer's beginning it is the same; only the last answer has its code, and then its words."""
    tokenizer = Letters()
    messages = [{"role": role, "content": text} for role, text, _ in _ASKED]
    template = ImmutableSandboxedEnvironment().from_string(TEMPLATE)
    shown = template.render(messages=messages, add_generation_prompt=True)
    assert encode(tokenizer, _DIALOGUE, whole=False).ids == tokenizer.encode(shown).ids
    answer = f"{name_code('limits-pro-price')}It costs what you use.{END}\n"
    assert encode(tokenizer, _DIALOGUE, whole=True).ids == tokenizer.encode(f"{shown}{answer}").ids


def test_words_alone_are_learned_of_an_answer_to_something_else() -> None:
    """The code is shown, as when the model wrote it, and not learned: the question does not mean it."""
    tokenizer = Letters()
    ids, targets = encode(tokenizer, _DIALOGUE, whole=True, coded=False)
    assert ids == encode(tokenizer, _DIALOGUE, whole=True).ids
    words = tokenizer.encode(f"It costs what you use.{END}").ids
    assert [target for target in targets if target != IGNORED] == words
