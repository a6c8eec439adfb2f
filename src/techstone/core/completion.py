"""A whole chat completion on its way through: brought to OpenAI's full form, its usage read.

An answer that has the full form already is copied, with the model's name exchanged; a sloppy one (llama.cpp's
`timings`, a missing `refusal`, `logprobs` or `usage`) is written anew. What is no completion at all: `NotACompletion`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from techstone.core.tally import Tally, is_plausible, read_usage
from techstone.wire.completion import FinishReason
from techstone.wire.usage import BilledUsage, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

_FINISHES = frozenset(get_args(FinishReason))
_KEPT = ("service_tier", "system_fingerprint", "metadata", "moderation")
_ENCODER = msgspec.json.Encoder()
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class NotACompletion(Exception):
    """The body is no chat completion. `error` is its error object if it has one (llama.cpp sends them under 200)."""

    def __init__(self, message: str, error: bytes | None = None) -> None:
        super().__init__(message)
        self.error = error


class _FullMessage(msgspec.Struct):
    role: Literal["assistant"]
    content: str | None
    refusal: str | None


class _FullChoice(msgspec.Struct):
    index: int
    message: _FullMessage
    logprobs: msgspec.Raw
    finish_reason: FinishReason


class _Full(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: msgspec.Raw
    choices: list[_FullChoice]
    usage: Usage
    service_tier: msgspec.Raw = msgspec.Raw(b"null")
    system_fingerprint: msgspec.Raw = msgspec.Raw(b"null")
    metadata: msgspec.Raw = msgspec.Raw(b"null")
    moderation: msgspec.Raw = msgspec.Raw(b"null")


class _Choice(msgspec.Struct):
    index: int = 0
    message: dict[str, object] | None = None
    finish_reason: str | None = None
    logprobs: object = None


# Unescaped quotes: never inside a string, so a member of some object; if it is the only one, the answer's own.
_USAGE = b'"usage":'
_SEARCHED = len(_USAGE) + 2
_FULL = msgspec.json.Decoder(_Full)
_CHOICES = msgspec.json.Decoder(list[_Choice])


def rewrite(body: bytes, model: str, fallback: Callable[[], tuple[str, int]], tally: Tally) -> bytes:
    """Return the answer for the client; put its usage into the tally.

    `fallback` gives the id and the creation time where the upstream gives none.
    """
    if not _is_utf8(body):
        raise NotACompletion("the body is not UTF-8")
    try:
        full = _FULL.decode(body)
    except msgspec.MsgspecError:
        return _write_anew(body, model, fallback, tally)
    usage = full.usage
    total = usage.prompt_tokens + usage.completion_tokens
    if not (full.choices and usage.completion_tokens and usage.total_tokens == total and is_plausible(usage)):
        return _write_anew(body, model, fallback, tally)
    tally.usage = usage
    asked = _ENCODER.encode(model)
    named = bytes(full.model)
    if named == asked:
        return body
    found = b'"model":' + named
    if body.count(found) == 1:
        return body.replace(found, b'"model":' + asked)
    fields = _FIELDS.decode(body)
    fields["model"] = msgspec.Raw(asked)
    return _ENCODER.encode(fields)


def put_usage(body: bytes, usage: Usage, cost: str) -> bytes:
    """Return the answer with its cost in its usage; what is written already stays as it is, where it may."""
    at = body.rfind(_USAGE)
    if at >= 0 and body.find(_USAGE, 0, at) < 0 and b'"cost"' not in body:
        start = body.find(b"{", at, at + _SEARCHED) + 1
        if start and body[start : start + 1] == b'"':
            return b'%b"cost":"%b",%b' % (body[:start], cost.encode(), body[start:])
    fields = _FIELDS.decode(body)
    fields["usage"] = msgspec.Raw(_ENCODER.encode(BilledUsage.of(usage, cost)))
    return _ENCODER.encode(fields)


def _write_anew(body: bytes, model: str, fallback: Callable[[], tuple[str, int]], tally: Tally) -> bytes:
    try:
        fields = _FIELDS.decode(body)
        raw = fields.get("choices")
        choices = _CHOICES.decode(raw) if raw is not None else None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NotACompletion("the body is no chat completion") from error
    if "error" in fields and bytes(fields["error"]) not in {b"null", b"{}", b'""'}:
        raise NotACompletion("an error under status 200", body)
    if not choices:
        raise NotACompletion("a completion without choices")
    out: dict[str, object] = {
        "id": _text(fields.get("id")) or fallback()[0],
        "object": "chat.completion",
        "created": _number(fields.get("created")) or fallback()[1],
        "model": model,
        "choices": [_write_choice(choice, tally) for choice in choices],
    }
    tally.usage = read_usage(fields["usage"]) if "usage" in fields else None
    out["usage"] = tally.settled()
    for name in _KEPT:
        if name in fields and bytes(fields[name]) != b"null":
            out[name] = fields[name]
    return _ENCODER.encode(out)


def _write_choice(choice: _Choice, tally: Tally) -> dict[str, object]:
    if choice.message is None:
        raise NotACompletion("a choice without a message")
    message = {name: value for name, value in choice.message.items() if value is not None}
    _count(message, choice.index, tally)
    whole: dict[str, object] = {"role": "assistant", "content": None, "refusal": None}
    whole.update(message)
    whole["role"] = "assistant"
    reason = choice.finish_reason if choice.finish_reason in _FINISHES else "stop"
    return {"index": choice.index, "message": whole, "logprobs": choice.logprobs, "finish_reason": reason}


def _count(message: dict[str, object], index: int, tally: Tally) -> None:
    for name in ("content", "reasoning_content", "reasoning", "refusal"):
        text = message.get(name)
        if isinstance(text, str):
            tally.take(text, index, name)
    calls = message.get("tool_calls")
    for position, call in enumerate(calls if isinstance(calls, list) else []):
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            for part in ("name", "arguments"):
                text = function.get(part)
                if isinstance(text, str):
                    tally.take(text, index, f"tool {position} {part}")


def _is_utf8(data: bytes) -> bool:
    try:
        return data.isascii() or bool(data.decode())
    except UnicodeDecodeError:
        return False


def _text(raw: msgspec.Raw | None) -> str | None:
    try:
        return msgspec.json.decode(raw, type=str) if raw is not None else None
    except msgspec.MsgspecError:
        return None


def _number(raw: msgspec.Raw | None) -> int | None:
    try:
        return msgspec.json.decode(raw, type=int) if raw is not None else None
    except msgspec.MsgspecError:
        return None
