"""What a crash left open: streams whose last record says how far they were delivered.

They are billed for that, and for nothing that came after it: at most the last seconds of a stream are lost, and the
loss is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from techstone.core.usage import UsageRecord

_HUNG_UP = 499


def close_open(records: Iterable[UsageRecord]) -> list[UsageRecord]:
    """Return a record that ends each request whose last record is open, in their order."""
    unfinished: dict[str, UsageRecord] = {}
    for record in records:
        if record.state == "open":
            unfinished[record.id] = record
        else:
            unfinished.pop(record.id, None)
    return [_close(record) for record in unfinished.values()]


def _close(record: UsageRecord) -> UsageRecord:
    delivered = record.completion_tokens > 0
    return msgspec.structs.replace(
        record,
        state="settled" if delivered else "void",
        status=_HUNG_UP,
        held=0,
        error_code="gateway_restarted",
        cost=record.cost if delivered else 0,
    )
