"""/openapi.json: the API as an OpenAPI 3.1 document, its schemas made from the very structs that the service reads.

What the structs do not say (paths, statuses, headers, prose) stands here, once.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from techstone.control.invoicing import records as invoicing
from techstone.control.ledger.records import Grouping
from techstone.control.management import records as management
from techstone.control.pages import openapi_account, openapi_operate
from techstone.wire.chat import ChatBody
from techstone.wire.completion import ChatCompletion, ChatCompletionChunk
from techstone.wire.error import ErrorBody
from techstone.wire.estimate import Estimate
from techstone.wire.limits import (
    AccountLimits,
    ConcurrentLimit,
    KeyLimits,
    Limits,
    MinuteLimit,
    RefusedRequest,
    SpendingCap,
)
from techstone.wire.models import Model, ModelList

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SHOWN = (
    ChatBody,
    ChatCompletion,
    ChatCompletionChunk,
    Estimate,
    Limits,
    Model,
    ModelList,
    ErrorBody,
    management.Balance,
    management.UsageList,
    management.RequestList,
    management.KeyList,
    management.KeyObject,
    management.CreatedKeyObject,
    management.KeyWish,
    management.KeyUpdate,
    management.ProjectList,
    management.ProjectObject,
    management.ProjectWish,
    management.ProjectUpdate,
    management.Replacement,
    *openapi_operate.SHAPES,
    invoicing.InvoiceList,
    invoicing.InvoiceShown,
    invoicing.Statement,
    *openapi_account.SHAPES,
)
_DESCRIPTION = (
    "One API for every model, in OpenAI's format. Every path below `/v1` is there without `/v1`, too. Errors have one "
    "form, and every answer tells what is left of the limits."
)
_ERRORS = {
    400: "The request is malformed, or a parameter is wrong; `param` names it.",
    401: "There is no valid API key.",
    403: "The key may not do this.",
    404: "There is no such model, key, project, invoice, member, request or endpoint.",
    405: "The endpoint does not know this method; `Allow` names those that it does.",
    408: "The request did not come in time.",
    409: "A request with this Idempotency-Key is being answered, or its answer was too large to be kept.",
    413: "The body is too large.",
    415: "The body is not JSON, or is compressed.",
    429: "A limit is reached; `Retry-After` says for how long. `insufficient_quota`: credit or a cap does not "
    "cover it; with `Retry-After` only what running requests hold is missing.",
    431: "The headers are too large.",
    500: "The service or the upstream failed.",
    503: "The service or the model is not available at the moment.",
}
_WAITING = frozenset((429, 503))


class Reference:
    """The document. `public_url` is without a path; a model that is there stands in the examples."""

    def __init__(self, public_url: str, version: str, models: Sequence[str] = ()) -> None:
        self._public_url = public_url
        self._version = version
        self._model = models[0] if models else "gpt-5-mini"

    @cached_property
    def document(self) -> bytes:
        """Return it as JSON."""
        _, schemas = msgspec.json.schema_components(_SHOWN, ref_template="#/components/schemas/{name}")
        document = {
            "openapi": "3.1.0",
            "info": {
                "title": "TechStone AI Cloud",
                "version": self._version,
                "description": _DESCRIPTION,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": self._public_url}],
            "tags": [
                {"name": "Chat", "description": "Completions, whole or streamed."},
                {"name": "Models", "description": "What can be asked for."},
                {"name": "Limits", "description": "What is left, and who was refused."},
                {
                    "name": "Management",
                    "description": "Keys, projects, usage, balance and invoices of an account, with an admin key.",
                },
                {"name": "Operate", "description": "Accounts, catalog, prices and plans, with an operator key."},
            ],
            "paths": _list_paths(self._model),
            "components": {
                "schemas": schemas,
                "headers": _HEADERS,
                "responses": {f"Error{status}": _describe_error(status) for status in _ERRORS},
                "securitySchemes": {
                    "key": {"type": "http", "scheme": "bearer", "description": "A key for inference, `ts_live_…`."},
                    "adminKey": {"type": "http", "scheme": "bearer", "description": "An admin key, `ts_admin_…`."},
                    "operatorKey": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "An operator key: an admin key that an operator made to run the cloud.",
                    },
                },
            },
        }
        return msgspec.json.encode(document)


def _header(description: str, kind: str = "integer") -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind}}


_HEADERS = {
    "x-request-id": _header("Names this request in logs, usage and bills.", "string"),
    "x-ratelimit-remaining": _header("Requests that are left now."),
    "x-ratelimit-reset": _header("Seconds until nothing counts any more."),
    "x-ratelimit-limit-requests": _header("Requests allowed in any 60 s."),
    "x-ratelimit-remaining-requests": _header("Requests that are left now."),
    "x-ratelimit-reset-requests": _header("Until no request counts any more, as Go writes durations.", "string"),
    "x-ratelimit-limit-tokens": _header("Tokens allowed in any 60 s."),
    "x-ratelimit-remaining-tokens": _header("Tokens that are left now."),
    "x-ratelimit-reset-tokens": _header("Until no token counts any more, as Go writes durations.", "string"),
    "x-techstone-served-by": _header("The provider and its model that answered.", "string"),
    "x-techstone-cost": _header("What the answer cost, USD.", "string"),
    "retry-after": _header("Seconds after which to try again."),
}
_ALWAYS = ("x-request-id", "x-ratelimit-remaining", "x-ratelimit-reset")
_WITH_KEY = (*_ALWAYS, *(name for name in _HEADERS if name.endswith(("-requests", "-tokens"))))


def _refer_headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _schema(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _describe_error(status: int) -> dict[str, Any]:
    names = (*_ALWAYS, "retry-after") if status in _WAITING else _ALWAYS
    content = {"application/json": {"schema": _schema("ErrorBody")}}
    return {"description": _ERRORS[status], "headers": _refer_headers(names), "content": content}


def _answer(description: str, schema: str, headers: Iterable[str] = _ALWAYS) -> dict[str, Any]:
    content = {"application/json": {"schema": _schema(schema)}}
    return {"description": description, "headers": _refer_headers(headers), "content": content}


def _fail(*statuses: int) -> dict[str, Any]:
    """Return the errors of a route: its own, and those that any route can answer with."""
    every = sorted({*statuses, 400, 401, 403, 408, 429, 431, 500, 503})
    return {str(status): {"$ref": f"#/components/responses/Error{status}"} for status in every}


def _body(schema: str, example: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": _schema(schema), "example": example}}}


def _query(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _list_paths(model_name: str) -> dict[str, Any]:
    asks = _body("ChatBody", {"model": model_name, "messages": [{"role": "user", "content": "Hello!"}]})
    infers: list[dict[str, list[str]]] = [{"key": []}]
    chat = {
        "tags": ["Chat"],
        "operationId": "createChatCompletion",
        "summary": "Create a chat completion",
        "description": "Parameters that are not listed are passed on to the model's provider.",
        "security": infers,
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "The same key and body within 24 h get the same answer, made and billed once.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
            }
        ],
        "requestBody": asks,
        "responses": {
            "200": {
                "description": "The answer; with `stream: true` as server-sent events, the last of them `[DONE]`.",
                "headers": _refer_headers((*_WITH_KEY, "x-techstone-served-by", "x-techstone-cost")),
                "content": {
                    "application/json": {"schema": _schema("ChatCompletion")},
                    "text/event-stream": {"schema": {"type": "string"}},
                },
            },
            **_fail(404, 409, 413, 415),
        },
    }
    estimate = {
        "tags": ["Chat"],
        "operationId": "estimate",
        "summary": "Say what a chat completion would take, without asking a model",
        "security": infers,
        "requestBody": asks,
        "responses": {"200": _answer("The estimate.", "Estimate", _WITH_KEY), **_fail(404, 413, 415)},
    }
    models = {
        "tags": ["Models"],
        "operationId": "listModels",
        "summary": "List the models that the key may use",
        "security": infers,
        "responses": {"200": _answer("The models.", "ModelList", _WITH_KEY), **_fail()},
    }
    model = {
        "tags": ["Models"],
        "operationId": "retrieveModel",
        "summary": "Show a model",
        "security": infers,
        "parameters": [
            {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}, "example": model_name}
        ],
        "responses": {"200": _answer("The model.", "Model", _WITH_KEY), **_fail(404)},
    }
    left = _answer("The limits.", "Limits", _WITH_KEY)
    left["content"]["application/json"]["example"] = msgspec.to_builtins(_show_limits(model_name))
    limits = {
        "tags": ["Limits"],
        "operationId": "retrieveLimits",
        "summary": "Show what is left of the limits, and who was refused lately",
        "description": "Asks no model, and counts against no limit.",
        "security": infers,
        "responses": {"200": left, **_fail()},
    }
    return {
        "/v1/chat/completions": {"post": chat},
        "/v1/estimate": {"post": estimate},
        "/v1/models": {"get": models},
        "/v1/models/{model}": {"get": model},
        "/v1/limits": {"get": limits},
        **_list_management(),
        **_list_operate(),
    }


def _show_limits(model_name: str) -> Limits:
    """Return an example: a prepaid account one of whose keys has used up its own requests."""
    account = AccountLimits(
        MinuteLimit(60, 12, 48, 41.27), MinuteLimit(150_000, 9_310, 140_690, 41.27), ConcurrentLimit(5, 1)
    )
    return Limits(
        plan="pay-as-you-go",
        account=account,
        key=KeyLimits(MinuteLimit(10, 10, 0, 41.27), None, None),
        credit="4.20",
        caps=[SpendingCap("key", "day", "5.00", "0.80", "4.20")],
        refused=[RefusedRequest(1_787_270_412.53, "requests", "key", "ts_live_...k3Qd", model_name, 9)],
    )


def _list_management() -> dict[str, Any]:
    since = _query(
        "since", "Unix seconds; 24 h ago if not given, at most 400 days ago.", {"type": "integer", "minimum": 0}
    )
    which = {"name": "key_id", "in": "path", "required": True, "schema": {"type": "string"}}
    by = {"type": "string", "enum": list(Grouping.__args__), "default": "model"}  # type: ignore[attr-defined]  # a Literal's values
    project = _query("project", "Of the keys of this project (id) alone, or of those of `none`.", {"type": "string"})
    after = _query("after", "Only those after this request.", {"type": "string"})
    limit = _query("limit", "At most so many.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100})
    return {
        "/api/v1/balance": {
            "get": _manage("retrieveBalance", "Show the account's money", "Balance"),
            "patch": _manage(
                "updateBalance",
                "Set or lower the cap of a month",
                "Balance",
                body=("CapUpdate", {"monthly_cap": "25.00"}),
                status=200,
            ),
        },
        "/api/v1/usage": {
            "get": _manage(
                "listUsage", "Sum usage", "UsageList", [since, _query("by", "What to sum by.", by), project], 404
            )
        },
        "/api/v1/requests": {
            "get": _manage("listRequests", "List requests, oldest first", "RequestList", [since, after, limit])
        },
        **_list_documents(),
        **openapi_account.list_paths(_manage),
        "/api/v1/keys": {
            "get": _manage("listKeys", "List keys, oldest first", "KeyList"),
            "post": _manage(
                "createKey",
                "Create a key, shown this once",
                "CreatedKeyObject",
                [],
                404,
                body=("KeyWish", {"name": "production", "expires": "90d"}),
            ),
        },
        "/api/v1/keys/{key_id}": {
            "get": _manage("retrieveKey", "Show a key", "KeyObject", [which], 404),
            "patch": _manage(
                "updateKey",
                "Change a key",
                "KeyObject",
                [which],
                404,
                body=("KeyUpdate", {"rpm": None, "scopes": ["chat"]}),
                status=200,
            ),
        },
        "/api/v1/keys/{key_id}/disable": {
            "post": _manage("disableKey", "Refuse a key until it is enabled", "KeyObject", [which], 404)
        },
        "/api/v1/keys/{key_id}/enable": {
            "post": _manage("enableKey", "Let a disabled key in again", "KeyObject", [which], 404)
        },
        "/api/v1/keys/{key_id}/revoke": {"post": _manage("revokeKey", "End a key now", "KeyObject", [which], 404)},
        "/api/v1/keys/{key_id}/rotate": {
            "post": _manage(
                "rotateKey",
                "Replace a key by a new one",
                "CreatedKeyObject",
                [which],
                404,
                body=("Replacement", {"overlap": 3600}),
            )
        },
        **_list_projects(),
    }


def _list_projects() -> dict[str, Any]:
    which = {"name": "project_id", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "/api/v1/projects": {
            "get": _manage("listProjects", "List projects, oldest first", "ProjectList"),
            "post": _manage(
                "createProject", "Create a project", "ProjectObject", body=("ProjectWish", {"name": "web"})
            ),
        },
        "/api/v1/projects/{project_id}": {
            "get": _manage("retrieveProject", "Show a project", "ProjectObject", [which], 404),
            "patch": _manage(
                "updateProject",
                "Change a project",
                "ProjectObject",
                [which],
                404,
                body=("ProjectUpdate", {"archived": True}),
                status=200,
            ),
        },
    }


def _list_documents() -> dict[str, Any]:
    limit = _query("limit", "At most so many.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100})
    number = {"name": "number", "in": "path", "required": True, "schema": {"type": "string"}}
    form = {"type": "string", "pattern": "^20[0-9]{2}-(0[1-9]|1[0-2])$", "examples": ["2026-11"]}
    month = _query("month", "A UTC month; the current one, so far, if not given.", form)
    return {
        "/api/v1/invoices": {
            "get": _manage("listInvoices", "List invoices and receipts, newest first", "InvoiceList", [limit])
        },
        "/api/v1/invoices/{number}": {
            "get": _manage("retrieveInvoice", "Show an invoice or receipt", "InvoiceShown", [number], 404)
        },
        "/api/v1/statements": {
            "get": _manage("retrieveStatement", "Show the statement of a month", "Statement", [month])
        },
    }


def _list_operate() -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for asked in openapi_operate.OPERATIONS:
        answer = _answer(asked.summary + ".", asked.answer.__name__)
        if asked.many:
            answer["content"]["application/json"]["schema"] = {
                "type": "array",
                "items": _schema(asked.answer.__name__),
            }
        operation: dict[str, Any] = {
            "tags": ["Operate"],
            "operationId": asked.name,
            "summary": asked.summary,
            "security": [{"operatorKey": []}],
            "parameters": [
                {"name": name, "in": "query", "description": told, "required": needed, "schema": {"type": kind}}
                for name, kind, needed, told in asked.query
            ],
            "responses": {
                "200" if asked.body is None else str(asked.status): answer,
                **_fail(404, *((413, 415) if asked.body else ())),
            },
        }
        if asked.body is not None:
            operation["requestBody"] = _body(asked.body.__name__, asked.example)
        paths.setdefault(openapi_operate.PREFIX + asked.path, {})[asked.method] = operation
    return paths


def _manage(
    name: str,
    summary: str,
    schema: str,
    parameters: list[dict[str, Any]] | None = None,
    *statuses: int,
    body: tuple[str, dict[str, Any]] | None = None,
    status: int | None = None,
) -> dict[str, Any]:
    operation = {
        "tags": ["Management"],
        "operationId": name,
        "summary": summary,
        "security": [{"adminKey": []}],
        "parameters": parameters or [],
        "responses": {
            str(status or (200 if body is None else 201)): _answer(summary + ".", schema),
            **_fail(*statuses, *((413, 415) if body else ())),
        },
    }
    if body is not None:
        operation["requestBody"] = _body(*body)
    return operation
