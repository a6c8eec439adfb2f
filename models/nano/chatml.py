"""How a conversation is put before the model: ChatML, the same in training and by the chat template of its file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dialogues import Message

END_OF_TEXT, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

# Of a conversation the model is shown the system's message and the last five others: longer ones are beyond
# what it has learned from. Questions are put in lower case, as `show` does. A `tools` list is shown as JSON, and
# calls and results are told, so that no request fails.
TEMPLATE = (
    "{%- if tools %}{{- '<|im_start|>system\\nTools: ' + (tools | tojson) + '<|im_end|>\\n' }}{%- endif %}"
    "{%- set skipped = (messages | length) - 5 %}"
    "{%- for message in messages %}"
    "{%- set role = 'system' if message.role == 'developer' else message.role %}"
    "{%- if loop.index0 >= skipped or role == 'system' %}"
    "{{- '<|im_start|>' + role + '\\n' }}"
    "{%- if role == 'user' %}{{- ' ' }}{%- endif %}"
    "{%- if message.content is string %}"
    "{%- if role == 'user' %}{{- message.content | lower }}{%- else %}{{- message.content }}{%- endif %}"
    "{%- elif message.content %}{%- for part in message.content %}{%- if part.text %}"
    "{%- if role == 'user' %}{{- part.text | lower }}{%- else %}{{- part.text }}{%- endif %}"
    "{%- endif %}{%- endfor %}{%- endif %}"
    "{%- if message.tool_calls %}{{- message.tool_calls | tojson }}{%- endif %}"
    "{{- '<|im_end|>\\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


class _Encoded(Protocol):
    @property
    def ids(self) -> list[int]: ...


class Tokenizer(Protocol):
    """What of `tokenizers.Tokenizer` is used here."""

    def encode(self, sequence: str) -> _Encoded:
        """Return the tokens of a text."""
        ...


def show(role: str, text: str) -> str:
    """Return a message as the model is shown it: questions in lower case, with the space that a word has in a sentence.

    A model of this size should not spend itself on one word in three spellings. The chat template does the same.
    """
    return f" {text.lower()}" if role == "user" else text


def encode(tokenizer: Tokenizer, dialogue: list[Message]) -> tuple[list[int], list[bool], dict[int, str]]:
    """Return the tokens of a dialogue in ChatML, which of them the model has to write itself, and where it begins to.

    The last: the places of the tokens before an answer's first, with the intent that is answered.
    """
    tokens: list[int] = []
    own: list[bool] = []
    begun: dict[int, str] = {}
    for role, text, intent in dialogue:
        head = tokenizer.encode(f"{START}{role}\n").ids
        body = tokenizer.encode(f"{show(role, text)}{END}").ids
        tail = tokenizer.encode("\n").ids
        tokens += head
        if intent:
            begun[len(tokens) - 1] = intent
        tokens += body + tail
        own += [False] * len(head) + [role == "assistant"] * len(body) + [False] * len(tail)
    return tokens, own, begun
