"""What an upstream's failure means to the next route, to the breaker and to the client."""

from __future__ import annotations

import json

import pytest

from techstone.core import failure
from techstone.core.errors import InvalidRequest, PayloadTooLarge, ServiceUnavailable, UpstreamFailed
from techstone.core.failure import Failure


@pytest.mark.parametrize(
    ("status", "blame", "trips"),
    [
        (400, "client", False),
        (413, "client", False),
        (422, "client", False),
        (401, "broken", True),
        (404, "broken", True),
        (429, "busy", False),
        (500, "broken", True),
        (503, "busy", True),
        (529, "busy", True),
        (302, "broken", True),
    ],
)
def test_status_is_blamed(status: int, blame: str, *, trips: bool) -> None:
    """The client's mistakes are its own; a 429 is a healthy no; keys and names are the operator's, so broken."""
    found = failure.judge_status(status, None, b"")
    assert (found.blame, found.trips) == (blame, trips)


@pytest.mark.parametrize(
    ("kind", "blame"), [("connect", "busy"), ("timeout", "busy"), ("reset", "busy"), ("protocol", "broken")]
)
def test_broken_call_is_blamed(kind: str, blame: str) -> None:
    """Unreachable is busy, nonsense is broken."""
    assert failure.judge_problem(kind).blame == blame


def test_only_broken_upstreams_are_our_500() -> None:
    """All broken: 500. One that was merely busy: 503, since waiting helps."""
    broken, busy = Failure("broken", "status", 500), Failure("busy", "status", 429, 3.0)
    assert isinstance(failure.explain("m", [broken, broken], 0.0), UpstreamFailed)
    error = failure.explain("m", [broken, busy], 0.0)
    assert isinstance(error, ServiceUnavailable)
    assert error.retry_after == 3.0


@pytest.mark.parametrize(
    ("wait", "told"), [(b"7", 7.0), (b"0", 1.0), (b"Wed, 21 Oct 2026 07:28:00 GMT", 1.0), (b"-5", 1.0), (None, 1.0)]
)
def test_wait_is_the_upstreams_own(wait: bytes | None, told: float) -> None:
    """In seconds, at least one; a date is not believed, since clocks differ."""
    error = failure.explain("m", [failure.judge_status(503, wait, b"")], 0.0)
    assert error.retry_after == told


def test_open_breakers_tell_their_own_wait() -> None:
    """No route was tried: come back when the first may be probed."""
    assert failure.explain("m", [], 4.2).retry_after == 4.2


@pytest.mark.parametrize(
    ("body", "message", "param", "code"),
    [
        ({"error": {"message": "no", "param": "top_p", "code": "bad"}}, "no", "top_p", "bad"),
        ({"error": {"message": "no", "param": "None", "code": 400}}, "no", None, None),
        ({"error": "text"}, "text", None, None),
        ({"object": "error", "message": "bare"}, "bare", None, None),
        ({"detail": "x"}, "The upstream refused the request.", None, None),
        (
            {"error": {"message": "too long", "type": "exceed_context_size_error", "code": 400}},
            "too long",
            "messages",
            "context_length_exceeded",
        ),
    ],
)
def test_complaint_about_the_request_is_passed_on(
    body: object, message: str, param: str | None, code: str | None
) -> None:
    """In whatever form it came: OpenAI's, vLLM's, llama.cpp's, or none."""
    error = failure.explain("m", [failure.judge_status(400, None, json.dumps(body).encode())], 0.0)
    assert isinstance(error, InvalidRequest)
    assert (error.message, error.param, error.code) == (message, param, code)


def test_body_that_is_too_large_for_the_upstream_is_413() -> None:
    """With its own words, and without closing the client's connection."""
    found = failure.judge_status(413, None, b'{"error":{"message":"at most 1 MB"}}')
    error = failure.explain("m", [found], 0.0)
    assert isinstance(error, PayloadTooLarge)
    assert (error.message, error.closes) == ("at most 1 MB", False)


def test_error_under_200_counts_by_its_own_code() -> None:
    """llama.cpp sends errors as events of a stream that began with 200."""
    assert failure.judge_event(b'{"error":{"code":400,"message":"x"}}').blame == "client"
    assert failure.judge_event(b'{"error":{"message":"x"}}').blame == "broken"


def test_words_of_the_upstream_are_cut() -> None:
    """Its message may be a page long; ours is not."""
    body = json.dumps({"error": {"message": "x" * 50_000}}).encode()
    assert len(failure.explain("m", [failure.judge_status(400, None, body)], 0.0).message) <= 2000


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"error":{"message":"image input is not supported"}}', 400),
        (b'{"error":{"message":"Failed to parse messages: Unsupported tool call type: custom"}}', 400),
        (b'{"error":{"message":"Failed to parse tools: Unsupported tool type: custom"}}', 400),
        (b"oops", 500),
    ],
)
def test_what_the_model_cannot_take_is_the_clients(body: bytes, status: int) -> None:
    """llama.cpp answers 500 to an image for a model of text, or a custom tool; five must not open the breaker."""
    assert failure.judge_status(500, None, body).status == status


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[]", b'{"error":3}', b'{"message":null}'])
def test_wordless_refusal_has_words_of_ours(body: bytes) -> None:
    """Whatever came, the client is told something."""
    for status in (400, 413):
        error = failure.explain("m", [failure.judge_status(status, None, body)], 0.0)
        assert error.status == status
        assert len(error.message) > 20
