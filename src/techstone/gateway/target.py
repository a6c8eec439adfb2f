"""Where a provider's requests go, and with which head: its addresses, its key, its headers."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from techstone.core.sealing import Unsealable, name_context
from techstone.gateway.ports import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from techstone.core.snapshot import Provider
    from techstone.gateway.ports import Opener

_COMPLETIONS = "/chat/completions"
# What a control plane has in its environment in place of a provider's key: that it is there, and no more.
WITHHELD = "set"


class Keyring:
    """The keys of providers: the environment's, and what is sealed in a snapshot."""

    def __init__(
        self, environment: Mapping[str, str], vault: Opener | None = None, report: Callable[[str], None] | None = None
    ) -> None:
        self._environment = environment
        self._vault = vault
        self._report = report

    def fill(self, value: str) -> str:
        """Return a value, or what the environment has by the name that it holds: `${NAME}`."""
        if value.startswith("${") and value.endswith("}"):
            return self._environment.get(value[2:-1], "")
        return value

    def find(self, provider: Provider) -> str | None:
        """Return a provider's key; raise Unsealable."""
        if provider.secret is None:
            return self._environment.get(provider.api_key_env) if provider.api_key_env else None
        if self._vault is None:
            raise Unsealable("there is nothing to open sealed secrets with")
        context = name_context(provider.name, *(replica.base_url for replica in provider.servers))
        return self._vault.open(base64.b64decode(provider.secret), context).decode("ascii")

    def complain(self, provider: str, error: Exception) -> None:
        """Tell the operator why a provider cannot be used."""
        if self._report is not None:
            self._report(f"provider {provider}: {error}")


class Target:
    """A provider made ready: where its connection goes, and the head of every request to it. May raise Unsealable.

    `base_url` is that of one of its replicas.
    """

    __slots__ = ("_fields", "_path", "_query", "head", "origin", "provider")

    def __init__(self, provider: Provider, keyring: Keyring, base_url: str | None = None) -> None:
        self.provider = provider
        parts = urlsplit(keyring.fill(base_url or provider.base_url))
        scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
        port = parts.port or (443 if scheme == "https" else 80)
        self.origin = Origin(scheme, parts.hostname or "", port)
        self._path, self._query = parts.path.rstrip("/"), f"?{parts.query}" if parts.query else ""
        fields = [
            f"host: {parts.netloc.rpartition('@')[2]}",
            "content-type: application/json",
            "accept: application/json, text/event-stream",
            "accept-encoding: identity",
            "user-agent: techstone",
        ]
        key = keyring.find(provider)
        names = {name.lower() for name in provider.headers}
        if key and "authorization" not in names and "api-key" not in names:
            fields.append(f"authorization: Bearer {key}")
        # Azure names its key header `api-key`; a header's value may name the key instead of holding it: ${NAME}.
        fields += [f"{name.lower()}: {keyring.fill(value)}" for name, value in provider.headers.items()]
        self._fields = fields
        self.head = self.compose("POST", _COMPLETIONS)

    def compose(self, method: str, path: str) -> bytes:
        """Return the head of a request below the base URL, up to the value of its `x-request-id`."""
        lines = [f"{method} {self._path}{path}{self._query} HTTP/1.1", *self._fields]
        return "\r\n".join(lines).encode("latin-1") + b"\r\nx-request-id: "

    def compose_check(self, path: str, *, rooted: bool) -> bytes:
        """Return the head of a GET beside the API: below the base URL without its `/v1`, or (`rooted`) at the root."""
        below = "" if rooted else self._path.removesuffix("/v1")
        return "\r\n".join([f"GET {below}{path} HTTP/1.1", *self._fields]).encode("latin-1") + b"\r\nx-request-id: "
