"""Has the money of all accounts in Redis begin anew, from the ledger's figures.

That is for what the ledger was told and Redis never will be: the journal of a gateway that does not come back, whose
last charges Redis may have missed. A new generation (docs/decisions/0017) has every other gateway say its part again
first, so nothing is missed and nothing counts twice; until then, for some 4 s, what counts against credit or a cap is
refused.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from techstone.adapters.limits.connection import connect
from techstone.adapters.limits.script import PREFIX

if TYPE_CHECKING:
    from techstone.adapters.limits.connection import Address

GENERATION = f"{PREFIX}:{{gateways}}:generation"
"""The key that the generation's name is in (presence.lua): where it is gone, the first who looks begins one."""


async def begin_anew(address: Address) -> None:
    """Do so, once all is booked; raise Unreachable."""
    connection = await connect(asyncio.get_running_loop(), address, lambda _: None)
    try:
        await connection.ask(b"DEL", GENERATION.encode())
    finally:
        connection.close()
