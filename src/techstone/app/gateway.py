"""The gateway process: listens (TCP, TLS), serves, and drains on a signal.

Where TLS is on, one port takes both: the first byte tells a TLS handshake (0x16, RFC 8446 section 5.1) from plain HTTP,
which is answered with 403 and no redirect (ASVS 4.1.2).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import ssl
from typing import TYPE_CHECKING

import msgspec

from techstone.gateway.front import Front

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from techstone.gateway.connections import Connections

_BACKLOG = 2048
_TLS_HANDSHAKE = 0x16
# A client that connects and says nothing must not hold a file descriptor for longer than the head may take.
_PEEK_SECONDS = 10.0


class Listening(msgspec.Struct, frozen=True):
    """Where and how to listen; `drain` is the time in seconds that running answers get after a signal."""

    host: str
    port: int
    tls_cert: str | None = None
    tls_key: str | None = None
    reuse_port: bool = False
    drain: float = 30.0


def bind(listening: Listening) -> socket.socket:
    """Return a bound, listening socket; raise OSError."""
    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if listening.reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((listening.host, listening.port))
    sock.listen(_BACKLOG)
    sock.setblocking(False)
    return sock


def trust_chain(listening: Listening) -> ssl.SSLContext | None:
    """Return the server's TLS context, None where TLS is off; raise OSError for a certificate that cannot be read."""
    if not listening.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(listening.tls_cert, listening.tls_key)
    return context


class Listener:
    """Accepts connections for the fronts of one process."""

    def __init__(self, connections: Connections, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        self._connections = connections
        self._sock = sock
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._welcoming: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to accept."""
        loop = asyncio.get_running_loop()
        if self._tls is None:
            self._server = await loop.create_server(lambda: Front(self._connections), sock=self._sock)
        else:
            self._accepting = loop.create_task(self._accept(loop))

    async def _accept(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            try:
                sock, _ = await loop.sock_accept(self._sock)
            except OSError:
                await asyncio.sleep(0.1)  # out of file descriptors: accept again once some are closed (row O-7)
                continue
            task = loop.create_task(self._welcome(loop, sock))
            self._welcoming.add(task)
            task.add_done_callback(self._welcoming.discard)

    async def _welcome(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        sock.setblocking(False)
        try:
            async with asyncio.timeout(_PEEK_SECONDS):
                first = await _peek(loop, sock)
            if not first:
                sock.close()
                return
            tls = self._tls if first[0] == _TLS_HANDSHAKE else None
            await loop.connect_accepted_socket(
                lambda: Front(self._connections, plain=tls is None),
                sock,
                ssl=tls,
                ssl_handshake_timeout=_PEEK_SECONDS if tls else None,
            )
        except (OSError, TimeoutError):
            sock.close()

    async def stop(self) -> None:
        """Accept no more."""
        if self._server is not None:
            self._server.close()
        if self._accepting is not None:
            self._accepting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._accepting
        self._sock.close()


async def _peek(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> bytes:
    """Return the first byte without taking it from the socket; empty if the client hung up."""
    readable = asyncio.Event()
    loop.add_reader(sock, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sock)
    return sock.recv(1, socket.MSG_PEEK)


async def serve(
    listener: Listener, connections: Connections, drain: float, background: Callable[[], Awaitable[None]]
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends at once. `background` runs beside."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    at_once = asyncio.Event()

    def hear() -> None:
        if stopping.is_set():
            at_once.set()
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, hear)
    task = asyncio.ensure_future(background())
    connections.start()
    await listener.start()
    # What exists now lives as long as the process: never walk it again when looking for garbage.
    gc.collect()
    gc.freeze()
    await stopping.wait()
    await listener.stop()
    connections.drain()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(drain):
            await _wait_for_work(connections, at_once)
    connections.stop()
    await asyncio.sleep(0.05 if not at_once.is_set() else 0)  # let the last bytes leave
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _wait_for_work(connections: Connections, at_once: asyncio.Event) -> None:
    while connections.working and not at_once.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(at_once.wait(), 0.05)
