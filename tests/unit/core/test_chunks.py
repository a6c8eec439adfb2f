"""A chunk's full form: sloppy ones are brought to it, nonsense is no chunk."""

from __future__ import annotations

import json
from typing import Any

import pytest

from techstone.core.chunks import Form, Found, NotAChunk
from techstone.wire.usage import Usage


def _form(*, null_usage: bool = False) -> Form:
    return Form("gpt-4o", "fallback", 77, null_usage=null_usage)


def _event(*choices: dict[str, Any], **more: Any) -> bytes:  # noqa: ANN401 - any JSON
    return json.dumps({"id": "c1", "created": 7, "choices": choices, **more}).encode()


def _read(form: Form, *choices: dict[str, Any], **more: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - any JSON
    return [json.loads(chunk) for chunk in form.read(_event(*choices, **more)).chunks]


def _deltas(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [choice["delta"] for chunk in chunks for choice in chunk["choices"]]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"nonsense",
        b"[]",
        b"{}",
        b'{"id":"c1"}',
        b'{"choices":{}}',
        b'{"choices":[3]}',
        b'{"choices":[{"index":"0"}]}',
        b'{"choices":[{"delta":"text"}]}',
        b'{"choices":[],"x":"\xff"}',
        b'{"choices":[{"delta":{"content":"\\ud800"}}]}',
        b'{"choices":[{"delta":{"content":1}}',
    ],
)
def test_nonsense_is_no_chunk(payload: bytes) -> None:
    """What cannot be brought to the form is not relayed."""
    with pytest.raises(NotAChunk):
        _form().read(payload)


@pytest.mark.parametrize("value", ["null", "{}", '""', "false"])
def test_empty_error_is_no_error(value: str) -> None:
    """Some servers send the field on every chunk."""
    found = _form().read(b'{"error":%b,"choices":[]}' % value.encode())
    assert found.error is None


def test_error_is_kept_as_it_came() -> None:
    """Who judges it needs its code and its text."""
    payload = b'{"error":{"code":400,"message":"no"},"choices":[{"delta":{"content":"x"}}]}'
    found = _form().read(payload)
    assert (found.error, found.chunks, found.texts) == (payload, [], [])


def test_first_delta_has_the_role_once() -> None:
    """Missing, it is put in; repeated on every chunk (vLLM's older servers), it is taken out."""
    form = _form()
    first = _read(form, {"index": 0, "delta": {"content": "a"}})
    more = _read(form, {"index": 0, "delta": {"role": "assistant", "content": "b"}})
    assert _deltas(first + more) == [{"role": "assistant", "content": "a"}, {"content": "b"}]
    assert _deltas(_read(_form(), {"index": 0, "delta": {}})) == [{"role": "assistant", "content": ""}]
    assert _deltas(_read(_form(), {"index": 0, "delta": None})) == [{"role": "assistant", "content": ""}]
    assert form.role_seen(0)
    assert not form.role_seen(1)


def test_null_fields_are_left_out() -> None:
    """`"tool_calls": null` beside a text is noise to typed clients."""
    form = _form()
    call = {"index": 0, "id": "1", "function": {"name": "f", "arguments": ""}}
    first = _read(form, {"index": 0, "delta": {"content": "a", "tool_calls": None, "refusal": None}})
    calls = _read(form, {"index": 0, "delta": {"content": None, "tool_calls": [call]}})
    assert _deltas(first + calls) == [{"role": "assistant", "content": "a"}, {"tool_calls": [call]}]


def test_first_delta_of_a_tool_call_has_null_content() -> None:
    """As OpenAI's has, where the upstream sent it."""
    call = {"index": 0, "id": "1", "function": {"name": "f", "arguments": ""}}
    (delta,) = _deltas(_read(_form(), {"index": 0, "delta": {"content": None, "tool_calls": [call]}}))
    assert delta == {"role": "assistant", "content": None, "tool_calls": [call]}


@pytest.mark.parametrize(("reason", "told"), [("stop", "stop"), ("tool_calls", "tool_calls"), ("eos_token", "stop")])
def test_finish_chunk_has_an_empty_delta(reason: str, told: str) -> None:
    """Text that came with the finish goes before it (vllm#35705); an unknown reason is `stop`: clients are typed."""
    logprobs: dict[str, Any] = {"content": [], "refusal": None}
    chunks = _read(_form(), {"index": 0, "delta": {"content": "a"}, "finish_reason": reason, "logprobs": logprobs})
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices == [
        {"index": 0, "delta": {"role": "assistant", "content": "a"}, "logprobs": logprobs, "finish_reason": None},
        {"index": 0, "delta": {}, "logprobs": None, "finish_reason": told},
    ]


def test_stream_is_finished_when_every_choice_is() -> None:
    """None, one of two, both."""
    form = _form()
    seen = [form.finished]
    for index in (0, 1):
        form.read(_event({"index": index, "delta": {"content": "a"}}))
    for index in (1, 0):
        form.read(_event({"index": index, "delta": {}, "finish_reason": "stop"}))
        seen.append(form.finished)
    assert seen == [False, False, True]


@pytest.mark.parametrize(
    ("more", "constants"),
    [
        ({}, ("c1", 7)),
        ({"id": "", "created": None}, ("fallback", 77)),
        ({"id": None, "created": 7.5}, ("fallback", 77)),
        ({"id": 3, "created": "7"}, ("fallback", 77)),
    ],
)
def test_constants_are_the_first_chunks(more: dict[str, Any], constants: tuple[str, int]) -> None:
    """Id and creation time never change in a stream, whatever later chunks say; missing or odd ones are ours."""
    form = _form()
    chunks = _read(form, {"index": 0, "delta": {"content": "a"}}, **more)
    chunks += _read(form, {"index": 0, "delta": {"content": "b"}}, id="other", created=9, model="up", object="x")
    for chunk in chunks:
        assert (chunk["id"], chunk["created"]) == constants
        assert (chunk["object"], chunk["model"]) == ("chat.completion.chunk", "gpt-4o")


def test_upstreams_own_fields_are_dropped() -> None:
    """`timings` and token ids are not of the document; what is stays."""
    (chunk,) = _read(
        _form(null_usage=True),
        {"index": 0, "delta": {}},
        timings={"a": 1},
        service_tier="flex",
        system_fingerprint=None,
    )
    assert set(chunk) == {
        *("id", "object", "created", "model", "service_tier", "system_fingerprint", "choices", "usage"),
    }
    assert chunk["usage"] is None


def test_usage_is_taken_out() -> None:
    """It is the last chunk's to tell, if the client asked."""
    found = _form().read(_event(usage={"total_tokens": 3}))
    assert (found.usage, found.chunks) == (b'{"total_tokens": 3}', [])
    assert _form().read(b'{"usage":null,"choices":[]}').usage is None
    assert _form().read(b'{"usage":{"a":1}}').usage == b'{"a":1}'
    chunk = json.loads(_form().usage_chunk(Usage(1, 2, 3)))
    assert (chunk["choices"], chunk["usage"]["total_tokens"], chunk["model"]) == ([], 3, "gpt-4o")


def _texts(delta: dict[str, Any], index: int = 0) -> list[tuple[str, int, str]]:
    found: Found = _form().read(_event({"index": index, "delta": delta}))
    return found.texts


def test_every_text_is_counted() -> None:
    """Content, reasoning, refusal, the names and arguments of tools, each by itself; what is no text is not."""
    call = {"index": 2, "function": {"name": "f", "arguments": "{}"}}
    delta = {"content": "a", "reasoning": "b", "refusal": "c", "tool_calls": [call, {"function": None}, 3]}
    assert _texts(delta, 1) == [
        ("a", 1, "content"),
        ("b", 1, "reasoning"),
        ("c", 1, "refusal"),
        ("f", 1, "tool 2 name"),
        ("{}", 1, "tool 2 arguments"),
    ]
    assert _texts({"content": "", "tool_calls": {"a": 1}}) == []
    assert _texts({"tool_calls": [{"function": {"name": 3, "arguments": None}}]}) == []


HEAD = b'{"id":"c1","object":"chat.completion.chunk","created":7,"model":"up",'


def _begun() -> Form:
    form = _form()
    form.read(_event({"index": 0, "delta": {"content": "a"}}))
    return form


def test_plain_head_can_be_exchanged() -> None:
    """What stands before the choices of every chunk, with our name of the model."""
    assert _begun().head(HEAD) == HEAD.replace(b'"up"', b'"gpt-4o"')


@pytest.mark.parametrize(
    "head",
    [
        HEAD.replace(b'"c1"', b'"c2"'),
        HEAD.replace(b":7", b":8"),
        HEAD.replace(b"completion.chunk", b"completion"),
        HEAD.replace(b'"created":7,', b""),
        HEAD + b'"timings":{},',
        HEAD + b'"obfuscation":"x",',
        HEAD + b'"choices":[],',
        HEAD + b"nonsense,",
    ],
)
def test_any_other_head_is_written_anew(head: bytes) -> None:
    """Another id, an own field, one that changes with every chunk: those chunks are decoded one by one."""
    assert _begun().head(head) is None
