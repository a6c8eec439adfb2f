"""Listens for clients: TCP, with TLS where a certificate is given.

Where TLS is on, one port takes both: the first byte tells a TLS handshake (0x16, RFC 8446 section 5.1) from plain HTTP,
which is answered with 403 and no redirect (ASVS 4.1.2).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from techstone.gateway.front import Front

if TYPE_CHECKING:
    import ssl

    from techstone.gateway.connections import Connections

_BACKLOG = 2048
_TLS_HANDSHAKE = 0x16
# A client that connects and says nothing must not hold a file descriptor for longer than the head may take.
_PEEK_SECONDS = 10.0


def bind(host: str, port: int) -> socket.socket:
    """Return a bound, listening socket; raise OSError."""
    sock = claim(host, port)
    try:
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def claim(host: str, port: int) -> socket.socket:
    """Return a bound socket that refuses connections until somebody listens on it; raise OSError."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


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
            self._greet(loop, sock)

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
        """Accept no more, but who has connected already: closing the socket would reset whoever waits in its queue."""
        spare = self._sock.dup()
        if self._server is not None:
            self._server.close()
        if self._accepting is not None:
            self._accepting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._accepting
        loop = asyncio.get_running_loop()
        spare.setblocking(False)
        with contextlib.suppress(OSError):
            while True:
                sock, _ = spare.accept()
                await self._take(loop, sock)
        spare.close()
        self._sock.close()

    async def _take(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        if self._tls is None:
            sock.setblocking(False)
            await loop.connect_accepted_socket(lambda: Front(self._connections), sock)
        else:
            self._greet(loop, sock)

    def _greet(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        task = loop.create_task(self._welcome(loop, sock))
        self._welcoming.add(task)
        task.add_done_callback(self._welcoming.discard)


async def _peek(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> bytes:
    """Return the first byte without taking it from the socket; empty if the client hung up."""
    readable = asyncio.Event()
    loop.add_reader(sock, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sock)
    return sock.recv(1, socket.MSG_PEEK)
