"""What is wrong with a request: named by its path, at a cost that does not grow with what is right about it."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from techstone.core import chat
from techstone.core.errors import InvalidRequest

USER = {"role": "user", "content": "hi"}
TOOLS = [{"type": "function", "function": {"name": "f"}}]


def _refuse(body: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        chat.read(body)
    assert caught.value.status == 400
    return caught.value


def _refuse_fields(**fields: object) -> InvalidRequest:
    return _refuse(json.dumps({"model": "m", "messages": [USER], **fields}).encode())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": "warm"}, "Invalid type for 'temperature': expected a decimal, but got a string instead."),
        ({"n": 1.5}, "Invalid type for 'n': expected an integer, but got a decimal number instead."),
        ({"stop": {}}, "Invalid type for 'stop': expected a string or an array, but got an object instead."),
        ({"messages": None}, "Invalid type for 'messages': expected an array, but got null instead."),
        ({"messages": [True]}, "Invalid type for 'messages[0]': expected an object, but got a boolean instead."),
        (
            {"n": 129},
            "Invalid 'n': integer above maximum value. Expected a value <= 128, but got 129 instead.",
        ),
        (
            {"temperature": -0.5},
            "Invalid 'temperature': decimal below minimum value. Expected a value >= 0.0, but got -0.5 instead.",
        ),
        ({"service_tier": "gold"}, "Invalid value: \"gold\" for 'service_tier'. Invalid enum value 'gold'."),
        ({"safety_identifier": "x" * 65}, "Invalid 'safety_identifier': string length above maximum of 64."),
        ({"metadata": {"a": "x" * 513}}, "Invalid 'metadata': string length above maximum of 512."),
        ({"metadata": {"k" * 65: "x"}}, "Invalid 'metadata': string length above maximum of 64."),
        (
            {"seed": 2**63},
            f"Invalid 'seed': integer above maximum value. Expected a value <= {2**63 - 1}, but got {2**63} instead.",
        ),
        ({"metadata": {"a": 1}}, "Invalid type for 'metadata': expected a string, but got an integer instead."),
    ],
)
def test_message_says_what_was_expected_and_what_came(fields: dict[str, object], message: str) -> None:
    """In the words of OpenAI's API, with the value that is wrong."""
    assert _refuse_fields(**fields).message == message


def test_missing_model_is_named_in_openais_words() -> None:
    """Clients show this text to people who have just begun."""
    error = _refuse(b'{"messages":[{"role":"user","content":"hi"}]}')
    assert (error.message, error.param) == ("you must provide a model parameter", "model")


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_choice": "auto"},
        {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "g"}}},
    ],
)
def test_tool_choice_chooses_among_the_tools(fields: dict[str, object]) -> None:
    """Without tools, or with a name that none of them has, there is nothing to choose."""
    assert _refuse_fields(**fields).param == "tool_choice"


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_choice": "none"},
        {"tools": TOOLS, "tool_choice": "required"},
        {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tools": TOOLS, "tool_choice": {"type": "custom", "custom": {"name": "f"}}},
        {"messages": [USER, {"role": "function", "name": "f", "content": None}]},
        {"messages": [USER, {"role": "assistant", "content": None, "refusal": "no"}]},
        {"messages": [USER, {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}]},
        {"messages": [USER, {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "x"}]}]},
    ],
)
def test_odd_but_legal_request_is_taken(fields: dict[str, object]) -> None:
    """What OpenAI's API takes, this takes."""
    chat.read(json.dumps({"model": "m", "messages": [USER], **fields}).encode())


EMPTIES = b"[" + b"{}," * 400_000 + b"{}]"
GOOD = b'{"model":"m","messages":[{"role":"user","content":"hi"}]'


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (GOOD + b',"x":' + EMPTIES + b',"temperature":"a"}', "temperature"),
        (b'{"model":"m","messages":' + EMPTIES + b"}", "messages[0].role"),
        (GOOD + b',"tools":' + EMPTIES + b"}", "tools[0].type"),
        (GOOD + b',"metadata":' + EMPTIES + b"}", "metadata"),
        (GOOD + b',"seed":' + b"9" * 1_000_000 + b"}", "seed"),
        (GOOD + b',"temperature":1e999}', "temperature"),
    ],
)
def test_complaint_is_as_cheap_as_the_mistake(body: bytes, param: str) -> None:
    """What is not complained of is not decoded: 400,000 objects beside a mistake take no memory (row J-2)."""
    tracemalloc.start()
    try:
        error = _refuse(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.param == param
    assert peak < 3 * len(body) + 200_000


ONE_OF_NO_TYPE = {"mode": "auto", "tools": [{}]}


@pytest.mark.parametrize(
    ("choice", "param"),
    [
        ({}, "tool_choice.type"),
        ({"type": "any"}, "tool_choice.type"),
        ({"type": "function"}, "tool_choice.function"),
        ({"type": "function", "function": 3}, "tool_choice.function"),
        ({"type": "function", "function": {}}, "tool_choice.function.name"),
        ({"type": "allowed_tools", "allowed_tools": {}}, "tool_choice.allowed_tools.mode"),
        ({"type": "allowed_tools", "allowed_tools": ONE_OF_NO_TYPE}, "tool_choice.allowed_tools.tools[0].type"),
    ],
)  # fmt: skip
def test_tool_choice_of_no_form_is_told_by_its_field(choice: dict[str, object], param: str) -> None:
    """What the engine's dialect reads later has the form that it expects."""
    assert _refuse_fields(tools=TOOLS, tool_choice=choice).param == param
