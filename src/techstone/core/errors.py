"""Every way in which a request can fail, once, with its HTTP status, type and code.

    ApiError
    ├── InvalidRequest 400         malformed HTTP, JSON or parameter; carries `param` ·
    │                              IdempotencyKeyInvalid · IdempotencyMismatch
    ├── Unauthorized 401           KeyMissing · KeyInvalid
    ├── Forbidden 403              ModelForbidden · InsecureTransport · AccountSuspended · AdminKeyRequired ·
    │                              InferenceKeyRequired · KeyDisabled · ScopeMissing · AddressForbidden
    ├── NotFound 404               ModelNotFound · UrlNotFound · AccountNotFound · KeyNotFound · ProjectNotFound
    ├── Conflict 409               IdempotencyConflict · IdempotencyTooLarge
    ├── MethodNotAllowed 405
    ├── RequestTimeout 408
    ├── PayloadTooLarge 413
    ├── UnsupportedMediaType 415
    ├── HeadTooLarge 431
    ├── RateLimited 429            QuotaExceeded
    ├── ServerError 500            UpstreamFailed
    └── ServiceUnavailable 503     UpstreamUnavailable · Draining · NotReady · KeyUnconfirmed · LimitsUnknown ·
                                    LedgerUnavailable · IdempotencyUnavailable · JournalUnwritable

Raised anywhere with the fact, printed once (`gateway/exchange`): before the first byte as status and JSON, after it as
an SSE error event. Statuses: product spec, "Error Codes"; types and codes: conformance of OpenAI's SDKs, which map the
status to an exception class and expose `type`, `code` and `param`.
"""

from __future__ import annotations

import math
from typing import ClassVar

import msgspec

from techstone.wire.error import ErrorBody, ErrorDetail

# The longest wait that any answer names: openai-node 7 ignores a Retry-After above 60 s and backs off by itself.
LONGEST_WAIT = 60.0


class ApiError(Exception):
    """A failure that is told to the client.

    `retry_after` is in seconds (None: no such header); `should_retry` becomes `x-should-retry`, which SDKs obey before
    their own rule by status. `closes` says that the connection cannot be used for another request. `model` is what was
    asked for, `axis` and `scope` the limit that refused, where they are known: for our own notes, not for the client.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: str | None = None
    param: str | None = None
    retry_after: float | None = None
    should_retry: bool | None = None
    closes: bool = False
    model: str = ""
    axis: str = ""
    scope: str = ""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def body(self) -> bytes:
        """Return the JSON body, `{"error": {"type", "code", "message", "param"}}`."""
        return _ENCODER.encode(ErrorBody(ErrorDetail(self.type, self.code, self.message, self.param)))

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that belong to this error alone."""
        found: list[tuple[bytes, bytes]] = []
        if self.retry_after is not None:
            wait = min(max(self.retry_after, 0.001), LONGEST_WAIT)
            found.append((b"retry-after", b"%d" % math.ceil(wait)))
            found.append((b"retry-after-ms", b"%d" % math.ceil(wait * 1000)))
        if self.should_retry is not None:
            found.append((b"x-should-retry", b"true" if self.should_retry else b"false"))
        return found


_ENCODER = msgspec.json.Encoder()


class InvalidRequest(ApiError):
    """400: the request cannot be understood as it is. `param` is the path of the field, such as `messages[0].role`."""

    status = 400
    type = "invalid_request_error"

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, closes: bool = False
    ) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        self.closes = closes


class IdempotencyKeyInvalid(InvalidRequest):
    """400: the Idempotency-Key cannot be used."""

    def __init__(self, longest: int) -> None:
        super().__init__(
            f"The Idempotency-Key must be 1 to {longest} printable ASCII characters.", code="idempotency_key_invalid"
        )


class IdempotencyMismatch(InvalidRequest):
    """400: the key belongs to a request with another body."""

    should_retry = False

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was used with another request body. Use a new key for a new request.",
            code="idempotency_key_reused",
        )


class Conflict(ApiError):
    """409: not beside what there is already."""

    status = 409
    type = "invalid_request_error"


class IdempotencyConflict(Conflict):
    """409: the request of this key is being answered now; a retry gets its answer."""

    code = "idempotency_key_conflict"
    should_retry = True
    retry_after = 1.0

    def __init__(self) -> None:
        super().__init__("A request with this Idempotency-Key is being answered. Retry to get its answer.")


class IdempotencyTooLarge(Conflict):
    """409: answered and billed once, but the answer was too large to be kept."""

    code = "idempotency_answer_too_large"
    should_retry = False

    def __init__(self) -> None:
        super().__init__(
            "This request was answered and billed already, but its answer was too large to be stored for a replay."
        )


class Unauthorized(ApiError):
    """401: nobody is known by this key."""

    status = 401
    type = "invalid_request_error"


class KeyMissing(Unauthorized):
    """401: no Authorization header with a Bearer key."""

    def __init__(self) -> None:
        super().__init__(
            "You didn't provide an API key. Provide your API key in an Authorization header using Bearer auth "
            "(i.e. Authorization: Bearer YOUR_KEY). You can generate a key in the Console."
        )


class KeyInvalid(Unauthorized):
    """401: malformed, unknown, revoked or expired; which of these is not told to a stranger."""

    code = "invalid_api_key"

    def __init__(self, shown: str) -> None:
        """Take the key as it may be shown: its first and last characters only."""
        super().__init__(f"Incorrect API key provided: {shown}. You can find your API keys in the Console.")


class Forbidden(ApiError):
    """403: known, but not allowed."""

    status = 403
    type = "permission_error"
    code = "permission_denied"


class ModelForbidden(Forbidden):
    """403: the key's allow list does not name the model."""

    def __init__(self, model: str) -> None:
        super().__init__(f"Your API key does not have permission to use the model `{model}`.")
        self.model = model


class AccountSuspended(Forbidden):
    """403: the account is suspended."""

    def __init__(self) -> None:
        super().__init__("This account is suspended. Contact the operator of this service.")


class KeyDisabled(Forbidden):
    """403: the key is disabled for the time being; who holds the whole of it is no stranger, and is told so."""

    code = "key_disabled"

    def __init__(self) -> None:
        super().__init__("This API key is disabled. Enable it in the Console, or use another key.")


class ScopeMissing(Forbidden):
    """403: the key may not be used for this; the code is OpenAI's."""

    code = "missing_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"Your API key does not have the scope `{scope}`, which this request needs.")


class AddressForbidden(Forbidden):
    """403: the key may not be used from here; from where it may is not told. The code is OpenAI's."""

    code = "ip_not_authorized"

    def __init__(self, address: str) -> None:
        super().__init__(f"Your API key may not be used from the address {address}.")


class AdminKeyRequired(Forbidden):
    """403: an inference key at the management API."""

    code = "admin_key_required"

    def __init__(self) -> None:
        super().__init__("This is a key for inference. The management API needs an admin key, `ts_admin_...`.")


class InferenceKeyRequired(Forbidden):
    """403: an admin key where models are asked."""

    code = "inference_key_required"

    def __init__(self) -> None:
        super().__init__("This is an admin key, which cannot infer. Use a key for inference, `ts_live_...`.")


class InsecureTransport(Forbidden):
    """403: the request, and with it the key, came over plain HTTP where TLS is on (ASVS 4.1.2: no redirect)."""

    code = "https_required"
    closes = True

    def __init__(self) -> None:
        super().__init__(
            "This API is served over HTTPS only. If this request carried an API key, it has travelled in clear: "
            "revoke it and generate another one."
        )


class NotFound(ApiError):
    """404: no such thing."""

    status = 404
    type = "invalid_request_error"


class ModelNotFound(NotFound):
    """404: no such model."""

    code = "model_not_found"
    param = "model"

    def __init__(self, model: str) -> None:
        super().__init__(f"The model `{model}` does not exist or you do not have access to it.")
        self.model = model


class UrlNotFound(NotFound):
    """404: no such endpoint."""

    code = "unknown_url"

    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"Invalid URL ({method} {path})")


class AccountNotFound(NotFound):
    """404: no account of this email or id (operators' API)."""

    code = "account_not_found"
    param = "account"

    def __init__(self, who: str) -> None:
        super().__init__(f"There is no account `{who}`.")


class KeyNotFound(NotFound):
    """404: no key of this id (operators' API); what was asked for is not repeated, it may be a key."""

    code = "key_not_found"
    param = "key"

    def __init__(self) -> None:
        super().__init__("There is no such key. Name it by its id (`key list` shows them) or give the key itself.")


class ProjectNotFound(NotFound):
    """404: the account has no project of this id."""

    code = "project_not_found"
    param = "project"

    def __init__(self) -> None:
        super().__init__("There is no such project. Name it by its id, such as `proj_12f1b27906c6681682bb`.")


class InvoiceNotFound(NotFound):
    """404: the account has no document of this number (management API, Console)."""

    code = "invoice_not_found"
    param = "number"

    def __init__(self, number: str) -> None:
        super().__init__(f"There is no invoice `{number}`.")


class MemberNotFound(NotFound):
    """404: nobody of this id belongs to the account."""

    code = "member_not_found"
    param = "person"

    def __init__(self) -> None:
        super().__init__("There is no such member. Name them by their id, such as `per_12f1b27906c6681682bb`.")


class RequestNotFound(NotFound):
    """404: the account has no request of this id."""

    code = "request_not_found"
    param = "request_id"

    def __init__(self) -> None:
        super().__init__("There is no request of this id in this account. A request shows once it has ended.")


class MethodNotAllowed(ApiError):
    """405: the endpoint exists, but not for this method."""

    status = 405
    type = "invalid_request_error"
    code = "method_not_supported"

    def __init__(self, method: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"Not allowed to {method} on this endpoint. Allowed: {', '.join(allowed)}.")
        self.allowed = allowed

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return `Allow`, which RFC 9110 section 15.5.6 requires, and the rest."""
        return [(b"allow", ", ".join(self.allowed).encode()), *super().headers()]


class RequestTimeout(ApiError):
    """408: the request was not complete in time."""

    status = 408
    type = "invalid_request_error"
    code = "request_timeout"
    closes = True

    def __init__(self, part: str, seconds: float) -> None:
        super().__init__(f"The request {part} was not complete within {seconds:g} seconds.")


class PayloadTooLarge(ApiError):
    """413: the body is over the limit."""

    status = 413
    type = "invalid_request_error"
    code = "request_too_large"
    closes = True

    def __init__(self, limit: int) -> None:
        super().__init__(f"The request body is larger than the limit of {limit} bytes.")


class UnsupportedMediaType(ApiError):
    """415: not JSON, or compressed."""

    status = 415
    type = "invalid_request_error"
    code = "unsupported_media_type"


class HeadTooLarge(ApiError):
    """431: the request line and headers are over the limit."""

    status = 431
    type = "invalid_request_error"
    code = "request_header_fields_too_large"
    closes = True

    def __init__(self, limit: int, fields: int) -> None:
        super().__init__(f"The request head is larger than {limit} bytes or has more than {fields} header fields.")


class RateLimited(ApiError):
    """429: a limit of the client's plan or key; carries the true wait."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(self, message: str, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QuotaExceeded(ApiError):
    """429: credit or a cap does not cover it. Waiting helps only where running requests hold the rest."""

    status = 429
    type = "insufficient_quota"
    code = "insufficient_quota"

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.should_retry = False if retry_after is None else None


class ServerError(ApiError):
    """500: our fault, or that of every upstream that was tried."""

    code = "internal_error"

    def __init__(self, message: str = "An internal error occurred. Please retry after a brief wait.") -> None:
        super().__init__(message)


class UpstreamFailed(ServerError):
    """500: the upstreams answered with errors or nonsense."""

    code = "upstream_error"


class ServiceUnavailable(ApiError):
    """503: not now; carries the wait."""

    status = 503
    type = "service_unavailable_error"
    code = "service_unavailable"

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UpstreamUnavailable(ServiceUnavailable):
    """503: no upstream of the model could be reached, or all were overloaded."""

    code = "upstream_unavailable"

    def __init__(self, model: str, retry_after: float = 1.0) -> None:
        super().__init__(f"The model `{model}` is temporarily unavailable. Try again later.", retry_after)


class Draining(ServiceUnavailable):
    """503: this process is stopping."""

    closes = True

    def __init__(self) -> None:
        super().__init__("The service is restarting. Try again in a moment.")


class NotReady(ServiceUnavailable):
    """503: no snapshot yet, so that nobody can be known; not a 401, which would make clients drop good keys."""

    code = "not_ready"

    def __init__(self) -> None:
        super().__init__("The service is starting. Try again in a moment.")


class KeyUnconfirmed(ServiceUnavailable):
    """503: it cannot be asked now whether a key is good (the database is away); again not a 401."""

    code = "not_ready"

    def __init__(self) -> None:
        super().__init__("Keys cannot be checked at the moment. Try again in a moment.")


class LimitsUnknown(ServiceUnavailable):
    """503: what this gateway may give of a plan is not known: it never heard how many gateways share it."""

    code = "not_ready"

    def __init__(self) -> None:
        super().__init__(
            "The service is starting, and does not know its part of your limits yet. Try again in a moment."
        )


class LedgerUnavailable(ServiceUnavailable):
    """503: what costs money must wait until it is known who has credit (this gateway has not heard of it yet)."""

    code = "ledger_unavailable"

    def __init__(self) -> None:
        super().__init__("The credit of accounts is not known yet. Try again in a moment.")


class IdempotencyUnavailable(ServiceUnavailable):
    """503: whether another gateway has answered this key is not known now, and it must not be billed twice."""

    code = "idempotency_unavailable"

    def __init__(self) -> None:
        super().__init__(
            "Whether this Idempotency-Key was answered already is not known at the moment. Try again in a moment."
        )


class JournalUnwritable(ServiceUnavailable):
    """503: usage cannot be recorded durably now (disk full, or too much of it waits), so nothing new is served."""

    code = "journal_unwritable"

    def __init__(self) -> None:
        super().__init__(
            "Usage cannot be recorded at the moment, so that no requests are served. Try again later.", 5.0
        )
