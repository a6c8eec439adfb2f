"""The engine's dialect: what it is asked, and how its answer is brought back."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.core.dialects import engine

_MESSAGES = [{"role": "user", "content": "hi"}]
_TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "required": ["city"]}}},
    {"type": "function", "function": {"name": "clock"}},
]


def adapt(**fields: object) -> engine.Request:
    body = json.dumps({"model": "m", "messages": _MESSAGES, **fields}).encode()
    n = fields.get("n")
    return engine.adapt(msgspec.json.decode(body, type=dict[str, msgspec.Raw]), n if isinstance(n, int) else 1)


def asked(request: engine.Request) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(msgspec.json.encode(request.fields))
    return decoded


def answer(*contents: str, **more: object) -> bytes:
    choices = [
        {"index": index, "message": {"role": "assistant", "content": content}, "finish_reason": "stop", **more}
        for index, content in enumerate(contents)
    ]
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return json.dumps({"id": "c", "created": 7, "choices": choices, "usage": usage}).encode()


def restored(request: engine.Request, body: bytes, *, logprobs: bool = False) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(engine.restore(body, engine.Form(request, "call_1", logprobs)))
    return decoded


def test_parameters_of_llama_cpp_alone_are_left_out() -> None:
    """A client cannot set what gets round the limits that were admitted, or pins a slot."""
    own = {"n_predict": 9, "grammar": "root ::= 'x'", "id_slot": 0, "ignore_eos": True, "lora": [], "json_schema": {}}
    assert asked(adapt(top_k=5, temperature=0.5, seed=None, **own)) == {
        "model": "m",
        "messages": _MESSAGES,
        "top_k": 5,
        "temperature": 0.5,
    }


def test_developer_becomes_system() -> None:
    """Chat templates of open models know no developer role; the word in a text stays."""
    messages = [{"role": "developer", "content": "I am a developer"}, {"role": "user", "content": "x"}]
    assert asked(adapt(messages=messages))["messages"] == [{**messages[0], "role": "system"}, messages[1]]


def test_null_is_left_out() -> None:
    """OpenAI's clients dump what they got; llama.cpp answers 500 to a null name. A null in a schema has a meaning."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "assistant", "content": None, "name": None, "refusal": None, "tool_calls": [call]},
        {"role": "tool", "content": "null", "tool_call_id": "a", "name": None},
    ]
    schema = {"type": "object", "properties": {"unit": {"enum": ["c", None]}}}
    tool = {"type": "function", "function": {"name": "f", "description": None, "parameters": schema}, "custom": None}
    request = asked(adapt(messages=messages, tools=[tool]))
    assert request["messages"] == [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "null", "tool_call_id": "a"},
    ]
    assert request["tools"] == [{"type": "function", "function": {"name": "f", "parameters": schema}}]


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("required", ["weather", "clock"]),
        ({"type": "function", "function": {"name": "clock"}}, ["clock"]),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "weather"}}],
                },
            },
            ["weather"],
        ),
    ],
)
def test_forced_tool_becomes_schema(choice: object, names: list[str]) -> None:
    """The engine is asked, whole, for JSON that names one of the tools that may be called."""
    request = adapt(tools=_TOOLS, tool_choice=choice, stream=True, stream_options={"include_usage": True})
    fields = asked(request)
    schema = fields["response_format"]["json_schema"]["schema"]
    variants = schema.get("anyOf", [schema])
    assert request.whole
    assert [variant["properties"]["name"]["const"] for variant in variants] == names
    assert not {"tools", "tool_choice", "stream", "stream_options"} & set(fields)


@pytest.mark.parametrize(
    "choice", [None, "auto", "none", {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}]
)
def test_unforced_tools_are_passed_on(choice: object) -> None:
    """Where the model may choose, its own chat template decides how."""
    request = adapt(tools=_TOOLS, tool_choice=choice, stream=True)
    assert not request.whole
    assert asked(request)["tools"] == _TOOLS


def test_forced_answer_becomes_tool_call() -> None:
    """The JSON that the schema enforced is the call; its arguments are JSON text."""
    body = answer('{"name":"weather","arguments":{"city":"Rom"}}')
    choice = restored(adapt(tools=_TOOLS, tool_choice="required"), body)["choices"][0]
    call = {"id": "call_1_0", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rom"}'}}
    assert choice["message"] == {"role": "assistant", "content": None, "tool_calls": [call]}
    assert choice["finish_reason"] == "tool_calls"


def test_call_cut_off_stays_text() -> None:
    """Half a call is no call: its finish_reason `length` says what happened."""
    body = answer('{"name":"weath', finish_reason="length")
    choice = restored(adapt(tools=_TOOLS, tool_choice="required"), body)["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ('{"name":"weath', "length")


@pytest.mark.parametrize("logprobs", [True, False])
def test_tokens_of_every_choice_are_counted(*, logprobs: bool) -> None:
    """llama.cpp reports the tokens of one choice; the logprobs count them all, and go where nobody asked for them."""
    entries = {"content": [{"token": "a"}, {"token": "b"}]}
    request = adapt(n=3, logprobs=logprobs)
    assert asked(request)["logprobs"] is True
    out = restored(request, answer("x", "y", "z", logprobs=entries), logprobs=logprobs)
    assert out["usage"] == {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9}
    assert [choice["logprobs"] for choice in out["choices"]] == [entries if logprobs else None] * 3


def test_stream_told_of_call_has_indices() -> None:
    """A tool call in a chunk carries its index; the finish chunk is empty; usage and `[DONE]` close."""
    request = adapt(tools=_TOOLS, tool_choice="required", stream=True)
    body = engine.restore(answer('{"name":"clock","arguments":{}}'), engine.Form(request, "call_1", logprobs=False))
    events = engine.replay(body).decode().split("\n\n")
    first, finish, usage = (json.loads(event.removeprefix("data: ")) for event in events[:3])
    assert first["choices"][0]["delta"]["tool_calls"][0]["index"] == 0
    assert finish["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "tool_calls"}
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 5)
    assert events[3:] == ["data: [DONE]", ""]


@given(st.binary(max_size=200) | st.builds(lambda value: json.dumps(value).encode(), st.from_type(dict[str, bool])))
def test_what_is_no_completion_is_left_to_its_reader(body: bytes) -> None:
    """Anything else than a completion passes through as it came."""
    form = engine.Form(adapt(n=2), "call_1", logprobs=False)
    assert engine.restore(body, form) == body
    assert engine.replay(body).startswith(b"data: ")
