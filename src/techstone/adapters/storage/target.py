"""Where a PostgreSQL server is and how it is reached, from its address.

No password stands in it, as in no other place that is read, copied and shown. No driver is imported: the configuration
is checked by processes that never open a database.
"""

from __future__ import annotations

import ipaddress
from typing import Literal, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

SslMode = Literal["disable", "require", "verify-full"]
"""`require` encrypts and asks for no certificate; `verify-full` asks for one that is good for the host."""

_MODES = ("disable", "require", "verify-full")
_SCHEMES = ("postgresql", "postgres")
_PORT = 5432


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A database of a server. `host` is a name, an address, or the folder of its Unix socket.

    `ssl_root` is a file of certificates, None: the system's. `password` None: PGPASSWORD, or the password file.
    """

    host: str
    name: str
    user: str
    port: int = _PORT
    ssl: SslMode = "verify-full"
    ssl_root: str | None = None
    password: str | None = None

    @property
    def address(self) -> str:
        """How it is told to people: never with a password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.host.startswith("/"):
            return f"postgresql://{self.user}@/{self.name}?host={self.host}&port={self.port}"
        return f"postgresql://{self.user}@{host}:{self.port}/{self.name}"


def parse(url: str) -> Target:
    """Return what an address names; raise ValueError with what is wrong with it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"not an address: {error}") from error
    if parts.scheme not in _SCHEMES:
        raise ValueError('expected "sqlite" or an address such as postgresql://techstone@db.example.com/techstone')
    if parts.password is not None:
        raise ValueError(
            "no password may stand in it; set PGPASSWORD, or name a variable in data.database_password_env, or use a "
            "password file (PGPASSFILE)"
        )
    options = _read_options(parts.query)
    host = options.pop("host", "") or unquote(parts.hostname or "")
    if parts.hostname and host.startswith("/"):
        raise ValueError("give a host, or the folder of a Unix socket as ?host=/run/postgresql, not both")
    name, user = unquote(parts.path.removeprefix("/")), unquote(parts.username or "")
    for value, what in ((host, "a host"), (name, "the name of a database"), (user, "a user")):
        if not value:
            raise ValueError(f"it names no {what.split(' ', 1)[1]}; expected {what}, as in postgresql://USER@HOST/NAME")
    local = host.startswith("/") or _is_loopback(host)
    mode = options.pop("sslmode", "disable" if local else "verify-full")
    if mode not in _MODES:
        raise ValueError(f"sslmode={mode}: expected one of {', '.join(_MODES)}")
    root = options.pop("sslrootcert", None)
    if root is not None and mode != "verify-full":
        raise ValueError("sslrootcert: only sslmode=verify-full looks at it")
    return Target(
        host=host,
        name=name,
        user=user,
        port=_read_port(options.pop("port", None)) if port is None else port,
        ssl=cast("SslMode", mode),
        ssl_root=root,
    )


def _read_options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name == "password":
            raise ValueError("no password may stand in it; set PGPASSWORD")
        if name not in {"host", "port", "sslmode", "sslrootcert"}:
            raise ValueError(f"{name}: unknown; host, port, sslmode and sslrootcert may be given")
    return options


def _read_port(text: str | None) -> int:
    if text is None:
        return _PORT
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise ValueError(f"port={text}: expected 1 to 65535")
    return int(text)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
