"""Where the service is and who asks: from arguments, else from the environment. Knows no client and sends nothing.

Only variables of TechStone's count. OPENAI_API_KEY and its like belong to another company's service.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from openai import NotGiven

from ._errors import InvalidBaseURLError, MissingAPIKeyError, MissingBaseURLError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2

_VERSION = "/v1"


def read_api_key() -> str | None:
    """Return the API key of the environment."""
    return _read("TECHSTONE_API_KEY")


def read_admin_key() -> str | None:
    """Return the admin key of the environment."""
    return _read("TECHSTONE_ADMIN_KEY")


def require_key(key: object, options: Mapping[str, object]) -> None:
    """Raise MissingAPIKeyError if there is no key at all, unless openai's option says that none is needed."""
    if not key and options.get("_enforce_credentials", True):
        raise MissingAPIKeyError


def resolve_base_url(given: str | httpx2.URL | NotGiven | None) -> str:
    """Return the base URL in one form, `https://host/prefix/v1/`; raise ConfigurationError if there is none.

    The service takes paths with and without /v1, but what stands before it may let only the documented ones through.
    """
    if given is None or isinstance(given, NotGiven):
        given = _read("TECHSTONE_BASE_URL") or _read("API_BASE_URL")
    if not given:
        raise MissingBaseURLError
    text = str(given).strip()
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and not parts.query and not parts.fragment
    except ValueError:  # such as an unclosed bracket of an IPv6 address
        usable = False
    if not usable:
        raise InvalidBaseURLError
    return text.rstrip("/?#").removesuffix(_VERSION).rstrip("/") + _VERSION + "/"


def locate_management(base_url: str | httpx2.URL, path: str) -> str:
    """Return the address of a part of the management API, which stands beside /v1, under /api/v1."""
    return f"{str(base_url).rstrip('/').removesuffix(_VERSION)}/api/v1/{path}"


def _read(name: str) -> str | None:
    # A line end at the end comes from files of secrets; an empty variable is one that was not filled in.
    return os.environ.get(name, "").strip() or None
