"""The format of a backup: what goes in comes out, in pieces of any size; what was changed does not."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.core.backup import (
    BackupError,
    Column,
    Facts,
    Head,
    Manifest,
    Packer,
    Row,
    Rows,
    Sums,
    Table,
    Unpacker,
)

_COLUMNS = (Column("t", "text"), Column("n", "number"), Column("f", "flag"), Column("b", "bytes"))
_FACTS = Facts(7, {"a" * 16: 3}, Sums(1, 2, 3, 4, 5))
_VALUES = st.tuples(
    st.none() | st.text(),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.sampled_from((0, 1)),
    st.none() | st.binary(),
)
_TABLES = st.dictionaries(st.text(min_size=1), st.lists(_VALUES, max_size=5), max_size=4)


def pack(tables: dict[str, list[Row]]) -> tuple[Manifest, bytes]:
    """Return a backup of tables that have all kinds of columns."""
    packer = Packer(Head(schema="0015", made_at=1, made_by="1.0", database="sqlite"))
    data = packer.begin()
    for name, rows in tables.items():
        data += packer.open(Table(name, _COLUMNS))
        for row in rows:
            data += packer.add([row])
    manifest, rest = packer.finish(_FACTS, "0123456789abcdef")
    return manifest, data + rest


def unpack(data: bytes, size: int = 2**20) -> tuple[Manifest, dict[str, list[Row]]]:
    """Return what a backup says, fed in pieces of a size."""
    unpacker, tables = Unpacker(), dict[str, list[Row]]()
    for start in range(0, len(data), size):
        for said in unpacker.feed(data[start : start + size]):
            if isinstance(said, Table):
                tables[said.name] = []
            elif isinstance(said, Rows):
                tables[said.table.name] += said.rows
    return unpacker.end(), tables


_SMALL = pack({"one": [("a\n{", 1, 0, b"\0"), (None, None, None, None)], "two": [], "three": [("é", -5, 1, b"")]})[1]


@given(_TABLES, st.sampled_from((1, 7, 2**20)))
def test_what_goes_in_comes_out(tables: dict[str, list[Row]], size: int) -> None:
    """In pieces of any size, a byte at a time too, and with the manifest that was made."""
    manifest, data = pack(tables)
    assert unpack(data, size) == (manifest, tables)
    assert {name: part.rows for name, part in manifest.parts.items()} == {name: len(tables[name]) for name in tables}


@given(st.integers(0, len(_SMALL) - 1), st.integers(1, 255))
def test_changed_byte_is_refused(position: int, flips: int) -> None:
    """Wherever it stands: in the head, a row, the manifest, gzip's own words, the seal."""
    changed = bytearray(_SMALL)
    changed[position] ^= flips
    with pytest.raises(BackupError):
        unpack(bytes(changed))


@given(st.integers(0, len(_SMALL) - 1), st.binary(min_size=1, max_size=200))
def test_file_that_is_cut_or_longer_is_refused(length: int, more: bytes) -> None:
    """A copy that broke off, or into which something was written."""
    for data in (_SMALL[:length], _SMALL + more, _SMALL[:length] + more + _SMALL[length:]):
        with pytest.raises(BackupError):
            unpack(data)


def test_backup_is_gzip_of_lines_of_json() -> None:
    """Read by any tool, also in ten years: the head, a table's columns, its rows, the manifest."""
    lines = [json.loads(line) for line in gzip.decompress(_SMALL).splitlines()]
    assert lines[0] == {
        "is": "techstone backup", "version": 1, "schema": "0015", "made_at": 1, "made_by": "1.0", "database": "sqlite",
    }  # fmt: skip
    assert lines[1]["name"] == "one"
    assert lines[2:4] == [["a\n{", 1, 0, "AA=="], [None] * 4]
    assert lines[-1]["parts"]["three"]["rows"] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "damaged, or no backup"),
        (b"hello\n", "no table"),
        (
            b'{"is": "techstone backup", "version": 2, "new": "fields"}\n',
            "it has format 2; this version reads format 1",
        ),
        (b'{"is": "manifest"}\n', "no backup"),
    ],
)
def test_what_is_no_backup_says_so(text: bytes, said: str) -> None:
    """Also one of a newer format, before anything else of it is looked at."""
    packed = gzip.compress(text)
    with pytest.raises(BackupError, match=said):
        unpack((packed if text else b"something else" * 100) + b"\0" * 100)
