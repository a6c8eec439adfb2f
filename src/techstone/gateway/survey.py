"""GET /v1/limits: what the asking key has left and who was refused lately. Nothing is counted, no model is asked.

In place of a key the Console's pages show a view ticket (`core/tickets`), which is good here and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.core import keys, tickets
from techstone.core.errors import KeyInvalid, NotReady
from techstone.gateway.soon import arrive

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.core.errors import ApiError
    from techstone.core.keys import Scope
    from techstone.core.tickets import Ticket
    from techstone.core.view import Holder
    from techstone.gateway.admission import Doorkeeper
    from techstone.gateway.exchange import Exchange
    from techstone.gateway.ports import LimitStore, Snapshots
    from techstone.gateway.quota import Quota

_ENCODER = msgspec.json.Encoder()


class Guests:
    """Who may look by a ticket. `wall_clock` is in unix seconds, since tickets end."""

    def __init__(self, snapshots: Snapshots, wall_clock: Callable[[], float]) -> None:
        self._snapshots = snapshots
        self._wall_clock = wall_clock

    def find(self, ticket: bytes) -> tuple[Ticket, Holder] | None:
        """Return whom a ticket is good for; raise NotReady where nobody is known yet."""
        view = self._snapshots.view
        if view is None:
            raise NotReady
        found = tickets.read(bytes.fromhex(view.snapshot.view_secret), ticket, self._wall_clock())
        holder = view.find_holder(found.account) if found is not None else None
        return (found, holder) if found is not None and holder is not None else None


class Survey:
    """The endpoint."""

    def __init__(self, limits: LimitStore, doorkeeper: Doorkeeper, quota: Quota, guests: Guests) -> None:
        self._limits = limits
        self._doorkeeper = doorkeeper
        self._quota = quota
        self._guests = guests

    def check(self, exchange: Exchange, scope: Scope) -> ApiError | None:
        """Let in who has a key, or a ticket: then the principal is the account's own, without a key."""
        ticket = tickets.find(exchange.headers.get(b"authorization"))
        if ticket is None:
            return self._doorkeeper.check(exchange, scope)
        try:
            found = self._guests.find(ticket)
        except NotReady as error:
            return error
        if found is None:
            return self._quota.fail(exchange) or KeyInvalid(keys.redact(ticket))
        exchange.principal = found[1].principal
        return None

    async def show(self, exchange: Exchange) -> None:
        """Answer with where the account and the key stand, by the books that decide."""
        ticket = tickets.find(exchange.headers.get(b"authorization"))
        if ticket is not None:
            await self._show_all(exchange, ticket)
            return
        if exchange.principal is None:
            raise NotReady
        exchange.send_json(200, _ENCODER.encode(await arrive(self._limits.survey(exchange.principal))))

    async def _show_all(self, exchange: Exchange, ticket: bytes) -> None:
        found = self._guests.find(ticket)
        if found is None:  # it was good a moment ago
            raise KeyInvalid(keys.redact(ticket))
        seen = await arrive(self._limits.oversee(found[1]))
        if not found[0].money:
            bare = [msgspec.structs.replace(key, caps=[]) for key in seen.keys if key.limits is not None]
            seen = msgspec.structs.replace(seen, credit=None, caps=[], keys=bare)
        exchange.send_json(200, _ENCODER.encode(seen))
