"""How a conversation is put before the model: ChatML, the same in training and by the chat template of its file."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from dialogues import Message

IGNORED = -100  # PyTorch's own number
MARKS = END_OF_TEXT, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

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


def name_code(intent: str) -> str:
    """Return the token by which the model names the intent to itself, before it writes the answer.

    A control token: llama.cpp shows it to nobody. Without it the first word would be the one that most answers begin
    with, and not that of the likeliest answer.
    """
    return f"<|{intent}|>"


class Encoded(NamedTuple):
    """A dialogue's tokens, and of each what is to be learned to come next, or IGNORED."""

    ids: list[int]
    targets: list[int]


def encode(tokenizer: Tokenizer, dialogue: list[Message], *, whole: bool, coded: bool = True) -> Encoded:
    """Return a dialogue in ChatML. Of its last answer code and words are learned, of those before the code alone.

    Earlier answers have no code: the chat template does not know it. Unless `whole`, it ends before the last answer.
    Unless `coded`, codes are not learned: the answer is one of another question.
    """
    ids: list[int] = []
    targets: list[int] = []
    for place, (role, text, intent) in enumerate(dialogue):
        ids += tokenizer.encode(f"{START}{role}\n").ids
        targets += [IGNORED] * (len(ids) - len(targets))
        code = tokenizer.encode(name_code(intent)).ids if intent else []
        targets[-1:] = (coded and code) or targets[-1:]
        last = place == len(dialogue) - 1
        if last and not whole:
            break
        body = tokenizer.encode(f"{show(role, text)}{END}").ids
        ids += (code if last else []) + body + tokenizer.encode("\n").ids
        targets += [*body, IGNORED, IGNORED] if last else [IGNORED] * (len(ids) - len(targets))
    return Encoded(ids, targets)
