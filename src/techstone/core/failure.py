"""What an upstream's failure means: for the next route, for the breaker, and for the client if it was the last.

After every route was tried, 500, 502, 504 or nonsense become our 500; 429, 503, refused and timed out become our 503
with a wait, never the client's 429. A 4xx about the request itself is the client's, once and without a retry. Upstream
401, 402, 403 and 404 are the operator's mistakes: a 500 whose text tells nothing of them.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from techstone.core.errors import (
    ApiError,
    InvalidRequest,
    PayloadTooLarge,
    UpstreamFailed,
    UpstreamUnavailable,
)

Blame = Literal["client", "busy", "broken"]
"""Whose fault: the request's, an overloaded or unreachable upstream's, a wrongly working upstream's."""

_CLIENT = frozenset((400, 413, 415, 422))
# llama.cpp answers 500 to a request for what its model cannot take (llama.cpp#19774); five would open the breaker.
_UNSUPPORTED = (
    b"image input is not supported",
    b"audio input is not supported",
    b'"Failed to parse messages: ',
    b'"Failed to parse tools: ',
)
_BUSY = frozenset((408, 425, 429, 503, 529))  # 529: Anthropic's "overloaded"
_LONGEST_TEXT = 2000


class Failure(msgspec.Struct, frozen=True):
    """One failed attempt. `status` is 0 where no answer came; `wait` is the upstream's own Retry-After in seconds."""

    blame: Blame
    kind: str
    status: int = 0
    wait: float | None = None
    body: bytes = b""

    @property
    def trips(self) -> bool:
        """Whether the breaker counts it: not what the client caused, and not a 429, which is a healthy no."""
        return self.blame != "client" and self.status != 429

    @property
    def name(self) -> str:
        """What it was, in a word or two, for operators."""
        return f"status {self.status}" if self.status else self.kind


class _Detail(msgspec.Struct):
    message: str | None = None
    type: object = None
    param: object = None
    code: object = None


class _Wrapped(msgspec.Struct):
    error: _Detail | str


_WRAPPED = msgspec.json.Decoder(_Wrapped)
_BARE = msgspec.json.Decoder(_Detail)


def judge_status(status: int, retry_after: bytes | None, body: bytes) -> Failure:
    """Return what an answer of that status means."""
    if status in _CLIENT:
        return Failure("client", "status", status, None, body)
    if status == 500 and any(text in body for text in _UNSUPPORTED):
        return Failure("client", "status", 400, None, body)
    blame: Blame = "busy" if status in _BUSY else "broken"
    return Failure(blame, "status", status, _read_wait(retry_after))


def judge_problem(kind: str) -> Failure:
    """Return what a broken call means."""
    return Failure("busy" if kind in {"connect", "timeout", "reset"} else "broken", kind)


def _read_wait(value: bytes | None) -> float | None:
    """Read a Retry-After in seconds; an HTTP date is ignored, since our clock may differ from the upstream's."""
    if value is not None and value.isdigit() and len(value) < 6:
        return float(value)
    return None


def explain(model: str, failures: list[Failure], shortest_wait: float) -> ApiError:
    """Return what the client is told when no route is left. `shortest_wait` in seconds, from breakers; 0.0: none."""
    last = failures[-1] if failures else None
    if last is not None and last.blame == "client":
        return _pass_on(last)
    if last is not None and all(failure.blame == "broken" for failure in failures):
        return UpstreamFailed(f"The upstream of the model `{model}` failed. Please retry after a brief wait.")
    waits = [failure.wait for failure in failures if failure.wait is not None]
    wait = min(waits) if waits else shortest_wait
    return UpstreamUnavailable(model, max(1.0, wait))


def _pass_on(failure: Failure) -> ApiError:
    """Return the upstream's complaint about the request as our own, in whatever form it came (vllm#12886)."""
    if failure.status == 413:
        return PayloadTooLarge(0) if not failure.body else _too_large(failure.body)
    detail = read_detail(failure.body)
    message = detail.message if detail and detail.message else "The upstream refused the request."
    if detail is not None and detail.type == "exceed_context_size_error":  # llama.cpp's name for it
        return InvalidRequest(message[:_LONGEST_TEXT], param="messages", code="context_length_exceeded")
    return InvalidRequest(
        message[:_LONGEST_TEXT],
        param=detail.param if detail and isinstance(detail.param, str) and detail.param != "None" else None,
        code=detail.code if detail and isinstance(detail.code, str) and not detail.code.isdigit() else None,
    )


def _too_large(body: bytes) -> ApiError:
    detail = read_detail(body)
    error = PayloadTooLarge(0)
    error.closes = False
    error.message = (detail.message if detail else None) or "The request is too large for the upstream."
    return error


def read_detail(body: bytes) -> _Detail | None:
    """Read an error body: OpenAI's form, vLLM's bare one, or `{"error": "text"}`; None if it is none of them."""
    try:
        error = _WRAPPED.decode(body).error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        try:
            detail = _BARE.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        return detail if detail.message else None
    return _Detail(message=error) if isinstance(error, str) else error


def judge_event(payload: bytes) -> Failure:
    """Return what an error means that came under status 200: its own code says more than the status did."""
    detail = read_detail(payload)
    code = detail.code if detail is not None else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    found = judge_status(status, None, payload)
    return found if found.blame == "client" else Failure("broken", "content", status)
