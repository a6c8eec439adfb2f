"""What a batch of records comes to: its rows, moves of money and sums, gathered before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.adapters.storage.usage import HOUR
from techstone.core import ledger
from techstone.core.ledger import BOOKS

if TYPE_CHECKING:
    from techstone.core.ledger import Standing
    from techstone.core.usage import UsageRecord

# Of `requests`, in the order of a record's fields.
COLUMNS = (
    "id", "state", "account", "key", "model", "provider", "upstream_model", "status", "stream", "at", "first_byte",
    "duration", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "cost_nano", "held_nano",
    "price", "error_code", "attempts", "journal",
)  # fmt: skip
# What a later record of the same request changes.
_CHANGING = (
    "state", "provider", "upstream_model", "status", "first_byte", "duration", "prompt_tokens", "cached_tokens",
    "completion_tokens", "reasoning_tokens", "cost_nano", "held_nano", "price", "error_code", "attempts",
)  # fmt: skip
REPLACE = (
    f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _CHANGING)} "
    "WHERE requests.state = 'open'"
)

Bucket = tuple[str, str, str, int]
"""Account, key, model and the hour's first second."""


class Batch:
    """`known` is how the requests of the batch stand, by id, as far as they are known."""

    def __init__(self, journal: str, known: dict[str, Standing]) -> None:
        self._journal = journal
        self._known = known
        self.rows: dict[str, tuple[object, ...]] = {}
        self.moves: list[tuple[object, ...]] = []
        self.sums: dict[str, tuple[int, int]] = {}
        self.sums_by_hour: dict[Bucket, list[int]] = {}

    def take(self, record: UsageRecord) -> None:
        """Take the next record, if it changes anything."""
        name = record.id
        going = ledger.advance(self._known.get(name), record)
        if going is None:
            return
        self._known[name], transfers = going
        self.rows[name] = (*_fields(record), self._journal)
        account = record.account
        for transfer in transfers:
            kind, nano = transfer.kind, transfer.nano
            debit, credit = BOOKS[kind]
            self.moves.append((record.at, kind, debit, credit, account, nano, name))
            spent, held = self.sums.get(account, (0, 0))
            if kind == "charge":
                self.sums[account] = spent + nano, held
            else:
                self.sums[account] = spent, held + (nano if kind == "hold" else -nano)
        if record.state == "settled":
            bucket = (account, record.key, record.model, record.at // 3_600_000 * HOUR)
            sums = self.sums_by_hour.get(bucket)
            if sums is None:
                sums = self.sums_by_hour[bucket] = [0] * 6
            sums[0] += 1
            sums[1] += record.prompt_tokens
            sums[2] += record.cached_tokens
            sums[3] += record.completion_tokens
            sums[4] += record.reasoning_tokens
            sums[5] += record.cost


_fields = msgspec.structs.astuple
