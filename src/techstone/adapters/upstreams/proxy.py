"""Proxies from the environment: which one, and the tunnel through it (CONNECT, RFC 9110 section 9.3.6).

The rules of HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY are the standard library's, as curl and the SDKs read them.
Plain HTTP goes through a tunnel too: one way to speak to an upstream, and the proxy never sees the key in a request.
"""

from __future__ import annotations

import base64
import ipaddress
import socket
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import msgspec

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from techstone.gateway.ports import Origin

_ANSWER_LIMIT = 16 * 1024


class ProxyRefused(Exception):
    """The proxy did not open the tunnel; the text has no secret in it."""


class Proxy(msgspec.Struct, frozen=True):
    """Where the proxy is and what it is told about us."""

    host: str
    port: int
    authorization: str | None = None


class Proxies(msgspec.Struct, frozen=True):
    """The proxies by scheme, and the hosts that go without."""

    by_scheme: dict[str, Proxy]
    exempt: tuple[str, ...]

    def choose(self, origin: Origin) -> Proxy | None:
        """Return the proxy for an origin, None for a direct connection. Loopback is always direct."""
        if not self.by_scheme or _is_loopback(origin.host) or self._is_exempt(origin):
            return None
        return self.by_scheme.get(origin.scheme) or self.by_scheme.get("all")

    def _is_exempt(self, origin: Origin) -> bool:
        host = origin.host.lower()
        for name in self.exempt:
            if name == "*" or name in {host, f"{host}:{origin.port}"} or host.endswith("." + name.lstrip(".")):
                return True
        return False


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read(environment: Mapping[str, str]) -> Proxies:
    """Read the proxies of an environment; lower-case names win, as in curl."""
    found: dict[str, Proxy] = {}
    for scheme in ("http", "https", "all"):
        name = f"{scheme}_proxy"
        value = environment.get(name) or environment.get(name.upper())
        if value:
            parsed = _parse(value)
            if parsed is not None:
                found[scheme] = parsed
    exempt = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    names = tuple(name.strip().lower() for name in exempt.split(",") if name.strip())
    return Proxies(found, names)


def _parse(value: str) -> Proxy | None:
    parts = urlsplit(value if "://" in value else f"http://{value}")
    if parts.scheme != "http" or not parts.hostname:
        return None
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    return Proxy(parts.hostname, parts.port or 8080, authorization)


async def connect(loop: asyncio.AbstractEventLoop, via: Proxy, origin: Origin) -> socket.socket:
    """Return a socket to the origin through the proxy; raise OSError or ProxyRefused."""
    infos = await loop.getaddrinfo(via.host, via.port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = infos[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
        await loop.sock_sendall(sock, _request(via, origin))
        await _read_consent(loop, sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _request(via: Proxy, origin: Origin) -> bytes:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    lines = [f"CONNECT {host}:{origin.port} HTTP/1.1", f"host: {host}:{origin.port}"]
    if via.authorization:
        lines.append(f"proxy-authorization: {via.authorization}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _read_consent(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    """Read the proxy's head, all of it and no more: a proxy sends nothing after it until we speak."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        part = await loop.sock_recv(sock, 4096)
        answer += part
        if not part or len(answer) > _ANSWER_LIMIT:
            raise ProxyRefused("the proxy closed the tunnel")
    status = answer.split(b" ", 2)[1:2]
    if not status or not status[0].startswith(b"2"):
        raise ProxyRefused("the proxy refused the tunnel")
