"""A whole completion on its way through: the full form is copied, a sloppy one is completed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from techstone.core import completion
from techstone.core.completion import NotACompletion
from techstone.core.tally import Tally

FULL: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 5,
    "model": "up",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello.", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}


def _rewrite(body: dict[str, Any] | bytes, model: str = "gpt-4o") -> tuple[dict[str, Any], Tally]:
    tally = Tally(lambda: 7)
    raw = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
    out: dict[str, Any] = json.loads(completion.rewrite(raw, model, lambda: ("fallback", 77), tally))
    return out, tally


def test_full_form_changes_its_model_only() -> None:
    """Everything else is as it came; the usage is read."""
    out, tally = _rewrite(FULL)
    assert out == {**FULL, "model": "gpt-4o"}
    assert tally.settled().total_tokens == 11


def test_model_is_changed_where_it_is_the_model() -> None:
    """The same words in the content stay what they are."""
    text = 'say "model":"up" twice: \\"model\\":\\"up\\"'
    choice = {**FULL["choices"][0], "message": {"role": "assistant", "content": text, "refusal": None}}
    out, _ = _rewrite({**FULL, "choices": [choice]})
    assert out["choices"][0]["message"]["content"] == text
    assert out["model"] == "gpt-4o"


def test_sloppy_form_is_completed() -> None:
    """llama.cpp's way: no refusal, no logprobs, timings of its own; what a client needs is there, the rest is gone."""
    sloppy = {
        "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "Hello."}}],
        "timings": {"x": 1},
    }
    out, tally = _rewrite(sloppy)
    assert (out["id"], out["created"], out["object"], out["model"]) == ("fallback", 77, "chat.completion", "gpt-4o")
    assert out["choices"] == FULL["choices"]
    assert "timings" not in out
    assert out["usage"]["prompt_tokens"] == 7
    assert tally.settled().completion_tokens == out["usage"]["completion_tokens"] > 0


def test_tool_calls_have_null_content() -> None:
    """Content is null and present beside tool calls."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    choice = {"index": 0, "message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}
    out, _ = _rewrite({**FULL, "choices": [choice]})
    assert out["choices"][0]["message"] == {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]}


def test_full_answer_of_the_right_name_is_not_touched() -> None:
    """The very bytes, whatever their spacing."""
    raw = json.dumps({**FULL, "model": "gpt-4o"}, indent=1).encode()
    assert completion.rewrite(raw, "gpt-4o", lambda: ("x", 1), Tally(lambda: 0)) == raw


def test_name_that_stands_elsewhere_too_is_changed_once() -> None:
    """`"model":"up"` as a field of a tool's arguments object is the tool's."""
    out, _ = _rewrite({**FULL, "metadata": {"model": "up"}})
    assert (out["model"], out["metadata"]) == ("gpt-4o", {"model": "up"})


def test_every_text_is_counted_where_usage_is_missing() -> None:
    """Content, reasoning, and the names and arguments of tools."""
    call = {"function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    plain = {"index": 0, "message": {"content": "Hello."}, "finish_reason": "eos"}
    counts = []
    for more in ({}, {"reasoning": "So."}, {"tool_calls": [call, 3, {"function": {"name": None}}]}):
        message = {"content": "Hello.", **more}
        out, tally = _rewrite({"id": 3, "created": "now", "choices": [{**plain, "message": message}]})
        counts.append(tally.settled().completion_tokens)
        assert (out["id"], out["created"], out["choices"][0]["finish_reason"]) == ("fallback", 77, "stop")
    assert counts[0] < counts[1] < counts[2]


def test_own_fields_of_the_document_stay() -> None:
    """`service_tier` and the like, unless they are null."""
    out, _ = _rewrite({**FULL, "usage": None, "service_tier": "flex", "system_fingerprint": None, "timings": {}})
    assert out["service_tier"] == "flex"
    assert not {"system_fingerprint", "timings"} & out.keys()


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": -1, "completion_tokens": 0, "total_tokens": -1}])
def test_absurd_usage_is_counted_anew(usage: object) -> None:
    """The client sees what is counted, never what an upstream made up."""
    out, _ = _rewrite({**FULL, "usage": usage})
    assert out["usage"]["prompt_tokens"] == 7


NONSENSE = (b"", b"null", b"[]", b'{"choices": []}', b'{"choices": [{}]}', b'{"id": "x"}', b"<html>", b'{"choices": 1')


@pytest.mark.parametrize("body", [*NONSENSE, b'{"choices": "\xff"}'])
def test_nonsense_is_no_completion(body: bytes) -> None:
    """Whatever it is, it is not passed on."""
    with pytest.raises(NotACompletion):
        _rewrite(body)


def test_error_under_200_is_an_error() -> None:
    """Its object is kept, for who decides what it means."""
    with pytest.raises(NotACompletion) as caught:
        _rewrite(b'{"error": {"message": "no", "code": 400}}')
    assert caught.value.error is not None
