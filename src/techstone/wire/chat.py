"""The request of POST /v1/chat/completions, as OpenAI's document has it (openai-openapi f85dbe223d40, 2026-08-21).

Only what the gateway judges is typed; schemas, tool parameters and the like are the upstream's business. Ranges stand
in the types, so that one pass decodes and checks; what a failure means to the client is `core.parameters`' to say.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Raw = msgspec.Raw

Unit = Annotated[float, Meta(ge=0, le=1)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Positive = Annotated[int, Meta(ge=1)]
Choices = Annotated[int, Meta(ge=1, le=128)]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Name = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Tier = Literal["auto", "default", "flex", "scale", "priority", "fast"]


class StreamOptions(msgspec.Struct):
    """Options of a stream."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ImageUrl(msgspec.Struct):
    """Where an image is; never fetched by the gateway."""

    url: str
    detail: Literal["auto", "low", "high"] | None = None


# What no type says, as JSON Schema for the API's document; `core.parameters` judges.
_PARTS = {
    "anyOf": [
        {"required": [name], "properties": {"type": {"const": name}, name: {"type": kind}}}
        for name, kind in (
            ("text", "string"),
            ("image_url", "object"),
            ("input_audio", "object"),
            ("file", "object"),
            ("refusal", "string"),
        )
    ]
}
_TEXT = {"type": ["string", "array"]}
_MESSAGES = {
    "anyOf": [
        {
            "required": ["content"],
            "properties": {
                "role": {"enum": ["system", "developer", "user", "assistant", "function"]},
                "content": _TEXT,
            },
        },
        {
            "required": ["content", "tool_call_id"],
            "properties": {"role": {"const": "tool"}, "content": _TEXT, "tool_call_id": {"type": "string"}},
        },
        {
            "required": ["tool_calls"],
            "properties": {"role": {"const": "assistant"}, "tool_calls": {"type": "array", "minItems": 1}},
        },
    ]
}


class Part(msgspec.Struct):
    """A part of a message's content; which fields it must have depends on its type."""

    type: Literal["text", "image_url", "input_audio", "file", "refusal"]
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | None = None
    input_audio: dict[str, Raw] | None = None
    file: dict[str, Raw] | None = None


class CalledFunction(msgspec.Struct):
    """What the model called."""

    name: str
    arguments: str


class ToolCall(msgspec.Struct):
    """A call that an assistant message holds."""

    id: str
    type: Literal["function", "custom"]
    function: CalledFunction | None = None
    custom: dict[str, Raw] | None = None


class Message(msgspec.Struct):
    """A message of any role."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Annotated[list[Annotated[Part, Meta(extra_json_schema=_PARTS)]], Meta(min_length=1)] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    function_call: CalledFunction | None = None


class Function(msgspec.Struct):
    """A function that the model may call."""

    name: Name
    description: str | None = None
    parameters: dict[str, Raw] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct):
    """A tool that the model may use."""

    type: Literal["function", "custom"]
    function: Function | None = None
    custom: dict[str, Raw] | None = None


class Named(msgspec.Struct):
    """A tool, by its name."""

    name: str


class ChosenTool(msgspec.Struct):
    """A tool among those that are allowed."""

    type: Literal["function", "custom"]
    function: Named | None = None
    custom: Named | None = None


class AllowedTools(msgspec.Struct):
    """Which of the tools may be called, or one of which must be."""

    mode: Literal["auto", "required"]
    tools: list[ChosenTool]


class ToolChoice(msgspec.Struct):
    """The tool that must be called, or the tools that may; which field it must have depends on its type."""

    type: Literal["function", "custom", "allowed_tools"]
    function: Named | None = None
    custom: Named | None = None
    allowed_tools: AllowedTools | None = None


class JsonSchema(msgspec.Struct):
    """A schema that the answer must follow."""

    name: Name
    schema: dict[str, Raw] | None = None
    strict: bool | None = None
    description: str | None = None


class ResponseFormat(msgspec.Struct):
    """The form of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ChatBody(msgspec.Struct):
    """The whole request. Unknown parameters are passed on."""

    model: Annotated[str, Meta(extra_json_schema={"minLength": 1})]
    messages: Annotated[list[Annotated[Message, Meta(extra_json_schema=_MESSAGES)]], Meta(min_length=1)]
    temperature: Temperature | None = None
    top_p: Unit | None = None
    n: Choices | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: str | Annotated[list[str], Meta(min_length=1, max_length=4)] | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, Annotated[int, Meta(ge=-100, le=100)]] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    seed: Seed | None = None
    user: str | None = None
    safety_identifier: Annotated[str, Meta(max_length=64)] | None = None
    prompt_cache_key: str | None = None
    metadata: dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]] | None = None
    store: bool | None = None
    service_tier: Tier | None = None
    modalities: list[Literal["text", "audio"]] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    reasoning_effort: Effort | None = None
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
