"""Certificates of ours, as they are on the disk: what is renewed there is shown to who connects next.

ACME clients and cert-manager write new files some time before the old ones end. A process that runs on would else show
the old certificate past its end, and be refused by everybody at once.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PAUSE_SECONDS = 30.0


class Certificate:
    """A chain and its key in PEM files, loaded into a context; `authority` is whose certificates are believed.

    Raise OSError for files that cannot be read or do not belong together.
    """

    def __init__(self, context: ssl.SSLContext, chain: str, key: str | None, authority: str | None = None) -> None:
        self.context = context
        self._chain = chain
        self._key = key
        self._authority = authority
        self._seen = self._stamp()
        self._load()

    def renew(self) -> bool:
        """Load the files anew if they are others; say whether they were. Raise OSError where the new ones are no use.

        Then the old ones stay: a renewal that is half written is whole the next time.
        """
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._chain, self._key)
        self._load()
        return True

    async def follow(self, report: Callable[[str], None], pause: float = _PAUSE_SECONDS) -> None:
        """Renew it for as long as the process lives; `report` is told what cannot be used."""
        while True:
            await asyncio.sleep(pause)
            try:
                if self.renew():
                    report(f"certificate {self._chain}: renewed")
            except OSError as error:
                report(f"certificate {self._chain}: the new one cannot be used, the old one stays: {error}")

    def _load(self) -> None:
        self.context.load_cert_chain(self._chain, self._key)
        if self._authority is not None:
            self.context.load_verify_locations(self._authority)

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        """Return what tells these files from others; links are followed, since Kubernetes changes where they lead."""
        files = [os.stat(path) for path in (self._chain, self._key, self._authority) if path is not None]  # noqa: PTH116 - a path as the operator wrote it
        return tuple((found.st_ino, found.st_mtime_ns, found.st_size) for found in files)


def load_server(chain: str, key: str | None, client_authority: str | None = None) -> Certificate:
    """Return what a server shows; with an authority clients need a certificate of it. Raise OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if client_authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return Certificate(context, chain, key, client_authority)
