"""People on a house's store, with their log-ins and letters, over a moved clock."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from rooms import House

from techstone.adapters.vault import VARIABLE, Vault
from techstone.control.identity.factors import Factors
from techstone.control.identity.letters import Letters
from techstone.control.identity.links import Caller, Links
from techstone.control.identity.members import Members
from techstone.control.identity.passwords import Passwords
from techstone.control.identity.records import Inviter, Opened
from techstone.control.identity.seals import Seals
from techstone.control.identity.service import Identity

if TYPE_CHECKING:
    from techstone.control.identity.ports import Letter
    from techstone.core.roles import Role

ANN, PASSWORD = "ann@example.com", "correct horse battery"


class PlainHasher:
    """Turns letters round: a hash for tests."""

    outdated = False

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def hash(self, password: str) -> str:
        return password[::-1]

    async def verify(self, password: str, known: str | None) -> bool:
        self.asked.append(password)
        return known == password[::-1]

    def is_outdated(self, _: str) -> bool:
        return self.outdated


class People:
    """The room on a house's store, with letters kept."""

    def __init__(self) -> None:
        self.house = House()
        self.letters: list[Letter] = []
        self.hasher = PlainHasher()
        numbers = itertools.count(1)
        store, clock = self.house.store.identity, self.house.clock

        def random(size: int) -> bytes:
            return next(numbers).to_bytes(size, "big")

        passwords = Passwords(self.hasher, frozenset(("password123",)))
        credentials = self.house.store.credentials
        vault = Vault(Path("nowhere"), {VARIABLE: bytes(range(32)).hex()})
        seals = Seals(vault, clock)
        self.factors = Factors(credentials, vault, seals, clock, random)
        self.identity = Identity(store, passwords, self.factors, seals, clock, random)
        self.links = Links(store, self.identity, self.house.accounts, Letters(self, "https://x.example"), clock, random)
        self.members = Members(store, self.links, clock)

    async def send(self, letter: Letter) -> None:
        self.letters.append(letter)

    @property
    def token(self) -> str:
        """The token of the newest letter's link."""
        return self.letters[-1].text.partition("/console/link/")[2].split()[0]

    async def sign_up(self, email: str = ANN) -> Opened:
        await self.links.ask_to_sign_up(email, "192.0.2.1")
        opened = await self.links.follow(self.token, "", PASSWORD, Caller("Firefox", "192.0.2.1"))
        assert isinstance(opened, Opened)
        return opened

    async def log_in(self, password: str = PASSWORD, address: str = "192.0.2.1") -> Opened:
        opened = await self.identity.log_in(" Ann@Example.com ", password, "Firefox", address)
        assert isinstance(opened, Opened)
        return opened

    async def invite(self, account: str, email: str, role: Role) -> None:
        """Invite somebody by an admin key of the account."""
        await self.links.invite(Inviter(account, "admin", account), email, role)
