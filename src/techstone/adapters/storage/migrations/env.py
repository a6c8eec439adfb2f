"""What Alembic runs for every migration: on the connection that it is handed, inside one transaction."""

from __future__ import annotations

from alembic import context

from techstone.adapters.storage.schema import METADATA

# A column of text in PostgreSQL is as SQLite has it: without a length (bounds are checked where a value comes in, and
# the gateways' records must be bookable whatever they say), and sorted by code points, not by the server's language.
# Only in our own tables: extensions and other applications may have theirs in the same schema.
_OURS = ", ".join(f"'{name}'" for name in METADATA.tables)
_AS_IN_SQLITE = f"""
DO $$ DECLARE found record; BEGIN
    FOR found IN
        SELECT table_name, column_name FROM information_schema.columns
        WHERE table_schema = current_schema() AND table_name IN ({_OURS})
        AND data_type IN ('character varying', 'text') AND collation_name IS DISTINCT FROM 'C'
    LOOP
        EXECUTE format('ALTER TABLE %I ALTER COLUMN %I TYPE text COLLATE "C"', found.table_name, found.column_name);
    END LOOP;
END $$
"""  # noqa: S608 - names of our schema

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=METADATA,
    # SQLite cannot alter a column; Alembic then copies the table.
    render_as_batch=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(_AS_IN_SQLITE)
