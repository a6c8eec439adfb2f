"""TechStone AI Cloud in Python: openai's SDK, which also knows what an answer cost and what is left.

    from techstoneai import TechStoneAI

Every name that code imports from `openai` is here too, but for OpenAI's own clients and its module-level client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from openai import (
    DEFAULT_CONNECTION_LIMITS,
    DEFAULT_MAX_RETRIES,
    DEFAULT_TIMEOUT,
    NOT_GIVEN,
    APIConnectionError,
    APIError,
    APIResponse,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AsyncAPIResponse,
    AsyncStream,
    AuthenticationError,
    BadRequestError,
    BaseModel,
    ConflictError,
    ContentFilterFinishReasonError,
    DataResidency,
    DefaultAioHttpClient,
    DefaultAsyncHttpx2Client,
    DefaultAsyncHttpxClient,
    DefaultHttpx2Client,
    DefaultHttpxClient,
    HttpxBinaryResponseContent,
    InternalServerError,
    InvalidWebhookSignatureError,
    LengthFinishReasonError,
    NoneType,
    NotFoundError,
    NotGiven,
    OAuthError,
    Omit,
    OpenAIError,
    PermissionDeniedError,
    ProxiesTypes,
    RateLimitError,
    ReconnectingEvent,
    ReconnectingOverrides,
    RequestOptions,
    Stream,
    Timeout,
    Transport,
    UnprocessableEntityError,
    WebSocketConnectionClosedError,
    WebSocketQueueFullError,
    file_from_path,
    not_given,
    omit,
    pydantic_function_tool,
    pydantic_responses_function_tool,
    types,
)

from ._client import AsyncTechStoneAI, TechStoneAI
from ._completion import ChatCompletion, ParsedChatCompletion
from ._errors import (
    ConfigurationError,
    InvalidBaseURLError,
    MissingAdminKeyError,
    MissingAPIKeyError,
    MissingBaseURLError,
)
from ._ratelimit import Allowance, RateLimit
from ._stream import AsyncChatStream, ChatStream
from ._version import __version__

if TYPE_CHECKING:
    from openai import (
        AssistantEventHandler,
        AsyncAssistantEventHandler,
        AsyncComputerDriver,
        AsyncComputerToolset,
        ComputerDriver,
        ComputerToolset,
    )

    from ._balance import Balance
    from ._estimate import Estimate, EstimatedCost, EstimatedLimits, EstimatedRoute
    from ._keys import CreatedKey, Key
    from ._limits import (
        AccountLimits,
        ConcurrentLimit,
        KeyLimits,
        Limits,
        MinuteLimit,
        RefusedRequest,
        SpendingCap,
    )
    from ._projects import Project
    from ._usage import UsageGroup, UsageRequest

__all__ = [
    "DEFAULT_CONNECTION_LIMITS",
    "DEFAULT_MAX_RETRIES",
    "DEFAULT_TIMEOUT",
    "NOT_GIVEN",
    "APIConnectionError",
    "APIError",
    "APIResponse",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AccountLimits",
    "Allowance",
    "AssistantEventHandler",
    "AsyncAPIResponse",
    "AsyncAssistantEventHandler",
    "AsyncChatStream",
    "AsyncClient",
    "AsyncComputerDriver",
    "AsyncComputerToolset",
    "AsyncStream",
    "AsyncTechStoneAI",
    "AuthenticationError",
    "BadRequestError",
    "Balance",
    "BaseModel",
    "ChatCompletion",
    "ChatStream",
    "Client",
    "ComputerDriver",
    "ComputerToolset",
    "ConcurrentLimit",
    "ConfigurationError",
    "ConflictError",
    "ContentFilterFinishReasonError",
    "CreatedKey",
    "DataResidency",
    "DefaultAioHttpClient",
    "DefaultAsyncHttpx2Client",
    "DefaultAsyncHttpxClient",
    "DefaultHttpx2Client",
    "DefaultHttpxClient",
    "Estimate",
    "EstimatedCost",
    "EstimatedLimits",
    "EstimatedRoute",
    "HttpxBinaryResponseContent",
    "InternalServerError",
    "InvalidBaseURLError",
    "InvalidWebhookSignatureError",
    "Key",
    "KeyLimits",
    "LengthFinishReasonError",
    "Limits",
    "MinuteLimit",
    "MissingAPIKeyError",
    "MissingAdminKeyError",
    "MissingBaseURLError",
    "NoneType",
    "NotFoundError",
    "NotGiven",
    "OAuthError",
    "Omit",
    "OpenAIError",
    "ParsedChatCompletion",
    "PermissionDeniedError",
    "Project",
    "ProxiesTypes",
    "RateLimit",
    "RateLimitError",
    "ReconnectingEvent",
    "ReconnectingOverrides",
    "RefusedRequest",
    "RequestOptions",
    "SpendingCap",
    "Stream",
    "TechStoneAI",
    "Timeout",
    "Transport",
    "UnprocessableEntityError",
    "UsageGroup",
    "UsageRequest",
    "WebSocketConnectionClosedError",
    "WebSocketQueueFullError",
    "__title__",
    "__version__",
    "file_from_path",
    "not_given",
    "omit",
    "pydantic_function_tool",
    "pydantic_responses_function_tool",
    "types",
]

__title__ = "techstoneai"
# openai has these shorter names of its clients too.
Client = TechStoneAI
AsyncClient = AsyncTechStoneAI

# What few programs need is imported when it is asked for (PEP 562): `import techstoneai` must not take much longer than
# `import openai`.
_LATER = {
    "AccountLimits": "techstoneai._limits",
    "AssistantEventHandler": "openai",
    "AsyncAssistantEventHandler": "openai",
    "AsyncComputerDriver": "openai",
    "AsyncComputerToolset": "openai",
    "Balance": "techstoneai._balance",
    "ComputerDriver": "openai",
    "ComputerToolset": "openai",
    "ConcurrentLimit": "techstoneai._limits",
    "CreatedKey": "techstoneai._keys",
    "Estimate": "techstoneai._estimate",
    "EstimatedCost": "techstoneai._estimate",
    "EstimatedLimits": "techstoneai._estimate",
    "EstimatedRoute": "techstoneai._estimate",
    "Key": "techstoneai._keys",
    "KeyLimits": "techstoneai._limits",
    "Limits": "techstoneai._limits",
    "MinuteLimit": "techstoneai._limits",
    "Project": "techstoneai._projects",
    "RefusedRequest": "techstoneai._limits",
    "SpendingCap": "techstoneai._limits",
    "UsageGroup": "techstoneai._usage",
    "UsageRequest": "techstoneai._usage",
}


if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_LATER[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
