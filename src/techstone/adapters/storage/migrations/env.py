"""What Alembic runs for every migration: on the connection that it is handed, inside one transaction."""

from __future__ import annotations

from alembic import context

from techstone.adapters.storage.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite cannot alter a column; Alembic then copies the table.
    render_as_batch=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
