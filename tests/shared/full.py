"""A database with rows in every table, of every kind of value, whatever the schema."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from sqlalchemy import Boolean, Integer, LargeBinary, MetaData, create_engine

from techstone.adapters.storage import migrate

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Column

ROWS = 3
Table = list[tuple[object, ...]]


def fill(path: Path, schema: str = migrate.NEWEST) -> None:
    """Make a database of a schema, with rows that refer to each other; its books need not be in order."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        migrate.upgrade(connection, schema)
        found = MetaData()
        found.reflect(connection)
        for table in found.sorted_tables:
            if table.name in {"alembic_version", "revision"}:
                continue
            # Not in the order of their names: that they come back in this one is seen of lists.
            for place in (1, 2, 0)[:ROWS]:
                values = {column.name: _make(column, place) for column in table.columns}
                connection.execute(table.insert().values(values))
        connection.execute(found.tables["revision"].update().values(number=41))
    engine.dispose()
    path.chmod(0o600)


def _make(column: Column[object], place: int) -> object:
    if isinstance(column.type, Boolean):
        return bool(place % 2)
    if isinstance(column.type, Integer):
        return None if column.nullable and place == 2 else 2**62 // 7 + place
    if isinstance(column.type, LargeBinary):
        return bytes([place, 0, 255] * 10)
    return None if column.nullable and place == 2 and not column.unique else f'v"{place}\n\u2028é'


def read_all(path: Path) -> dict[str, Table]:
    """Return every row of every table, sorted."""
    with contextlib.closing(sqlite3.connect(path)) as found:
        names = [name for (name,) in found.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        return {name: sorted(found.execute(f'SELECT * FROM "{name}"'), key=repr) for name in names}  # noqa: S608 - its own names
