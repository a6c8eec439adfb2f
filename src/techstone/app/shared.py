"""The limits that a gateway shares with others, made and kept: by `[data] limits` in Redis or Valkey."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from techstone.adapters.limits.alone import Alone
from techstone.adapters.limits.charges import Charges
from techstone.adapters.limits.connection import Address
from techstone.adapters.limits.figures import Figures
from techstone.adapters.limits.redis import RedisLimits
from techstone.adapters.limits.repeats import RedisRepeats
from techstone.app.config import ConfigError, is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from techstone.adapters.limits.link import Link
    from techstone.app.sections import DataSection
    from techstone.gateway.ports import Answers, ControlPlane

_PORT = 6379


def read_address(data: DataSection, environment: Mapping[str, str], *, insecure_http: bool) -> Address | None:
    """Return where the limits are, None: in memory.

    Raise ConfigError where password or authority are not there, or for nothing, or all would travel in clear over a
    network.
    """
    if data.limits == "memory":
        for key in ("limits_password_env", "limits_ca"):
            if getattr(data, key) is not None:
                raise ConfigError(f'data.{key}: it is for limits in Redis, and data.limits is "memory"')
        return None
    parts = urlsplit(data.limits)
    if not (parts.scheme == "rediss" or insecure_http or is_loopback(parts.hostname or "")):
        raise ConfigError(
            f"data.limits: {data.limits} leads over a network, and its password and customers' answers would travel in "
            "clear. Say rediss://, and name its authority in data.limits_ca if that is your own, or start with "
            "--insecure-http"
        )
    password = None
    if data.limits_password_env is not None:
        password = environment.get(data.limits_password_env)
        if not password:
            raise ConfigError(f"data.limits_password_env: {data.limits_password_env} is not set in the environment")
    if data.limits_ca is not None:
        try:
            ssl.create_default_context(cafile=data.limits_ca)
        except OSError as error:
            raise ConfigError(f"data.limits_ca {data.limits_ca}: {error.strerror or error}") from error
    return Address(
        host=parts.hostname or "",
        port=parts.port or _PORT,
        tls=parts.scheme == "rediss",
        database=int(parts.path.strip("/") or 0),
        user=unquote(parts.username) if parts.username else None,
        password=password,
        authority=data.limits_ca,
    )


class SharedLimits:
    """The store, on its way to Redis. `journal` names this gateway among all."""

    def __init__(self, link: Link, journal: str, control: ControlPlane) -> None:
        self.link = link
        self.charges = Charges(journal)
        self._figures = Figures(control)
        alone = Alone(time.monotonic, time.time)
        self.limits = RedisLimits(self.link, alone, self.charges, self._figures.tell, time.monotonic)
        self._running: asyncio.Task[None] | None = None

    def share(self, answers: Answers, most: int) -> RedisRepeats:
        """Return the Idempotency-Keys of all gateways; so many bytes of this one's answers may be in Redis."""
        return RedisRepeats(self.link, self.charges.journal, answers, time.time, most)

    def start(self) -> None:
        """Begin to reach Redis."""
        self._running = asyncio.get_running_loop().create_task(self.link.run())

    async def close(self) -> None:
        """Tell the others that this gateway ends, and let go."""
        await self.link.leave()
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
