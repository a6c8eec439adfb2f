"""What the built-in model is shown: the same in training and by the chat template of its file."""

from __future__ import annotations

from types import SimpleNamespace

from chatml import END, START, TEMPLATE, encode, show
from dialogues import Message
from jinja2.sandbox import ImmutableSandboxedEnvironment

_DIALOGUE = [
    Message("system", "You are a helpful Assistant."),
    Message("user", "What does PRO allow?"),
    Message("assistant", "Pro allows 500 requests.", "limits-pro"),
    Message("user", "And Über?"),
]


class Letters:
    """A tokenizer of one token a letter."""

    def encode(self, sequence: str) -> SimpleNamespace:
        return SimpleNamespace(ids=[ord(letter) for letter in sequence])


def test_template_shows_what_was_learned_from() -> None:
    """Questions in lower case after a space, everything else as it is; texts in parts alike."""
    shown = "".join(f"{START}{role}\n{show(role, text)}{END}\n" for role, text, _ in _DIALOGUE)
    whole = [{"role": role, "content": text} for role, text, _ in _DIALOGUE]
    parts = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text, _ in _DIALOGUE]
    template = ImmutableSandboxedEnvironment().from_string(TEMPLATE)
    for messages in (whole, parts):
        assert template.render(messages=messages, add_generation_prompt=True) == f"{shown}{START}assistant\n"


def test_only_answers_are_learned_and_each_tells_its_intent() -> None:
    ids, own, begun = encode(Letters(), _DIALOGUE)
    learned = "".join(chr(one) for one, mine in zip(ids, own, strict=True) if mine)
    assert learned == f"Pro allows 500 requests.{END}"
    [(place, intent)] = begun.items()
    assert intent == "limits-pro"
    assert own[place : place + 2] == [False, True], "the token before the answer's first"
