"""What is written to people. Plain text: what it says, one link, and what to do if it was not asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.control.identity.claims import PATH
from techstone.control.identity.ports import Letter

if TYPE_CHECKING:
    from techstone.control.identity.ports import Mailer
    from techstone.core.roles import Role

_IGNORE = "If you did not ask for this, leave it alone: nothing happens then."


class Letters:
    """Write and send. `public_url` is without a path."""

    def __init__(self, mailer: Mailer, public_url: str) -> None:
        self._mailer = mailer
        self._public_url = public_url

    def locate(self, token: str) -> str:
        """Return the URL of a one-time link."""
        return f"{self._public_url}{PATH}{token}"

    async def welcome_back(self, to: str) -> None:
        """Tell someone who signs up again that they have an account."""
        await self._send(to, "You have an account already", f"Log in: {self._public_url}/console/log-in")

    async def confirm(self, to: str, token: str) -> None:
        """Send the link that ends a sign-up."""
        await self._send(to, "Confirm your address", self._tell("Choose a password, within a day", token))

    async def reset(self, to: str, token: str) -> None:
        """Send the link to a new password."""
        await self._send(to, "Choose a new password", self._tell("Choose a new password, within an hour", token))

    async def invite(self, to: str, token: str, inviter: str, role: Role) -> None:
        """Send the link to another's account."""
        text = self._tell(f"{inviter} invites you to join their account as {role}. Within a week", token)
        await self._send(to, "You are invited", text)

    def _tell(self, what: str, token: str) -> str:
        return f"{what}:\n\n    {self.locate(token)}"

    async def _send(self, to: str, subject: str, text: str) -> None:
        await self._mailer.send(Letter(to, f"{subject} · TechStone AI Cloud", f"{text}\n\n{_IGNORE}\n"))
