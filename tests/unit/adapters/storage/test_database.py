"""A transaction of the driver's own: all or nothing, also where its commit fails."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from techstone.adapters.storage.sqlite import SqliteDatabase, open_store
from techstone.control.ports import StoreError

if TYPE_CHECKING:
    from pathlib import Path

_KEY = (
    "INSERT INTO keys (id, digest, account, name, hint, created_at, changed) VALUES ('k', x'00', 'none', '', '', 0, 0)"
)


def _fail_at_commit(connection: sqlite3.Connection) -> None:
    """Leave a key without an account, which SQLite is told to look at in the end only."""
    connection.execute("PRAGMA defer_foreign_keys = ON")
    connection.execute(_KEY)


async def test_failed_commit_leaves_no_transaction_behind(tmp_path: Path) -> None:
    """SQLite keeps such a transaction open (sqlite.org/lang_transaction.html): the next one would fail for ever."""
    await (await open_store(tmp_path / "t.db")).close()
    database = SqliteDatabase(tmp_path / "t.db")
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        await database.transact(_fail_at_commit)
    await database.transact(lambda connection: connection.execute("UPDATE revision SET number = 7"))
    await database.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "t.db")) as found:
        assert found.execute("SELECT number FROM revision").fetchall() == [(7,)]
        assert found.execute("SELECT * FROM keys").fetchall() == []
