"""The limits that a gateway shares with others, made and kept: by `[data] limits` in Redis or Valkey."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from techstone.adapters.limits.alone import Alone
from techstone.adapters.limits.charges import Charges
from techstone.adapters.limits.connection import PATIENCE, Address
from techstone.adapters.limits.figures import Figures
from techstone.adapters.limits.link import Link, Times
from techstone.adapters.limits.redis import RedisLimits
from techstone.adapters.limits.repeats import RedisRepeats
from techstone.app.config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from techstone.app.sections import DataSection
    from techstone.gateway.ports import Answers, ControlPlane

_PORT = 6379


def read_address(data: DataSection, environment: Mapping[str, str]) -> Address | None:
    """Return where the limits are, None: in memory; raise ConfigError where password or authority are not there."""
    if data.limits == "memory":
        return None
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
    parts = urlsplit(data.limits)
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
    """The store and its way to Redis. `journal` names this gateway among all; `report` takes a line for people."""

    def __init__(
        self,
        address: Address,
        journal: str,
        control: ControlPlane,
        report: Callable[[str], None],
        patience: float = PATIENCE,
    ) -> None:
        self.link = Link(address, journal, report, times=Times(patience=patience))
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
        """Let go."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
