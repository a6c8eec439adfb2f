"""The request: read strictly, forwarded as it was admitted."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.core import chat, tokens
from techstone.core.errors import InvalidRequest

GOOD: dict[str, object] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello!"}]}


def read(**changes: object) -> chat.ChatRequest:
    return chat.read(json.dumps({**GOOD, **changes}).encode())


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"temperature": "warm"}, "invalid_type", "temperature"),
        ({"temperature": 2.1}, "decimal_above_max_value", "temperature"),
        ({"temperature": -0.1}, "decimal_below_min_value", "temperature"),
        ({"top_p": 1.1}, "decimal_above_max_value", "top_p"),
        ({"presence_penalty": -3}, "decimal_below_min_value", "presence_penalty"),
        ({"frequency_penalty": 3}, "decimal_above_max_value", "frequency_penalty"),
        ({"n": 0}, "integer_below_min_value", "n"),
        ({"n": 129}, "integer_above_max_value", "n"),
        ({"n": True}, "invalid_type", "n"),
        ({"n": 1.5}, "invalid_type", "n"),
        ({"stream": "yes"}, "invalid_type", "stream"),
        ({"stream_options": {"include_usage": True}}, "invalid_value", "stream_options"),
        ({"stream": True, "stream_options": 3}, "invalid_type", "stream_options"),
        ({"stop": ["a"] * 5}, "array_above_max_length", "stop"),
        ({"stop": []}, "empty_array", "stop"),
        ({"max_tokens": 0}, "integer_below_min_value", "max_tokens"),
        ({"max_completion_tokens": "9"}, "invalid_type", "max_completion_tokens"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "invalid_value", "max_tokens"),
        ({"logprobs": 1}, "invalid_type", "logprobs"),
        ({"top_logprobs": 5}, "invalid_value", "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "integer_above_max_value", "top_logprobs"),
        ({"seed": 1.5}, "invalid_type", "seed"),
        ({"user": 7}, "invalid_type", "user"),
        ({"service_tier": "gold"}, "invalid_value", "service_tier"),
        ({"reasoning_effort": "huge"}, "invalid_value", "reasoning_effort"),
        ({"verbosity": "chatty"}, "invalid_value", "verbosity"),
        ({"store": "no"}, "invalid_type", "store"),
        ({"metadata": {str(i): "x" for i in range(17)}}, "object_above_max_properties", "metadata"),
        ({"response_format": {"type": "xml"}}, "invalid_value", "response_format.type"),
        (
            {"response_format": {"type": "json_schema"}},
            "missing_required_parameter",
            "response_format.json_schema",
        ),
        ({"tools": [{"type": "function"}]}, "missing_required_parameter", "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "missing_required_parameter", "tools[0].function.name"),
        ({"tool_choice": "perhaps"}, "invalid_value", "tool_choice"),
        ({"parallel_tool_calls": 1}, "invalid_type", "parallel_tool_calls"),
        ({"messages": []}, "empty_array", "messages"),
        ({"messages": "hi"}, "invalid_type", "messages"),
        ({"messages": [3]}, "invalid_type", "messages[0]"),
        ({"messages": [{"content": "x"}]}, "missing_required_parameter", "messages[0].role"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "invalid_value", "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "missing_required_parameter", "messages[0].content"),
        ({"messages": [{"role": "user", "content": []}]}, "empty_array", "messages[0].content"),
        ({"messages": [{"role": "user", "content": 3}]}, "invalid_type", "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "missing_required_parameter",
            "messages[0].content[0].text",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "missing_required_parameter",
            "messages[0].content[0].image_url.url",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "missing_required_parameter", "messages[0].tool_call_id"),
        ({"model": 3}, "invalid_type", "model"),
        ({"model": ""}, "missing_required_parameter", "model"),
    ],
)
def test_wrong_parameter_is_named(changes: dict[str, object], code: str, param: str) -> None:
    """Each wrong parameter gives its code and its path, as OpenAI's API does."""
    with pytest.raises(InvalidRequest) as caught:
        read(**changes)
    assert (caught.value.code, caught.value.param) == (code, param)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"model":NaN}',
        b"\xff\xfe",
        b'{"a":1e999}' + b"x",
        b'{"model":"\\ud800","messages":[]}',
        b"[" * 100_000,
        b'{"model":' + b"[" * 100_000,
        b'{"model":"m","messages":[{"role":"user","content":"hi"}],"x":"\xff"}',
        b'{"model":"m","messages":[{"role":"user","content":"hi"}],"x":"\xed\xa0\x80"}',
        b'{"model":"m","messages":[{"role":"user","content":"hi"}],"mod\xffel":"x"}',
        b'{"model":"m","messages":3,"x":',
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    """A body that is no JSON object is a 400, however broken or deep it is."""
    with pytest.raises(InvalidRequest):
        chat.read(body)


def test_prompt_is_estimated_by_all_that_it_holds() -> None:
    """Texts and text parts, the arguments of tools, a price for an image; some tokens for each message."""
    empty = read(messages=[{"role": "user", "content": ""}]).estimate()
    text = read(messages=[{"role": "user", "content": "Hello there, how are you?"}]).estimate()
    part = {"type": "text", "text": "Hello there, how are you?"}
    image = {"type": "image_url", "image_url": {"url": "https://x.example/" + "a" * 5000}}
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "Hello there, how are you?"}}
    other = {"id": "2", "type": "custom", "custom": {}}
    assert text > empty > 0
    assert read(messages=[{"role": "user", "content": [part]}]).estimate() == text
    with_image = read(messages=[{"role": "user", "content": [part, image]}]).estimate()
    assert with_image == text + tokens.PER_IMAGE
    assert read(messages=[{"role": "assistant", "content": None, "tool_calls": [call, other]}]).estimate() == text
    audio = {"type": "input_audio", "input_audio": {"data": "a" * 5000, "format": "wav"}}
    assert read(messages=[{"role": "user", "content": [part, audio]}]).estimate() == text


def test_null_is_taken_for_absent() -> None:
    """SDKs send explicit nulls for parameters that were not set."""
    request = read(temperature=None, n=None, stream=None, stop=None, tools=None, user=None)
    assert (request.n, request.stream) == (1, False)


def test_unknown_parameter_is_passed_on() -> None:
    """An unknown parameter is the upstream's business."""
    assert json.loads(chat.encode(read(top_k=40), "m"))["top_k"] == 40


def test_stream_is_always_asked_for_usage() -> None:
    """Metering needs the usage whether or not the client does; its other options stay."""
    request = read(stream=True, stream_options={"include_obfuscation": False})
    sent = json.loads(chat.encode(request, "m"))
    assert sent["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert not request.include_usage


_SPELLINGS = {
    "model": ["model", "\\u006dodel", "mod\\u0065l"],
    "stream": ["stream", "\\u0073tream"],
    "n": ["n", "\\u006e"],
    "max_tokens": ["max_tokens", "max\\u005ftokens"],
    "api_base": ["api_base", "api\\u005fbase"],
    "api_key": ["api_key"],
    "base_url": ["base_url"],
    "extra_headers": ["extra_headers"],
}
_VALUES = {
    "model": ['"gpt-4o"', '"other"', '"gpt-4o\\u0000"'],
    "stream": ["true", "false", "null"],
    "n": ["1", "2", "128", "null"],
    "max_tokens": ["1", "100000", "null"],
    "api_base": ['"http://evil"'],
    "api_key": ['"sk-evil"'],
    "base_url": ['"http://evil"'],
    "extra_headers": ['{"authorization":"x","model":"y"}'],
}


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Bodies with repeated keys, escaped spellings and routing fields, in any order."""
    members = ['"messages":[{"role":"user","content":"hi"}]', '"model":"gpt-4o"']
    for name in draw(st.lists(st.sampled_from(sorted(_SPELLINGS)), max_size=8)):
        spelling = draw(st.sampled_from(_SPELLINGS[name]))
        members.append(f'"{spelling}":{draw(st.sampled_from(_VALUES[name]))}')
    return ("{" + ",".join(draw(st.permutations(members))) + "}").encode()


@given(bodies())
def test_upstream_reads_what_was_judged(body: bytes) -> None:
    """No repeated key or spelling makes any parser read another model, stream, n or limit than was admitted."""
    request = chat.read(body)
    sent = chat.encode(request, "upstream-name")
    first: dict[str, object] = {}
    for name, value in json.loads(sent, object_pairs_hook=list):
        assert name not in first, "a key stands twice"
        first[name] = value
    assert first["model"] == "upstream-name"
    assert bool(first.get("stream")) == request.stream
    assert (first.get("n") or 1) == request.n
    assert first.get("max_tokens") == request.max_tokens
    assert not first.keys() & {"api_base", "api_key", "base_url", "extra_headers"}
