"""What can be wrong before a request is sent. What a server answers is raised as openai's own exceptions.

OpenAIError
└── ConfigurationError
    ├── MissingAPIKeyError
    ├── MissingAdminKeyError
    ├── MissingBaseURLError
    └── InvalidBaseURLError

No message repeats what was given: it may be a key in the wrong place.
"""

from __future__ import annotations

from openai import OpenAIError

_EXAMPLE = "for example https://api.example.com/v1"


class ConfigurationError(OpenAIError):
    """The client lacks something, or was given something that cannot work."""


class MissingAPIKeyError(ConfigurationError):
    """There is no key for the models."""

    def __init__(self) -> None:
        super().__init__("No API key: pass api_key=... or set TECHSTONE_API_KEY. The Console makes keys.")


class MissingAdminKeyError(ConfigurationError):
    """There is no key for keys, projects, usage and balance."""

    def __init__(self) -> None:
        super().__init__(
            "No admin key, which keys, projects, usage and balance need: pass admin_key=... or set TECHSTONE_ADMIN_KEY."
        )


class MissingBaseURLError(ConfigurationError):
    """Nothing says where the service is."""

    def __init__(self) -> None:
        super().__init__(f"No base URL: pass base_url=... or set TECHSTONE_BASE_URL or API_BASE_URL, {_EXAMPLE}.")


class InvalidBaseURLError(ConfigurationError):
    """The base URL cannot be one."""

    def __init__(self) -> None:
        super().__init__(f"The base URL must begin with https:// or http:// and end with its path, {_EXAMPLE}.")
