"""What the two databases word differently, so that every room is written once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Table, TableValuedAlias, TextClause
    from sqlalchemy.exc import IntegrityError
    from sqlalchemy.ext.asyncio import AsyncConnection
    from sqlalchemy.sql.compiler import SQLCompiler

# https://www.postgresql.org/docs/current/errcodes-appendix.html: unique_violation
_UNIQUE = "23505"


def insert_or(connection: AsyncConnection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Return an insertion that can say what happens to a row that is there already: both databases have it."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def is_duplicate(error: IntegrityError) -> bool:
    """Say whether a value that must be unique is there already."""
    return getattr(error.orig, "sqlstate", None) == _UNIQUE or "UNIQUE" in str(error.orig)


def walk(connection: AsyncConnection, index: str) -> TextClause:
    """Return the table of requests, to be read along an index.

    SQLite has to be told: it knows nothing of how rare failures are, and a wrong guess reads half a million requests
    for a page. PostgreSQL keeps statistics of the values, and has no such words.
    """
    return text(f"requests INDEXED BY {index}" if connection.dialect.name == "sqlite" else "requests")


class _Listed(FunctionElement[Any]):
    """The values of a JSON list, one a row, in a column `value`."""

    name = "listed"
    inherit_cache = True


@compiles(_Listed, "sqlite")
def _list_in_sqlite(element: _Listed, compiler: SQLCompiler, **words: Any) -> str:  # noqa: ANN401 - SQLAlchemy's own
    return f"json_each({compiler.process(element.clauses, **words)})"


@compiles(_Listed, "postgresql")
def _list_in_postgres(element: _Listed, compiler: SQLCompiler, **words: Any) -> str:  # noqa: ANN401 - SQLAlchemy's own
    return f"jsonb_array_elements_text(CAST({compiler.process(element.clauses, **words)} AS jsonb))"


def list_values(values: Collection[str] | Collection[int]) -> TableValuedAlias:
    """Return the values as a table: one parameter, whatever their number; cast numbers, which may come back as text.

    SQLite takes 32,766 parameters (sqlite.org/limits.html, item 9), PostgreSQL's driver 32,767.
    """
    return _Listed(msgspec.json.encode(list(values)).decode()).table_valued("value")
