"""The dialect of the embedded engine, llama.cpp: what it is asked in another way than OpenAI, and how that comes back.

Only parameters of OpenAI's document go there, and three samplers: llama.cpp's own ones (`n_predict`, `grammar`,
`id_slot`, …) would get round what was admitted, or make it fail for everybody.

It enforces a JSON schema by grammar on any model, but a tool call only where the chat template has a form for it. So a
`tool_choice` that forces a call becomes a schema over the tools (`{"name": …, "arguments": …}`), asked for whole, and
the JSON that comes back becomes `tool_calls`. Its usage counts one choice only (measured on n: 2), so several choices
are asked for whole and with logprobs, whose entries are the tokens. `replay` tells a whole answer as a stream.
"""

from __future__ import annotations

import msgspec

_ENCODER = msgspec.json.Encoder()
# "Omitting parameters defines a function with an empty parameter list" (OpenAI's document, FunctionObject).
_NONE: dict[str, object] = {"type": "object", "properties": {}, "additionalProperties": False}
_TRUE = msgspec.Raw(b"true")
_SYSTEM = msgspec.Raw(b'"system"')

_TAKEN = frozenset(
    (
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "model",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "response_format",
        "seed",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        # Not OpenAI's, but named alike by every server of open models.
        "min_p",
        "repeat_penalty",
        "top_k",
    )
)
_REPLACED = frozenset(("tools", "tool_choice", "parallel_tool_calls", "response_format"))
_STREAMING = frozenset(("stream", "stream_options"))


class _Function(msgspec.Struct):
    name: str
    parameters: object = None  # a schema of any form: the engine's to judge


class _Tool(msgspec.Struct):
    type: str
    function: _Function | None = None


class _Named(msgspec.Struct):
    name: str


class _Allowed(msgspec.Struct):
    mode: str
    tools: list[_Tool] = []


class _Choice(msgspec.Struct):
    type: str
    function: _Named | None = None
    allowed_tools: _Allowed | None = None


_TOOLS = msgspec.json.Decoder(list[_Tool])
_CHOICE = msgspec.json.Decoder(str | _Choice | None)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_OBJECTS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_STRING = msgspec.json.Decoder(str)


class Request(msgspec.Struct, frozen=True):
    """What the engine is asked, and what is to be done with its answer.

    `forced`: it is a tool call. `counted`: logprobs were added, to count by. Either is asked for `whole`.
    """

    fields: dict[str, msgspec.Raw]
    forced: bool
    counted: bool

    @property
    def whole(self) -> bool:
        """Whether the answer must be read to its end before it can be told."""
        return self.forced or self.counted


def adapt(fields: dict[str, msgspec.Raw], n: int) -> Request:
    """Return a request, read and checked before, as the engine understands it."""
    adapted = {name: value for name, value in fields.items() if name in _TAKEN and bytes(value) != b"null"}
    adapted["messages"] = _adapt_messages(adapted["messages"])
    if "tools" in adapted:
        adapted["tools"] = _adapt_tools(adapted["tools"])
    schema = _read_forced(adapted)
    counted = n > 1
    if schema is not None or counted:
        adapted = {name: value for name, value in adapted.items() if name not in _STREAMING}
    if schema is not None:
        format_ = {"type": "json_schema", "json_schema": {"name": "tool_call", "strict": True, "schema": schema}}
        adapted = {name: value for name, value in adapted.items() if name not in _REPLACED}
        adapted["response_format"] = msgspec.Raw(_ENCODER.encode(format_))
    if bytes(adapted.get("top_logprobs", b"")) == b"0":
        del adapted["top_logprobs"]  # llama.cpp would leave out all logprobs
    if counted:
        adapted["logprobs"] = _TRUE
    return Request(adapted, schema is not None, counted)


def _adapt_messages(messages: msgspec.Raw) -> msgspec.Raw:
    """Return the messages without nulls, with `system` in place of `developer`, a role that templates do not know.

    llama.cpp refuses a null `name` or `tool_call_id` with 500; OpenAI's clients send them when they dump what they got.
    """
    text = bytes(messages)
    if b"developer" not in text and b"null" not in text:
        return messages
    adapted = [_drop_nulls(message, "content") for message in _OBJECTS.decode(messages)]
    for message in adapted:
        if _STRING.decode(message["role"]) == "developer":
            message["role"] = _SYSTEM
    return msgspec.Raw(_ENCODER.encode(adapted))


def _adapt_tools(tools: msgspec.Raw) -> msgspec.Raw:
    """Return the tools without nulls; those within a schema have a meaning, and stay."""
    if b"null" not in bytes(tools):
        return tools
    adapted = [_drop_nulls(tool) for tool in _OBJECTS.decode(tools)]
    for tool in adapted:
        if "function" in tool:
            tool["function"] = msgspec.Raw(_ENCODER.encode(_drop_nulls(_FIELDS.decode(tool["function"]))))
    return msgspec.Raw(_ENCODER.encode(adapted))


def _drop_nulls(fields: dict[str, msgspec.Raw], kept: str | None = None) -> dict[str, msgspec.Raw]:
    return {name: value for name, value in fields.items() if name == kept or bytes(value) != b"null"}


def _read_forced(fields: dict[str, msgspec.Raw]) -> dict[str, object] | None:
    """Return a schema for the tools of which one must be called; None where none must."""
    tools, choice = fields.get("tools"), fields.get("tool_choice")
    if tools is None or choice is None:
        return None
    functions = [tool.function for tool in _TOOLS.decode(tools) if tool.function is not None]
    chosen = _CHOICE.decode(choice)
    if isinstance(chosen, _Choice):
        names = _list_forced(chosen)
        functions = [function for function in functions if function.name in names]
    elif chosen != "required":
        return None
    if not functions:
        return None
    return {"anyOf": [_describe(function) for function in functions]} if functions[1:] else _describe(functions[0])


def _list_forced(chosen: _Choice) -> set[str]:
    """Return the names of the functions of which one must be called; none where none must."""
    if chosen.function is not None:
        return {chosen.function.name}
    allowed = chosen.allowed_tools
    if allowed is None or allowed.mode != "required":
        return set()
    return {tool.function.name for tool in allowed.tools if tool.function is not None}


def _describe(function: _Function) -> dict[str, object]:
    return {
        "type": "object",
        "properties": {"name": {"const": function.name}, "arguments": function.parameters or _NONE},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


class _Call(msgspec.Struct):
    name: str
    arguments: msgspec.Raw


class _Logprobs(msgspec.Struct):
    content: list[msgspec.Raw] = []


class _Answered(msgspec.Struct):
    message: dict[str, msgspec.Raw]
    index: int = 0
    finish_reason: str | None = None
    logprobs: msgspec.Raw = msgspec.Raw(b"null")


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int


_CALL = msgspec.json.Decoder(_Call)
_CONTENT = msgspec.json.Decoder(str | None)
_LOGPROBS = msgspec.json.Decoder(_Logprobs | None)
_ANSWERS = msgspec.json.Decoder(list[_Answered])
_USAGE = msgspec.json.Decoder(_Usage)


class Form(msgspec.Struct, frozen=True):
    """How an answer is brought back: its calls restored, its choices counted, with the logprobs that were asked for."""

    request: Request
    call_id: str
    logprobs: bool


def restore(body: bytes, form: Form) -> bytes:
    """Return the completion that OpenAI would have given.

    A choice that ended at its token limit in the middle of a call is left as it is: its finish_reason says so.
    """
    try:
        fields = _FIELDS.decode(body)
        answers = _ANSWERS.decode(fields["choices"])
        if form.request.counted:
            fields["usage"] = _count(answers, fields["usage"])
    except (msgspec.MsgspecError, KeyError):
        return body  # no completion; who reads it next says so
    return _ENCODER.encode({**fields, "choices": [_restore_choice(answer, form) for answer in answers]})


def _count(answers: list[_Answered], reported: msgspec.Raw) -> msgspec.Raw:
    """Return the usage with the tokens of every choice."""
    usage = _USAGE.decode(reported)
    found = [_LOGPROBS.decode(answer.logprobs) for answer in answers]
    total = sum(len(entry.content) for entry in found if entry is not None)
    completion = max(total, usage.completion_tokens)
    counted: dict[str, object] = {
        **_FIELDS.decode(reported),
        "completion_tokens": completion,
        "total_tokens": usage.prompt_tokens + completion,
    }
    return msgspec.Raw(_ENCODER.encode(counted))


def _restore_choice(answer: _Answered, form: Form) -> dict[str, object]:
    restored = {
        "index": answer.index,
        "message": answer.message,
        "logprobs": answer.logprobs if form.logprobs else None,
        "finish_reason": answer.finish_reason,
    }
    if not form.request.forced:
        return restored
    try:
        call = _CALL.decode(_CONTENT.decode(answer.message.get("content", b"null")) or "")
    except msgspec.MsgspecError:
        return restored
    function = {"name": call.name, "arguments": bytes(call.arguments).decode()}
    calls = [{"id": f"{form.call_id}_{answer.index}", "type": "function", "function": function}]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    return {**restored, "message": message, "finish_reason": "tool_calls"}


class _Told(msgspec.Struct):
    index: int
    message: dict[str, object]
    finish_reason: str | None = None
    logprobs: msgspec.Raw = msgspec.Raw(b"null")


class _Whole(msgspec.Struct):
    choices: list[_Told]
    id: msgspec.Raw = msgspec.Raw(b'""')
    created: msgspec.Raw = msgspec.Raw(b"0")
    usage: msgspec.Raw = msgspec.Raw(b"null")


_WHOLE = msgspec.json.Decoder(_Whole)


def replay(body: bytes) -> bytes:
    """Return a whole completion as the events of a stream, with its usage and `[DONE]`; an error as one event."""
    try:
        whole = _WHOLE.decode(body)
    except msgspec.MsgspecError:
        return b"data: %b\n\n" % body.replace(b"\n", b" ")
    base = {"id": whole.id, "object": "chat.completion.chunk", "created": whole.created, "model": ""}
    events: list[dict[str, object]] = []
    for told in whole.choices:
        delta = {name: value for name, value in told.message.items() if value is not None}
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            delta["tool_calls"] = [{"index": number, **call} for number, call in enumerate(calls)]
        first = {"index": told.index, "delta": delta, "logprobs": told.logprobs, "finish_reason": None}
        ending = {"index": told.index, "delta": {}, "finish_reason": told.finish_reason}
        events += [{**base, "choices": [first]}, {**base, "choices": [ending]}]
    events.append({**base, "choices": [], "usage": whole.usage})
    return b"".join(b"data: %b\n\n" % _ENCODER.encode(event) for event in events) + b"data: [DONE]\n\n"
