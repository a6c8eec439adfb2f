"""The dialect of the embedded engine: forced tools, for models whose chat template knows no tools.

llama.cpp enforces a JSON schema by grammar on any model, but a tool call only where the template has a form for it. So
a `tool_choice` that forces a call becomes a schema over the tools (`{"name": …, "arguments": …}`), asked for whole, and
the JSON that comes back becomes `tool_calls`, as one answer or as the events of a stream.
"""

from __future__ import annotations

import msgspec

_ENCODER = msgspec.json.Encoder()
_OBJECT = {"type": "object"}


class _Function(msgspec.Struct):
    name: str
    parameters: object = None  # a schema of any form: the engine's to judge


class _Tool(msgspec.Struct):
    type: str
    function: _Function | None = None


class _Named(msgspec.Struct):
    name: str


class _Choice(msgspec.Struct):
    type: str
    function: _Named | None = None


class _Call(msgspec.Struct):
    name: str
    arguments: msgspec.Raw


_TOOLS = msgspec.json.Decoder(list[_Tool])
_CHOICE = msgspec.json.Decoder(str | _Choice)
_CALL = msgspec.json.Decoder(_Call)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_REPLACED = ("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "stream", "stream_options")


def force(fields: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw] | None:
    """Return the request's fields with a schema in place of forced tools; None where no tool is forced."""
    tools, choice = fields.get("tools"), fields.get("tool_choice")
    if tools is None or choice is None:
        return None
    functions = [tool.function for tool in _TOOLS.decode(tools) if tool.function is not None]
    chosen = _CHOICE.decode(choice)
    if isinstance(chosen, _Choice) and chosen.function is not None:
        functions = [function for function in functions if function.name == chosen.function.name]
    elif chosen != "required":
        return None
    if not functions:
        return None
    schema = {"anyOf": [_describe(function) for function in functions]} if functions[1:] else _describe(functions[0])
    format_ = {"type": "json_schema", "json_schema": {"name": "tool_call", "strict": True, "schema": schema}}
    kept = {name: value for name, value in fields.items() if name not in _REPLACED}
    return {**kept, "response_format": msgspec.Raw(_ENCODER.encode(format_))}


def _describe(function: _Function) -> dict[str, object]:
    return {
        "type": "object",
        "properties": {"name": {"const": function.name}, "arguments": function.parameters or _OBJECT},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


class _Message(msgspec.Struct):
    content: str | None = None


class _Answered(msgspec.Struct):
    message: _Message
    index: int = 0
    finish_reason: str | None = None


_ANSWERS = msgspec.json.Decoder(list[_Answered])


def restore(body: bytes, call_id: str) -> bytes:
    """Return the completion with `tool_calls` in place of the JSON that the schema enforced.

    A choice that ended at its token limit in the middle of the JSON is left as it is: its finish_reason says so.
    """
    try:
        fields = _FIELDS.decode(body)
        choices = [_restore_choice(choice, call_id) for choice in _ANSWERS.decode(fields["choices"])]
    except (msgspec.MsgspecError, KeyError):
        return body  # no completion; who reads it next says so
    return _ENCODER.encode({**fields, "choices": choices})


def _restore_choice(choice: _Answered, call_id: str) -> dict[str, object]:
    message: dict[str, object] = {"role": "assistant", "content": choice.message.content}
    reason = choice.finish_reason
    try:
        call = _CALL.decode(choice.message.content or "")
    except msgspec.MsgspecError:
        pass
    else:
        function = {"name": call.name, "arguments": bytes(call.arguments).decode()}
        message = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": f"{call_id}_{choice.index}", "type": "function", "function": function}],
        }
        reason = "tool_calls"
    return {"index": choice.index, "message": message, "logprobs": None, "finish_reason": reason}


class _Whole(msgspec.Struct):
    choices: list[dict[str, object]]
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
    for choice in whole.choices:
        message = choice["message"]
        delta = (
            {name: value for name, value in message.items() if value is not None} if isinstance(message, dict) else {}
        )
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            delta["tool_calls"] = [{"index": number, **call} for number, call in enumerate(calls)]
        index = choice["index"]
        events.append({**base, "choices": [{"index": index, "delta": delta, "finish_reason": None}]})
        ending = {"index": index, "delta": {}, "finish_reason": choice["finish_reason"]}
        events.append({**base, "choices": [ending]})
    events.append({**base, "choices": [], "usage": whole.usage})
    return b"".join(b"data: %b\n\n" % _ENCODER.encode(event) for event in events) + b"data: [DONE]\n\n"
