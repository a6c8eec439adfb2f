"""Usage records: what the journal keeps is what was recorded, and can be read by older and newer gateways."""

from __future__ import annotations

from typing import get_type_hints

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from usage import make_record

from techstone.core.usage import DECODER, UsageRecord, encode

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_NUMBER = st.integers(0, 2**63 - 1)  # what the ledger's columns hold
_KINDS = {str: _TEXT, int: _NUMBER, bool: st.booleans(), str | None: st.none() | _TEXT}
_RECORDS = st.builds(
    UsageRecord, **{name: _KINDS.get(kind, st.from_type(kind)) for name, kind in get_type_hints(UsageRecord).items()}
)


@given(_RECORDS)
def test_record_survives_the_journal(record: UsageRecord) -> None:
    """Whatever its texts and figures: read back it is the same, field by field."""
    assert DECODER.decode(encode(record)) == record


def test_record_is_written_by_position() -> None:
    """No field name is repeated a million times; a new field may only be added at the end."""
    fields = msgspec.msgpack.decode(encode(make_record(1)))
    assert fields == list(msgspec.structs.astuple(make_record(1)))


def test_records_of_older_and_newer_gateways_are_read() -> None:
    """Without the fields that came later these have their defaults; what comes after the last known is passed over."""
    record = make_record(1)
    fields = msgspec.structs.astuple(record)
    assert (record.error_code, record.attempts) == (None, 1)
    assert DECODER.decode(msgspec.msgpack.encode(fields[:-2])) == record
    assert DECODER.decode(msgspec.msgpack.encode((*fields, "new"))) == record
