"""Brings a database to the newest schema. Alembic takes 0.3 s to import, so it is loaded only where there is work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from techstone.control.ports import StoreError

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

FOLDER = Path(__file__).parent / "migrations"
# The newest migration, known without Alembic; a test holds it to the folder.
NEWEST = "0016"


def read_version(connection: Connection) -> str | None:
    """Return the schema's version, None for a database without one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return str(version) if version is not None else None


def upgrade(connection: Connection, schema: str = NEWEST) -> None:
    """Bring the database to a schema, all or nothing; raise StoreError for one of a newer version."""
    found = read_version(connection)
    if found == schema:
        return
    if found is not None and found > NEWEST:
        raise StoreError(
            f"the database is of a newer version of TechStone (schema {found}, here {NEWEST}): update this one"
        )
    from alembic import command  # noqa: PLC0415 - see above

    command.upgrade(configure(connection), schema)


def configure(connection: Connection) -> Config:
    """Return Alembic's configuration for a connection: no file, no logging of its own."""
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
