"""Tries a provider: asks for its models, or for one token, by the gateway's own client; implements `Prober`.

It runs in the control plane, with connections of its own, so that no request waits for it.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from techstone.adapters.upstreams.http import HttpUpstreams
from techstone.control.catalog.ports import Asked
from techstone.core.snapshot import Timeouts
from techstone.gateway.ports import Call, UpstreamProblem
from techstone.gateway.target import WITHHELD, Keyring, Target
from techstone.gateway.trampoline import Trampoline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from techstone.core.snapshot import Provider
    from techstone.gateway.ports import Opener

# A person waits for it.
_LONGEST = Timeouts(connect=5.0, first_byte=20.0, between_bytes=10.0, total=30.0)
_LARGEST = 4 * 1024 * 1024


class Probe:
    """Asks by the provider's own key. `environment` holds keys and proxies, `vault` opens what is sealed."""

    def __init__(self, environment: Mapping[str, str], vault: Opener) -> None:
        self._environment = environment
        # No provider is shown a key that is none: many of those are taken for an attack.
        self._keys = {name: value for name, value in environment.items() if value != WITHHELD}
        self._keyring = Keyring(self._keys, vault)

    async def list_models(self, provider: Provider, base_url: str) -> Asked:
        """Ask the server at one of its addresses for its models; raise Unsealable."""
        target = Target(provider, self._keyring, base_url)
        return await self._ask(provider, target, target.compose("GET", "/models"), b"")

    async def chat(self, provider: Provider, base_url: str, model: str) -> Asked:
        """Ask the server at one of its addresses for one token; raise Unsealable."""
        target = Target(provider, self._keyring, base_url)
        host = urlsplit(base_url).hostname or ""
        limit = "max_completion_tokens" if host.endswith((".openai.com", ".azure.com")) else "max_tokens"
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], limit: 1}
        return await self._ask(provider, target, target.head, msgspec.json.encode(body))

    async def _ask(self, provider: Provider, target: Target, head: bytes, body: bytes) -> Asked:
        loop = asyncio.get_running_loop()
        upstreams = HttpUpstreams(loop, self._environment)
        timeouts = Timeouts(
            *(min(given, most) for given, most in zip(*map(_list, (provider.timeouts, _LONGEST)), strict=True))
        )
        name = f"trial_{secrets.token_hex(8)}".encode()
        came: asyncio.Future[tuple[int, bytes]] = loop.create_future()
        began = loop.time()

        async def ask() -> None:
            answer = await upstreams.open(Call(target.origin, head + name, body, timeouts))
            came.set_result((answer.status, await answer.read(_LARGEST)))

        def end(error: Exception | None) -> None:
            if error is not None and not came.done():
                came.set_exception(error)

        # The client's answers wake who runs on a trampoline, as the gateway's requests do.
        running = Trampoline(ask(), end)
        running.advance()
        try:
            status, text = await came
        except UpstreamProblem as problem:
            return Asked(loop.time() - began, failure=problem.kind, detail=problem.detail)
        finally:
            running.cancel()
            upstreams.close()
        return Asked(loop.time() - began, status, text, keyless=self._lacks_key(provider))

    def _lacks_key(self, provider: Provider) -> bool:
        names = {value[2:-1] for value in provider.headers.values() if value.startswith("${")}
        names |= {provider.api_key_env} if provider.api_key_env else set()
        return provider.secret is None and any(not self._keys.get(name) for name in names)


def _list(timeouts: Timeouts) -> tuple[float, ...]:
    return msgspec.structs.astuple(timeouts)
