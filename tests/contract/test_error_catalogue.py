"""spec/errors.json holds for the service: it sends what stands there, and nothing else stands in its source."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec.inspect
import pytest
from vectors import Failure, read_failures

from techstone.adapters.limits.memory import MemoryLimits
from techstone.core import chat, errors, failure, keys, refusals
from techstone.core.errors import ApiError
from techstone.core.limits import Refusal
from techstone.core.snapshot import Account, Key, Plan
from techstone.core.view import make_principal
from techstone.gateway.exchange import Exchange, Wire
from techstone.gateway.guard import Bounds, BrokenRequest, check_head, check_media
from techstone.gateway.head import NO_HEAD
from techstone.gateway.quota import Quota
from techstone.wire.chat import ChatBody

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FAILURES = read_failures()
SOURCE = Path(errors.__file__).parents[1]
NANO = 10**9


class Client:
    """A connection that keeps what is written."""

    peer = "192.0.2.1"
    secure = False
    stamp = b"date: x\r\nserver: x\r\n"

    def __init__(self) -> None:
        self.quota = Quota(MemoryLimits(lambda: 1000.0, lambda: 1000.0), lambda: 1000.0)
        self.exchange = Exchange(cast("Wire", self), NO_HEAD, b"req_1", 1000.0)
        self.written = b""

    def describe_limits(self, exchange: Exchange) -> bytes:
        return self.quota.describe(exchange)

    def write(self, data: bytes) -> None:
        self.written += data

    def refused(self, exchange: Exchange, error: ApiError) -> None:
        assert (exchange.sent, error.status >= 400) == (False, True)

    def answered(self, exchange: Exchange) -> None:
        assert exchange.sent


def refuse(status: int, body: object) -> ApiError:
    """Return what becomes of a provider's refusal."""
    return failure.explain("m", [failure.judge_status(status, None, json.dumps(body).encode())], 0.0)


def refuse_bytes(head: bytes) -> ApiError:
    with pytest.raises(BrokenRequest) as caught:
        check_head(head, Bounds())
    return caught.value.error


def refuse_media(name: bytes, value: bytes) -> ApiError:
    found = check_media({name: value})
    assert found is not None
    return found


def flood() -> ApiError:
    client = Client()
    principal = make_principal(
        Key("k", "0" * 64, "a", "n", "h"), Account("a", "a@x", "p"), Plan("p", 2, 9, 5, "postpaid")
    )
    return next(error for _ in range(99) if (error := client.quota.flood(client.exchange, principal)))


def guess() -> ApiError:
    client = Client()
    return next(error for _ in range(99) if (error := client.quota.fail(client.exchange)))


BOUNDS = Bounds()
# How each comes about that no body of a chat request alone brings about.
CAUSES: dict[str, Callable[[], ApiError]] = {
    "a conversation that is longer than the model reads": lambda: refuse(
        400, {"error": {"message": "too long", "type": "exceed_context_size_error", "code": 400}}
    ),
    "a refusal of the provider with a code": lambda: refuse(
        400, {"error": {"message": "no", "param": "{param}", "code": "{code}"}}
    ),
    "a refusal of the provider without a code": lambda: refuse(422, {"error": "no"}),
    "a refusal of the provider without words": lambda: refuse(400, {}),
    "an Idempotency-Key that cannot be one": lambda: errors.IdempotencyKeyInvalid(255),
    "an Idempotency-Key of another request": errors.IdempotencyMismatch,
    "bytes that are no HTTP": lambda: refuse_bytes(b"hello\r\n\r\n"),
    "a field of the management API is wrong": lambda: errors.InvalidRequest("limit must be…", param="{field}"),
    "no key": errors.KeyMissing,
    "a key that is none": lambda: errors.KeyInvalid(keys.redact("ts_live_0123456789abcdef0123456789")),
    "two keys": lambda: BrokenRequest(errors.KeyInvalid("two Authorization headers")).error,
    "a model that the key may not use": lambda: errors.ModelForbidden("m"),
    "a suspended account": errors.AccountSuspended,
    "a key that is disabled": errors.KeyDisabled,
    "a key without the scope": lambda: errors.ScopeMissing("models"),
    "a key from another address than it may come from": lambda: errors.AddressForbidden("192.0.2.1"),
    "a key for inference at the management API": errors.AdminKeyRequired,
    "an admin key where models are asked": errors.InferenceKeyRequired,
    "plain HTTP where HTTPS is served": errors.InsecureTransport,
    "an unknown model": lambda: errors.ModelNotFound("m"),
    "an unknown address": lambda: errors.UrlNotFound("GET", "/x"),
    "an unknown account (operators only)": lambda: errors.AccountNotFound("a@example.com"),
    "an unknown key (management API)": errors.KeyNotFound,
    "an unknown project (management API)": errors.ProjectNotFound,
    "an unknown member (management API)": errors.MemberNotFound,
    "an unknown request (management API)": errors.RequestNotFound,
    "an unknown invoice (management API)": lambda: errors.InvoiceNotFound("TS-2026-000009"),
    "a method that the address does not have": lambda: errors.MethodNotAllowed("PUT", ("GET", "POST")),
    "a head that does not come in time": lambda: errors.RequestTimeout("head", BOUNDS.head_seconds),
    "a body that does not come in time": lambda: errors.RequestTimeout("body", BOUNDS.body_seconds),
    "an Idempotency-Key whose request is being answered": errors.IdempotencyConflict,
    "an Idempotency-Key whose answer was too large to keep": errors.IdempotencyTooLarge,
    "a body that is too large": lambda: errors.PayloadTooLarge(BOUNDS.body),
    "a body that is too large for the provider": lambda: refuse(413, {"error": {"message": "at most 1 MB"}}),
    "a compressed body": lambda: refuse_media(b"content-encoding", b"gzip"),
    "a body that is not declared as JSON": lambda: refuse_media(b"content-type", b"text/plain"),
    "too many requests in a minute": lambda: refusals.explain(Refusal("requests", "key", 60, 1, 8.25)),
    "too many tokens in a minute": lambda: refusals.explain(Refusal("tokens", "account", 150_000, 9, 8.25)),
    "too many requests at a time": lambda: refusals.explain(Refusal("concurrency", "account", 5, 1, 1.0)),
    "more tokens than the limit ever allows": lambda: refusals.explain(Refusal("tokens", "key", 10, 20, None)),
    "ten times the plan's requests": flood,
    "too many wrong keys": guess,
    "no credit left": lambda: refusals.explain(Refusal("credit", "account", NANO, 2 * NANO, None)),
    "a spending cap is reached": lambda: refusals.explain(Refusal("daily_cap", "key", NANO, 2 * NANO, None)),
    "a head that is too large": lambda: errors.HeadTooLarge(BOUNDS.head, BOUNDS.fields),
    "a defect of the service": errors.ServerError,
    "every provider failed": lambda: refuse(401, {}),
    "no provider can be reached": lambda: failure.explain("m", [], 4.2),
    "the service is stopping": errors.Draining,
    "the service is starting": errors.NotReady,
    "credit is not known yet": errors.LedgerUnavailable,
    "whether the key was answered is not known": errors.IdempotencyUnavailable,
    "usage cannot be recorded": errors.JournalUnwritable,
}


def provoke(vector: Failure) -> ApiError:
    """Return the service's own error for the case."""
    request = bytes(vector.request)
    if not request:
        return CAUSES[vector.name]()
    with pytest.raises(ApiError) as caught:
        chat.read(msgspec.json.decode(request, type=str).encode() if request.startswith(b'"') else request)
    return caught.value


def read_answer(client: Client) -> tuple[int, dict[str, str], dict[str, Any]]:
    head, _, body = client.written.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    headers = dict(field.split(": ", 1) for field in fields)
    assert len(headers) == len(fields), "no header comes twice"
    assert int(headers.pop("content-length")) == len(body)
    return int(line.split(" ")[1]), headers, json.loads(body)


def matches(pattern: str, text: str) -> bool:
    """Say whether the text is the pattern, with anything for each `{…}`."""
    return re.fullmatch(re.sub(r"\\{[a-z]+\\}", ".+", re.escape(pattern)), text) is not None


@pytest.mark.parametrize("vector", FAILURES.errors, ids=lambda vector: vector.name)
def test_service_sends_what_stands_in_the_vector(vector: Failure) -> None:
    """Status, the four fields and the headers, to the last one; and the connection closes only where it must."""
    client = Client()
    client.exchange.send_error(provoke(vector))
    status, headers, body = read_answer(client)
    detail = body["error"]
    assert (status, *body) == (vector.status, "error")
    assert set(detail) == {"type", "code", "message", "param"}
    assert (detail["type"], detail["code"], detail["param"]) == (
        vector.error.type,
        vector.error.code,
        vector.error.param,
    )
    assert matches(vector.error.message, detail["message"]), detail["message"]
    wanted = FAILURES.headers | vector.headers | ({"connection": "close"} if vector.closes else {})
    found = {name: value for name, value in headers.items() if name not in {"date", "server"}}
    assert found.keys() == wanted.keys()
    assert all(matches(value, found[name]) for name, value in wanted.items()), found


def test_every_case_has_a_cause() -> None:
    """A body, or a place in the service; and none has two."""
    assert {vector.name for vector in FAILURES.errors if not bytes(vector.request)} == CAUSES.keys()
    assert len({vector.name for vector in FAILURES.errors}) == len(FAILURES.errors)


# From here on: what the source says that can be sent, as (status, type, code).
Sent = tuple[int, str, str | None]
PAGES_ONLY = {"console/", "identity/federation.py", "identity/foreigners.py"}
# Codes that are no constant: of the bounds in `wire.chat`, and a provider's own.
BOUND_CODES = {"f'{number}_{side}_value'", "f'{thing}_{side}_length'"}
PASSED_ON = "detail.code if detail and isinstance(detail.code, str) and (not detail.code.isdigit()) else None"


def list_classes(kind: type[ApiError] = ApiError) -> Iterator[type[ApiError]]:
    """Yield the classes of the tree, without those that other modules derive."""
    if kind.__module__ == errors.__name__:
        yield kind
        for below in kind.__subclasses__():
            yield from list_classes(below)


def list_made() -> Iterator[tuple[str, ast.expr | None]]:
    """Yield each error that the source makes or raises, by the name of its class, and the code that it is given.

    But for what only pages tell, in words of their own.
    """
    for path in SOURCE.rglob("*.py"):
        if any(f"control/{place}" in path.as_posix() for place in PAGES_ONLY):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and node.exc is not None:
                raised = [node.exc.body, node.exc.orelse] if isinstance(node.exc, ast.IfExp) else [node.exc]
                yield from ((name.id, None) for name in raised if isinstance(name, ast.Name))
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                yield node.func.id, next((word.value for word in node.keywords if word.arg == "code"), None)


def list_own_codes() -> dict[str, str]:
    """Return the codes that classes give to the constructor of the class above them."""
    tree = ast.parse(Path(errors.__file__).read_text())
    calls = [
        (kind.name, call)
        for kind in tree.body
        if isinstance(kind, ast.ClassDef)
        for call in ast.walk(kind)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__"
    ]
    codes = [(name, word.value) for name, call in calls for word in call.keywords if word.arg == "code"]
    return {name: ast.literal_eval(code) for name, code in codes if isinstance(code, ast.Constant)}


def list_bounds(kind: object) -> Iterator[str]:
    """Yield the codes of the bounds that a type has, and the types within it."""
    if isinstance(kind, tuple):
        for part in kind:
            yield from list_bounds(part)
    if not isinstance(kind, msgspec.inspect.Type | msgspec.inspect.Field):
        return
    name = {"IntType": "integer", "FloatType": "decimal", "StrType": "string", "ListType": "array"}.get(
        type(kind).__name__
    )
    for bound, code in (
        ("ge", f"{name}_below_min_value"),
        ("le", f"{name}_above_max_value"),
        ("min_length", "empty_array" if name == "array" else f"{name}_below_min_length"),
        ("max_length", f"{name}_above_max_length"),
    ):
        if getattr(kind, bound, None) is not None:
            yield code
    for field in kind.__struct_fields__:
        yield from list_bounds(getattr(kind, field))


def list_sent() -> Iterator[Sent]:
    """Yield all that the source can send."""
    classes = {kind.__name__: kind for kind in list_classes()}
    own = list_own_codes()
    for name, given in list_made():
        kind = classes.get(name)
        if kind is None:
            continue
        code = ast.unparse(given) if given is not None else None
        if code in BOUND_CODES:
            yield from ((kind.status, kind.type, bound) for bound in list_bounds(msgspec.inspect.type_info(ChatBody)))
        elif code == PASSED_ON:
            yield kind.status, kind.type, "{code}"
        else:
            yield kind.status, kind.type, own.get(name, ast.literal_eval(code) if code else kind.code)


def test_file_has_every_error_of_the_service_and_no_other() -> None:
    """By status, type and code, compared both ways; a new error belongs into spec/errors.json."""
    listed = {(vector.status, vector.error.type, vector.error.code) for vector in FAILURES.errors}
    sent = set(list_sent())
    assert listed - sent == set()
    assert sent - listed == set()
