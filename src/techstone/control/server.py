"""The control process: both apps under uvicorn in one event loop, each on a Unix socket of its own (0600).

The public socket gets the pages that the gateway forwards, the internal one the gateway's and the command line's own
calls; the two never share a socket, so that no forwarded path can reach the internal API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.control.catalog.records import Catalog

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from techstone.control.bootstrap import FirstKey
    from techstone.control.ports import Store

    Ready = Callable[[FirstKey | None], None]
    """Called once, when both sockets answer; with the first key where this start created it."""


class Options(msgspec.Struct, frozen=True):
    """How the control plane runs. The store (data folder, database URL) is opened by the caller and handed in."""

    public_socket: str
    internal_socket: str
    public_url: str  # where people reach the gateway, without a path
    catalog: Catalog
    operator: str = "operator@localhost"  # email of the first account
    heartbeat: float = 5.0  # seconds between signs of life on the snapshot stream
    poll: float = 0.5  # seconds between looks for changes that another process made


async def serve(options: Options, store: Store, ready: Ready, stop: asyncio.Event) -> None:
    """Serve until `stop` is set (a signal's business is the caller's), then end within a second."""
    raise NotImplementedError
