"""The port between the planes on different machines: who listens, who is asked, and the token of both."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from techstone.adapters.upstreams.http import HttpUpstreams
from techstone.adapters.way import Way, over_socket
from techstone.app.certificates import Certificate, load_server
from techstone.app.config import ConfigError, is_loopback
from techstone.app.listener import claim
from techstone.core import passes
from techstone.gateway.ports import Origin

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Mapping

    from techstone.app.place import Place
    from techstone.app.sections import ControlSection

PORT = 8100


class Doorway(msgspec.Struct, frozen=True):
    """What a control plane needs to serve gateways on other machines. `host` may be a name."""

    host: str
    port: int
    token: bytes
    certificate: Certificate | None = None


class Ways:
    """A gateway's ways to the control plane: what it does itself (`seam`), and what it forwards (`pages`).

    `certificate` is what it shows there, if anything.
    """

    def __init__(self, upstreams: HttpUpstreams, seam: Way, pages: Way, certificate: Certificate | None = None) -> None:
        self._upstreams = upstreams
        self.seam = seam
        self.pages = pages
        self.certificate = certificate

    def close(self) -> None:
        """Give every connection up."""
        self._upstreams.close()


def open_ways(loop: asyncio.AbstractEventLoop, place: Place, *, insecure_http: bool) -> Ways:
    """Return the ways over the data folder's sockets, or to the addresses of [control]; raise ConfigError."""
    section = place.config.control
    if not section.addresses:
        upstreams = HttpUpstreams(loop, {})
        return Ways(
            upstreams, over_socket(upstreams, place.internal_socket), over_socket(upstreams, place.public_socket)
        )
    origins = tuple(_read_address(address, insecure_http=insecure_http) for address in section.addresses)
    token = read_token(section, os.environ)
    # Proxies of the environment are for providers.
    context, certificate = _make_trust(section)
    upstreams = HttpUpstreams(loop, {}, context)
    return Ways(
        upstreams,
        Way(upstreams, origins, passes.make(token, "seam")),
        Way(upstreams, origins, passes.make(token, "pages")),
        certificate,
    )


def read_doorway(section: ControlSection, *, insecure_http: bool) -> Doorway | None:
    """Return where gateways on other machines are served, None where they are not; raise ConfigError."""
    if section.listen is None:
        return None
    parts = urlsplit(f"//{section.listen}")
    host, port = parts.hostname or "", PORT if parts.port is None else parts.port
    if not (section.tls_cert or insecure_http or is_loopback(host)):
        raise ConfigError(
            f"control.listen: {host} can be reached by other machines, and keys, pages and the token would travel in "
            "clear. Give control.tls_cert and control.tls_key, or start with --insecure-http"
        )
    certificate = None
    if section.tls_cert is not None:
        try:
            certificate = load_server(section.tls_cert, section.tls_key, section.tls_ca)
        except OSError as error:
            raise ConfigError(f"control.tls_cert, control.tls_key, control.tls_ca: {error}") from error
    return Doorway(host, port, read_token(section, os.environ), certificate)


def open_port(doorway: Doorway) -> socket.socket:
    """Return the socket, which refuses connections until it is served; raise ConfigError.

    A probe that only connects finds out by that whether the control plane serves.
    """
    try:
        return claim(doorway.host, doorway.port)
    except OSError as error:
        raise ConfigError(
            f"control.listen: cannot listen on {doorway.host}:{doorway.port}: {error.strerror or error}"
        ) from error


def read_token(section: ControlSection, environment: Mapping[str, str]) -> bytes:
    """Return the token that both planes have; raise ConfigError."""
    if section.token_file is not None:
        told = f"control.token_file: {section.token_file}"
        try:
            token = Path(section.token_file).read_bytes().strip()
        except OSError as error:
            raise ConfigError(f"{told}: {error.strerror or error}") from error
    else:
        told = f"the environment variable {section.token_env}"
        token = environment.get(section.token_env, "").strip().encode()
    if len(token) < passes.LEAST_BYTES:
        raise ConfigError(
            f"{told}: expected the token of the control plane, {passes.LEAST_BYTES} characters at least; make one with "
            "`openssl rand -hex 32` and give it to every control plane and gateway"
        )
    return token


def _read_address(address: str, *, insecure_http: bool) -> Origin:
    parts = urlsplit(address)
    host = parts.hostname or ""
    if parts.scheme == "https":
        return Origin("https", host, parts.port or PORT)
    if not (insecure_http or is_loopback(host)):
        raise ConfigError(
            f"control.addresses: {address} leads over a network in clear; say https, and name its authority in "
            "control.tls_ca if that is your own, or start with --insecure-http"
        )
    return Origin("http", host, parts.port or PORT)


def _make_trust(section: ControlSection) -> tuple[ssl.SSLContext, Certificate | None]:
    """Return how control planes are known, and what this gateway shows them; raise ConfigError."""
    try:
        context = ssl.create_default_context(cafile=section.tls_ca)
        if section.tls_cert is not None:
            return context, Certificate(context, section.tls_cert, section.tls_key)
    except OSError as error:
        raise ConfigError(f"control.tls_ca, control.tls_cert, control.tls_key: {error}") from error
    return context, None
