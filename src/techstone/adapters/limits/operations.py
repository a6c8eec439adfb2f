"""The script's operations for a principal, written and sent: what requests and the money of accounts share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.adapters.limits import script
from techstone.adapters.limits.script import Writer, describe_charge

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.adapters.limits.charges import Charge
    from techstone.adapters.limits.connection import Reply
    from techstone.adapters.limits.link import Link
    from techstone.adapters.limits.script import Caller, Operation
    from techstone.core.view import Principal


class Operations:
    """One gateway's. Only tests give a writer, with a clock of its own."""

    def __init__(self, link: Link, writer: Writer | None = None) -> None:
        self._link = link
        self._writer = writer or Writer()
        self._callers: dict[str, Caller] = {}

    def send(
        self, operation: Operation, principal: Principal, words: tuple[bytes, ...], take: Callable[[Reply], None]
    ) -> bool:
        """Send an operation, whose reply `take` gets; False where Redis is away."""
        connection = self._link.connection
        if connection is None:
            return False
        connection.send(self.write(operation, principal, words), take)
        return True

    def write(self, operation: Operation, principal: Principal, words: tuple[bytes, ...]) -> bytes:
        """Return the command of an operation, in the generation that is known now."""
        caller = self._callers.get(principal.key.id)
        if caller is None or caller.principal is not principal:
            caller = script.describe(self._link.generation, principal)
            self._callers[principal.key.id] = caller
        return self._writer.write(operation, caller, *words)

    def write_charge(self, charge: Charge, journal: bytes) -> bytes:
        """Return the command that tells a charge whose request is over."""
        caller = describe_charge(self._link.generation, charge.account, charge.key, bounded=charge.bounded)
        return self._writer.write("charge", caller, journal, script.pack_charge(charge))

    def forget(self) -> None:
        """Describe everybody anew: the generation may be another one."""
        self._callers.clear()
