"""What went wrong and what to do, in plain words, for every error code that a request can end with.

The one table of these words: the page that watches a first request, the logs and the limits read it. A test holds it to
the catalogue, `spec/errors.json`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from techstone.control.ledger.records import RequestShown
    from techstone.control.reports.records import Refusal


class Trouble(msgspec.Struct, frozen=True):
    """What is known of a failure; `code` is the error's code, or its type where it has none."""

    code: str
    status: int
    model: str = ""
    param: str = ""
    axis: str = ""
    scope: str = ""
    wait: int | None = None


class Advice(msgspec.Struct, frozen=True):
    """The cause, what to do about it, and where that is done. `{}` fields are of a `Trouble`."""

    cause: str
    remedy: str
    link: str = "/docs/errors"
    label: str = "About this error"


_FIELD = "The request's field {field} is at fault"
_AGAIN = "Send the request again in a moment. If it stays, tell who runs this cloud."
_KEYS = ("/console/keys", "To the keys")
_MODELS = ("/console/models", "Models on offer")
_BILLING = ("/console/billing", "To billing")
_LIMITS = ("/console/limits", "Limits now")
_QUICKSTART = ("/docs/quickstart", "Quickstart")

_RANGE = Advice(f"{_FIELD}: its value is out of range.", "The documentation of the field says what it may be.")
_ADVICE: dict[str, Advice] = {
    # 400
    "invalid_request_error": Advice(
        "The request could not be read, or the provider refused it.",
        "Send a JSON body with the header Content-Type: application/json. With cURL, check the quotes.",
        *_QUICKSTART,
    ),
    "missing_required_parameter": Advice(
        f"{_FIELD}: it is missing.", "Add it. A chat request needs at least model and messages.", *_QUICKSTART
    ),
    "invalid_type": Advice(
        f"{_FIELD}: its value is of the wrong type.", "Send the type that the documentation names, numbers unquoted."
    ),
    "invalid_value": Advice(
        f"{_FIELD}: its value is not allowed, or not together with the others.",
        "The answer's message says which values are.",
    ),
    "integer_above_max_value": _RANGE,
    "integer_below_min_value": _RANGE,
    "decimal_above_max_value": _RANGE,
    "decimal_below_min_value": _RANGE,
    "empty_array": Advice(f"{_FIELD}: it is an empty list.", "Put at least one element in, such as one message."),
    "array_above_max_length": Advice(f"{_FIELD}: the list is too long.", "Send fewer elements."),
    "string_above_max_length": Advice(f"{_FIELD}: the text is too long.", "Shorten it."),
    "object_above_max_properties": Advice(f"{_FIELD}: it has too many entries.", "Send 16 at most."),
    "context_length_exceeded": Advice(
        "The conversation is longer than {model} can read.",
        "Send fewer messages, or choose a model with a larger context.",
        *_MODELS,
    ),
    "idempotency_key_invalid": Advice(
        "The header Idempotency-Key cannot be used.",
        "Send 1 to 255 printable ASCII characters.",
        "/docs/idempotency",
        "Idempotency",
    ),
    "idempotency_key_reused": Advice(
        "The Idempotency-Key belongs to another request.",
        "Use a new one for every new request.",
        "/docs/idempotency",
        "Idempotency",
    ),
    "malformed_http": Advice(
        "What came was no HTTP request that can be trusted.",
        "Check the program or proxy that sends it. Ordinary clients and SDKs never meet this.",
    ),
    # 401, 403
    "invalid_api_key": Advice(
        "The key is not good any more: it was revoked, or it has expired.",
        "Make a new key and put it in the place of the old one.",
        *_KEYS,
    ),
    "permission_denied": Advice(
        "The key may not do this{of_model}.",
        "Use a key that may, or make one for this model. A suspended account is resumed by who runs this cloud.",
        *_KEYS,
    ),
    "key_disabled": Advice("The key is disabled.", "Enable it on its page, or use another.", *_KEYS),
    "missing_scope": Advice(
        "The key is not for this use.", "Use a key whose scopes hold it, or add it on the key's page.", *_KEYS
    ),
    "ip_not_authorized": Advice(
        "The request came from an address that the key is not for.",
        "Add the address on the key's page. Behind a proxy, who runs this cloud must trust that proxy.",
        *_KEYS,
    ),
    "inference_key_required": Advice(
        "An admin key was sent where models are asked.", "Use a key for asking models, ts_live_….", *_KEYS
    ),
    "https_required": Advice(
        "The request came over plain HTTP, and with it the key, in clear.",
        "Use the https address, and revoke this key: somebody may have read it.",
        *_KEYS,
    ),
    # 404, 405
    "model_not_found": Advice(
        "There is no model {model} here.",
        "Use a name from the list of models, spelled as it stands there.",
        *_MODELS,
    ),
    "unknown_url": Advice(
        "The address does not exist.",
        "Check the base URL of your client: it ends in /v1, and the SDKs append the rest themselves.",
        *_QUICKSTART,
    ),
    "method_not_supported": Advice(
        "The address exists, but not for this method.", "Send chat requests with POST.", *_QUICKSTART
    ),
    # 408 to 431
    "request_timeout": Advice("The request did not arrive whole in time.", "Check the connection, and send it again."),
    "idempotency_key_conflict": Advice(
        "A request with this Idempotency-Key is being answered.",
        "Send it again after a second, to get that answer.",
        "/docs/idempotency",
        "Idempotency",
    ),
    "idempotency_answer_too_large": Advice(
        "This request was answered already, but its answer was too large to be kept.",
        "Use a new Idempotency-Key if you want to ask again.",
        "/docs/idempotency",
        "Idempotency",
    ),
    "request_too_large": Advice("The request is too large.", "Send less text, or smaller images."),
    "unsupported_media_type": Advice(
        "The body is not declared as JSON, or it is compressed.",
        "Send plain JSON with the header Content-Type: application/json.",
        *_QUICKSTART,
    ),
    "request_header_fields_too_large": Advice(
        "The request's headers are too large.", "Send fewer or shorter headers, cookies first of all."
    ),
    # 429, by the limit
    "rate_limit_exceeded": Advice("A rate limit was reached.", "Send the request again after {seconds}.", *_LIMITS),
    "rate_limit_exceeded/requests": Advice(
        "All requests a minute of the {whose} are used.",
        "Send it again after {seconds}; the SDKs do so by themselves. Spread requests, or ask for a larger plan.",
        *_LIMITS,
    ),
    "rate_limit_exceeded/tokens": Advice(
        "The tokens a minute of the {whose} do not cover this request now.",
        "Send it again after {seconds}. A lower max_tokens reserves less.",
        *_LIMITS,
    ),
    "rate_limit_exceeded/never": Advice(
        "The request may take more tokens than the {whose} ever allows in a minute.",
        "Shorten it, or lower max_tokens. Waiting does not help.",
        *_LIMITS,
    ),
    "rate_limit_exceeded/concurrency": Advice(
        "As many requests as the {whose} allows at a time are running.",
        "Wait until one has ended, or send fewer at a time.",
        *_LIMITS,
    ),
    "rate_limit_exceeded/flood": Advice(
        "More than ten times the plan's requests came in a minute.",
        "Look for a program that repeats requests without waiting, and stop it.",
        *_LIMITS,
    ),
    "insufficient_quota": Advice(
        "The account's credit, or a spending cap, does not cover this request.",
        "Add credit, raise the cap, or lower max_tokens.",
        *_BILLING,
    ),
    "insufficient_quota/credit": Advice(
        "The account's credit does not cover what this request may cost.",
        "Add credit, or lower max_tokens. Waiting does not help.",
        *_BILLING,
    ),
    "insufficient_quota/held": Advice(
        "Running requests hold what the {whose} may spend.",
        "Send it again after {seconds}; the SDKs do so by themselves. A lower max_tokens holds less.",
        *_LIMITS,
    ),
    "insufficient_quota/monthly_cap": Advice(
        "The monthly spending cap of the {whose} is reached.",
        "Raise the cap, or wait for the next month. Owners and billing raise an account's cap under Billing.",
        *_KEYS,
    ),
    "insufficient_quota/daily_cap": Advice(
        "The daily spending cap of the {whose} is reached.", "Raise the cap, or wait for the next day, UTC.", *_KEYS
    ),
    # 499, 500, 503
    "client_closed": Advice(
        "Your program closed the connection before the answer was whole.",
        "Raise its timeout, or read a stream to its end.",
    ),
    "internal_error": Advice("Something went wrong here.", _AGAIN),
    "upstream_error": Advice("The provider of {model} failed.", _AGAIN),
    "upstream_unavailable": Advice("The provider of {model} cannot be reached, or has no room.", _AGAIN),
    "service_unavailable": Advice("The service was restarting.", _AGAIN),
    "not_ready": Advice("The service was starting.", _AGAIN),
    "ledger_unavailable": Advice("The service was starting, and did not know your credit yet.", _AGAIN),
    "idempotency_unavailable": Advice(
        "Whether the Idempotency-Key was answered already could not be asked.",
        "Send it again with the same key.",
        "/docs/idempotency",
        "Idempotency",
    ),
    "journal_unwritable": Advice("Usage cannot be recorded at the moment, so nothing is served.", _AGAIN),
}
_MONEY = frozenset(("credit", "monthly_cap", "daily_cap"))
_UNKNOWN = Advice("The provider refused the request.", "The answer's message says why.")


def advise(trouble: Trouble) -> Advice:
    """Return what to tell about a failure."""
    axis = trouble.axis
    if axis == "tokens" and trouble.wait is None:
        axis = "never"
    elif axis in _MONEY and trouble.wait is not None:
        axis = "held"
    found = _ADVICE.get(f"{trouble.code}/{axis}") or _ADVICE.get(trouble.code) or _UNKNOWN
    wait = trouble.wait
    words = {
        "field": trouble.param or "named in the answer",
        "model": trouble.model or "the model",
        "of_model": f": ask {trouble.model}" if trouble.model else "",
        "whose": trouble.scope or "account",
        "seconds": "a moment" if wait is None else f"{wait} second{'' if wait == 1 else 's'}",
    }
    return Advice(found.cause.format(**words), found.remedy.format(**words), found.link, found.label)


def knows(code: str) -> bool:
    """Say whether there are words for a code."""
    return code in _ADVICE


def advise_refusal(refusal: Refusal) -> Advice:
    """Return what to tell about a request that was not admitted."""
    return advise(
        Trouble(refusal.code, refusal.status, refusal.model, refusal.param, refusal.axis, refusal.scope, refusal.wait)
    )


def advise_request(request: RequestShown) -> Advice:
    """Return what to tell about a request that was admitted and failed."""
    return advise(Trouble(request.error_code or "invalid_request_error", request.status, request.model))
