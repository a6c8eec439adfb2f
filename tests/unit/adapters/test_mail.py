"""Letters as files, and by SMTP to a real server on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import email.utils
import stat
from typing import TYPE_CHECKING

import pytest

from techstone.adapters.mail import Outbox, Smtp
from techstone.control.identity.ports import Letter, MailError

if TYPE_CHECKING:
    from pathlib import Path

LETTER = Letter("ann@example.com", "Grüße", "A line of more than seventy-six letters, such as " + "x" * 80 + "\n")


class Server:
    """Speaks as much SMTP as a letter needs (RFC 5321)."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        in_data = False
        while line := await reader.readline():
            text = line.decode().rstrip("\r\n")
            self.lines.append(text)
            if in_data:
                in_data = text != "."
                if not in_data:
                    writer.write(b"250 taken\r\n")
                continue
            verb = text.partition(" ")[0].upper()
            in_data = verb == "DATA"
            writer.write({"DATA": b"354 go on\r\n", "QUIT": b"221 bye\r\n"}.get(verb, b"250 yes\r\n"))
            if verb == "QUIT":
                break
        writer.close()


async def test_outbox_keeps_letters_for_the_operator_alone(tmp_path: Path) -> None:
    """One file each, whole from its first moment, in order."""
    outbox = Outbox(tmp_path / "outbox", "Cloud <cloud@example.com>")
    await outbox.send(LETTER)
    await outbox.send(Letter("bob@example.com", "x", "y"))
    first, second = sorted((tmp_path / "outbox").iterdir())
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert stat.S_IMODE(first.parent.stat().st_mode) == 0o700
    message = email.message_from_bytes(first.read_bytes(), policy=email.policy.default)
    assert (message["To"], message["From"], message["Subject"]) == (LETTER.to, "Cloud <cloud@example.com>", "Grüße")
    assert message.get_content() == LETTER.text
    assert b"bob@example.com" in second.read_bytes()


async def test_smtp_hands_a_letter_over() -> None:
    """In plain on this machine; sender and receiver in the envelope, too."""
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        await Smtp(f"smtp://127.0.0.1:{port}", "cloud@example.com").send(LETTER)
    assert any(line.startswith("mail FROM:<cloud@example.com>") for line in server.lines)
    assert "rcpt TO:<ann@example.com>" in server.lines
    assert "To: ann@example.com" in server.lines


@pytest.mark.parametrize("url", ["smtp://127.0.0.1:1", "smtps://127.0.0.1:1"])
async def test_server_that_is_not_there_is_told(url: str) -> None:
    """One line, with where and why; no password."""
    with pytest.raises(MailError, match=r"smtp 127\.0\.0\.1:1: ConnectionRefusedError") as told:
        await Smtp(url, "cloud@example.com", "secret").send(LETTER)
    assert "secret" not in str(told.value)


async def test_outbox_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """With its path."""
    (tmp_path / "outbox").touch()
    with pytest.raises(MailError, match="outbox"):
        await Outbox(tmp_path / "outbox", "a@example.com").send(LETTER)


async def test_letter_cannot_add_headers() -> None:
    """A line end in an address or subject is no letter (header injection)."""
    for letter in (Letter("a@example.com\r\nBcc: b@example.com", "x", "y"), Letter("a@example.com", "x\nBcc: b", "y")):
        with pytest.raises(MailError, match="cannot be addressed"):
            await Smtp("smtp://127.0.0.1:1", "cloud@example.com").send(letter)


@pytest.mark.parametrize("to", ["x,victim@example.com", "x<victim@example.com>", "a@example.com, victim@example.com"])
async def test_letter_has_one_receiver(tmp_path: Path, to: str) -> None:
    """Whatever is taken for an address: never a second one, nor another one within it."""
    outbox = Outbox(tmp_path / "outbox", "cloud@example.com")
    with contextlib.suppress(MailError):
        await outbox.send(Letter(to, "x", "y"))
    for path in (tmp_path / "outbox").iterdir():
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        receivers = [found for _, found in email.utils.getaddresses([str(message["To"])])]
        assert receivers != []
        assert "victim@example.com" not in receivers
        assert len(receivers) == 1
