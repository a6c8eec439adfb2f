"""The tree of errors: each with the status, type and code that SDKs map to a class; waits that they believe."""

from __future__ import annotations

import json

import pytest

from techstone.core import errors
from techstone.core.errors import ApiError

TREE = [
    (errors.InvalidRequest("x", param="n", code="c"), 400, "invalid_request_error", "c"),
    (errors.KeyMissing(), 401, "invalid_request_error", None),
    (errors.KeyInvalid("ts_live_***abcd"), 401, "invalid_request_error", "invalid_api_key"),
    (errors.ModelForbidden("m"), 403, "permission_error", "permission_denied"),
    (errors.AccountSuspended(), 403, "permission_error", "permission_denied"),
    (errors.KeyDisabled(), 403, "permission_error", "key_disabled"),
    (errors.ScopeMissing("models"), 403, "permission_error", "missing_scope"),
    (errors.AddressForbidden("192.0.2.1"), 403, "permission_error", "ip_not_authorized"),
    (errors.AdminKeyRequired(), 403, "permission_error", "admin_key_required"),
    (errors.InferenceKeyRequired(), 403, "permission_error", "inference_key_required"),
    (errors.InsecureTransport(), 403, "permission_error", "https_required"),
    (errors.ModelNotFound("m"), 404, "invalid_request_error", "model_not_found"),
    (errors.UrlNotFound("GET", "/x"), 404, "invalid_request_error", "unknown_url"),
    (errors.AccountNotFound("a"), 404, "invalid_request_error", "account_not_found"),
    (errors.KeyNotFound(), 404, "invalid_request_error", "key_not_found"),
    (errors.ProjectNotFound(), 404, "invalid_request_error", "project_not_found"),
    (errors.MemberNotFound(), 404, "invalid_request_error", "member_not_found"),
    (errors.RequestNotFound(), 404, "invalid_request_error", "request_not_found"),
    (errors.InvoiceNotFound("TS-2026-000001"), 404, "invalid_request_error", "invoice_not_found"),
    (errors.IdempotencyKeyInvalid(5), 400, "invalid_request_error", "idempotency_key_invalid"),
    (errors.IdempotencyMismatch(), 400, "invalid_request_error", "idempotency_key_reused"),
    (errors.IdempotencyConflict(), 409, "invalid_request_error", "idempotency_key_conflict"),
    (errors.IdempotencyTooLarge(), 409, "invalid_request_error", "idempotency_answer_too_large"),
    (errors.MethodNotAllowed("PUT", ("GET", "POST")), 405, "invalid_request_error", "method_not_supported"),
    (errors.RequestTimeout("body", 30.0), 408, "invalid_request_error", "request_timeout"),
    (errors.PayloadTooLarge(5), 413, "invalid_request_error", "request_too_large"),
    (errors.UnsupportedMediaType("x"), 415, "invalid_request_error", "unsupported_media_type"),
    (errors.RateLimited("x", 7.0), 429, "rate_limit_error", "rate_limit_exceeded"),
    (errors.QuotaExceeded("x"), 429, "insufficient_quota", "insufficient_quota"),
    (errors.HeadTooLarge(5, 5), 431, "invalid_request_error", "request_header_fields_too_large"),
    (errors.ServerError(), 500, "server_error", "internal_error"),
    (errors.UpstreamFailed("x"), 500, "server_error", "upstream_error"),
    (errors.ServiceUnavailable("x"), 503, "service_unavailable_error", "service_unavailable"),
    (errors.UpstreamUnavailable("m"), 503, "service_unavailable_error", "upstream_unavailable"),
    (errors.Draining(), 503, "service_unavailable_error", "service_unavailable"),
    (errors.NotReady(), 503, "service_unavailable_error", "not_ready"),
    (errors.KeyUnconfirmed(), 503, "service_unavailable_error", "not_ready"),
    (errors.LimitsUnknown(), 503, "service_unavailable_error", "not_ready"),
    (errors.LedgerUnavailable(), 503, "service_unavailable_error", "ledger_unavailable"),
    (errors.IdempotencyUnavailable(), 503, "service_unavailable_error", "idempotency_unavailable"),
    (errors.JournalUnwritable(), 503, "service_unavailable_error", "journal_unwritable"),
]


@pytest.mark.parametrize(("error", "status", "kind", "code"), TREE, ids=lambda value: type(value).__name__)
def test_error_is_printed_in_the_one_format(error: ApiError, status: int, kind: str, code: str | None) -> None:
    """Four fields, always; a message that is a sentence."""
    detail = json.loads(error.body())["error"]
    assert error.status == status
    assert (detail["type"], detail["code"], detail["param"]) == (kind, code, error.param)
    assert detail["message"] == str(error) == error.message
    assert detail.keys() == {"type", "code", "message", "param"}


def test_every_error_stands_in_the_table() -> None:
    """A new class belongs here too."""
    found, waiting = set(), [ApiError]
    while waiting:
        kind = waiting.pop()
        found.add(kind)
        waiting += kind.__subclasses__()
    groups = {ApiError, errors.Unauthorized, errors.Forbidden, errors.NotFound, errors.Conflict}
    assert {kind for kind in found - groups if kind.__module__ == errors.__name__} == {type(row[0]) for row in TREE}


@pytest.mark.parametrize(
    ("wait", "seconds", "milliseconds"),
    [(7.0, b"7", b"7000"), (0.2, b"1", b"200"), (0.0, b"1", b"1"), (-3.0, b"1", b"1"), (3600.0, b"60", b"60000")],
)
def test_wait_is_rounded_up_and_believed(wait: float, seconds: bytes, milliseconds: bytes) -> None:
    """At least 1 s in seconds, at most 60, above which openai-node backs off by itself."""
    headers = dict(errors.RateLimited("x", wait).headers())
    assert headers == {b"retry-after": seconds, b"retry-after-ms": milliseconds}


def test_method_says_what_is_allowed() -> None:
    """RFC 9110 section 15.5.6."""
    assert errors.MethodNotAllowed("PUT", ("GET", "HEAD")).headers() == [(b"allow", b"GET, HEAD")]


def test_empty_account_says_that_waiting_is_in_vain() -> None:
    """SDKs retry a 429 by themselves, unless they are told not to."""
    assert errors.QuotaExceeded("x").headers() == [(b"x-should-retry", b"false")]


def test_hostile_words_are_escaped() -> None:
    """What a client sent stands in its error as text, never as a line or a quote (row H-5)."""
    body = errors.ModelNotFound('a\r\nSet-Cookie: b\0"}').body()
    assert b"\r" not in body
    assert b"\n" not in body
    assert b"\0" not in body
    assert json.loads(body)["error"]["code"] == "model_not_found"
