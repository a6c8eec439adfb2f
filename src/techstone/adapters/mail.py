"""Letters by SMTP, or as files in a folder; implement `Mailer`."""

from __future__ import annotations

import asyncio
import os
import smtplib
import ssl
import time
from email.headerregistry import Address
from email.message import EmailMessage
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from techstone.control.identity.ports import MailError

if TYPE_CHECKING:
    from pathlib import Path

    from techstone.control.identity.ports import Letter

_SECONDS = 20.0
_SUBMISSION = 587  # RFC 6409
_IMPLICIT_TLS = 465  # RFC 8314, 3.3


class Outbox:
    """Writes each letter to a file, readable for the operator alone, who sees in it what would have been sent."""

    def __init__(self, folder: Path, sender: str) -> None:
        self._folder = folder
        self._sender = sender
        self._number = 0

    async def send(self, letter: Letter) -> None:
        """Hand it over; raise MailError."""
        try:
            await asyncio.to_thread(self._write, letter)
        except OSError as error:
            raise MailError(f"{self._folder}: {error.strerror or error}") from error

    def _write(self, letter: Letter) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._number += 1
        path = self._folder / f"{time.time_ns()}-{self._number}"
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(bytes(_compose(letter, self._sender)))
        path.rename(path.with_suffix(".eml"))  # so that whoever waits for one never sees half of it


class Smtp:
    """Hands letters to a server: `smtps://` by TLS from the start, `smtp://` by STARTTLS (but for this machine)."""

    def __init__(self, url: str, sender: str, password: str | None = None) -> None:
        parts = urlsplit(url)
        self._implicit = parts.scheme == "smtps"
        self._host = parts.hostname or "localhost"
        self._port = parts.port or (_IMPLICIT_TLS if self._implicit else _SUBMISSION)
        self._user = unquote(parts.username) if parts.username else None
        self._password = password
        self._sender = sender

    async def send(self, letter: Letter) -> None:
        """Hand it over; raise MailError."""
        message = _compose(letter, self._sender)
        try:
            await asyncio.to_thread(self._send, message)
        except (OSError, smtplib.SMTPException) as error:
            raise MailError(f"smtp {self._host}:{self._port}: {type(error).__name__}: {error}") from error

    def _send(self, message: EmailMessage) -> None:
        context = ssl.create_default_context()
        server: smtplib.SMTP
        if self._implicit:
            server = smtplib.SMTP_SSL(self._host, self._port, timeout=_SECONDS, context=context)
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=_SECONDS)
        with server:
            if not self._implicit and self._host not in {"localhost", "127.0.0.1", "::1"}:
                server.starttls(context=context)
            if self._user is not None:
                server.login(self._user, self._password or "")
            server.send_message(message)


def _compose(letter: Letter, sender: str) -> EmailMessage:
    """Return the letter as it is sent; raise MailError for what would add headers, or is no address."""
    message = EmailMessage()
    try:
        message["From"] = sender
        # Built of its two halves, it is one address whatever stands in it: a text would be read as a list of them.
        local, _, domain = letter.to.rpartition("@")
        message["To"] = Address(username=local, domain=domain)
        message["Subject"] = letter.subject
    except (ValueError, IndexError) as error:  # what email's parser raises for some that are no addresses
        raise MailError(f"a letter that cannot be addressed: {error}") from error
    message.set_content(letter.text)
    return message
