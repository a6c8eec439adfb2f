"""The answers of POST /v1/chat/completions, as OpenAI's document has them (openai-openapi f85dbe223d40, 2026-08-21).

What an upstream sends beside these fields is passed on.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from techstone.wire.chat import ToolCall
from techstone.wire.usage import BilledUsage

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class AnswerMessage(msgspec.Struct):
    """What the model said; `content` is null where it calls tools."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    tool_calls: list[ToolCall] | msgspec.UnsetType = msgspec.UNSET


class Choice(msgspec.Struct):
    """One of `n` answers."""

    index: int
    message: AnswerMessage
    logprobs: dict[str, msgspec.Raw] | None
    finish_reason: FinishReason


class ChatCompletion(msgspec.Struct):
    """A whole answer; `created` in unix seconds."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: BilledUsage


class ToolCallDelta(msgspec.Struct):
    """A piece of a tool call: id, type and name come once, with the first piece of an index."""

    index: int
    id: str | msgspec.UnsetType = msgspec.UNSET
    type: Literal["function"] | msgspec.UnsetType = msgspec.UNSET
    function: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class Delta(msgspec.Struct):
    """What is new; empty in a choice's last chunk."""

    role: Literal["assistant"] | msgspec.UnsetType = msgspec.UNSET
    content: str | msgspec.UnsetType | None = msgspec.UNSET
    refusal: str | msgspec.UnsetType | None = msgspec.UNSET
    tool_calls: list[ToolCallDelta] | msgspec.UnsetType = msgspec.UNSET


class ChunkChoice(msgspec.Struct):
    """A piece of one of `n` answers; `finish_reason` is null but in its last."""

    index: int
    delta: Delta
    finish_reason: FinishReason | None
    logprobs: dict[str, msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET


class ChatCompletionChunk(msgspec.Struct):
    """A piece of a stream. `usage` is there where `stream_options.include_usage` asks for it, null but in the last."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: BilledUsage | msgspec.UnsetType | None = msgspec.UNSET
