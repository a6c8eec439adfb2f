"""What a client may be given besides its keys and its base URL: openai's own options, named once for both clients.

For type checkers alone; nothing imports it at run time.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

import httpx2
from openai import DataResidency, NotGiven, Timeout
from openai._provider import _Provider
from openai.auth import WorkloadIdentity, X509WorkloadIdentity
from typing_extensions import TypedDict

APIKey: TypeAlias = str | Callable[[], str]
"""A key, or what fetches one before each request."""

AsyncAPIKey: TypeAlias = str | Callable[[], Awaitable[str]]
"""The same for the async client."""

_Key = TypeVar("_Key")
_Http = TypeVar("_Http")

class ClientOptions(TypedDict, Generic[_Http], total=False):
    """What a constructor takes as openai's does."""

    organization: str | None
    project: str | None
    webhook_secret: str | None
    websocket_base_url: str | httpx2.URL | None
    timeout: float | Timeout | NotGiven | None
    max_retries: int
    default_headers: Mapping[str, str] | None
    default_query: Mapping[str, object] | None
    http_client: _Http | None
    _strict_response_validation: bool
    _enforce_credentials: bool

class CopyOptions(TypedDict, Generic[_Key, _Http], total=False):
    """What `copy` and `with_options` take: all that openai's take."""

    api_key: _Key | None
    workload_identity: WorkloadIdentity | X509WorkloadIdentity | None
    provider: _Provider | NotGiven | None
    organization: str | None
    project: str | None
    webhook_secret: str | None
    websocket_base_url: str | httpx2.URL | None
    base_url: str | httpx2.URL | NotGiven | None
    data_residency: DataResidency | None
    timeout: float | Timeout | NotGiven | None
    http_client: _Http | None
    max_retries: int | NotGiven
    default_headers: Mapping[str, str] | None
    set_default_headers: Mapping[str, str] | None
    default_query: Mapping[str, object] | None
    set_default_query: Mapping[str, object] | None
    _enforce_credentials: bool | None
    _extra_kwargs: Mapping[str, Any]
