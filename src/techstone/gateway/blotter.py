"""Notes who was refused and why, until the next report to the control plane takes it.

Only what fails comes here; of a request that was admitted the journal tells. Bounded, whoever is refused how often: a
client gone wild fills its own place and nobody else's, and what is dropped, the oldest first, is counted.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from techstone.core import keys
from techstone.wire.report import RefusalNote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from techstone.core.errors import ApiError
    from techstone.core.view import Principal
    from techstone.gateway.exchange import Exchange
    from techstone.gateway.ports import Snapshots

# Of one account (or of one unknown key), and of so many of these: 4,000 notes of 0.5 KB at most.
KEPT = 20
HOLDERS = 200
_LONGEST = 200
# Their messages repeat what the client sent; where it was is told by `param` and `model`.
_REPEATING = frozenset((400, 401, 403, 404))


class Blotter:
    """The refusals since the last report, by who was refused. `wall_clock` is in unix seconds."""

    def __init__(self, snapshots: Snapshots, wall_clock: Callable[[], float] = time.time) -> None:
        self._snapshots = snapshots
        self._wall_clock = wall_clock
        self._notes: OrderedDict[str, deque[RefusalNote]] = OrderedDict()
        self._dropped = 0

    def __len__(self) -> int:
        """Return how many notes wait."""
        return sum(map(len, self._notes.values()))

    def note(self, exchange: Exchange, error: ApiError) -> None:
        """Take what a client is told, if it is known whose request that was."""
        if exchange.record is not None:
            return
        principal = exchange.principal or self._identify(exchange)
        if principal is None:
            return
        if isinstance(principal, str):
            account, key, digest = "", "", principal
        else:
            account, key, digest = principal.account.id, principal.key.id, ""
        if key or digest:
            self._keep(account or digest, self._write(exchange, error, (account, key, digest)))

    def _identify(self, exchange: Exchange) -> Principal | str | None:
        """Return whose key was sent, also where it is not good any more; or the digest of one that is not known."""
        scheme, _, rest = exchange.headers.get(b"authorization", b"").partition(b" ")
        key = rest.strip(b" ")
        view = self._snapshots.view
        if view is None or scheme.lower() != b"bearer" or not keys.well_formed(key):
            return None
        digest = keys.digest(key)
        return view.principals.get(digest) or digest.hex()

    def _write(self, exchange: Exchange, error: ApiError, who: tuple[str, str, str]) -> RefusalNote:
        account, key, digest = who
        hidden = error.status in _REPEATING and (error.param or error.model or error.status == 401)
        wait = error.retry_after
        return RefusalNote(
            exchange.request_id.decode(),
            int(self._wall_clock() * 1000),
            error.status,
            error.code or error.type,
            account,
            key,
            digest,
            error.axis,
            error.scope,
            None if wait is None else math.ceil(wait) or 1,
            keys.conceal(error.model[:_LONGEST]),
            keys.conceal((error.param or "")[:_LONGEST]),
            "" if hidden else keys.conceal(error.message[:_LONGEST]),
        )

    def _keep(self, holder: str, note: RefusalNote) -> None:
        kept = self._notes.get(holder)
        if kept is None:
            if len(self._notes) >= HOLDERS:
                self._dropped += len(self._notes.popitem(last=False)[1])
            kept = self._notes[holder] = deque()
        kept.append(note)
        if len(kept) > KEPT:
            kept.popleft()
            self._dropped += 1

    def take(self) -> tuple[tuple[RefusalNote, ...], int]:
        """Give up what was noted and how much was dropped, both since the last time."""
        notes = tuple(note for kept in self._notes.values() for note in kept)
        dropped, self._dropped = self._dropped, 0
        self._notes.clear()
        return notes, dropped

    def put_back(self, notes: Iterable[RefusalNote], dropped: int) -> None:
        """Take again what could not be reported, behind what has come since; as far as there is room."""
        since, self._notes = self._notes, OrderedDict()
        self._dropped += dropped
        for note in (*notes, *(note for kept in since.values() for note in kept)):
            self._keep(note.account or note.digest, note)
