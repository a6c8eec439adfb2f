"""Resets of prices, and the state of an account when credit was added last."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; what accounts have so far counts as added now."""
    # No copy of the table: SQLite adds a column with a default by itself, in no time on any size.
    op.add_column("prices", sa.Column("reset", sa.Boolean(), nullable=False, server_default="0"))
    for name in ("topped_granted_nano", "topped_spent_nano"):
        op.add_column("accounts", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE accounts SET topped_granted_nano = granted_nano, topped_spent_nano = spent_nano")


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("accounts") as accounts:
        for name in ("topped_granted_nano", "topped_spent_nano"):
            accounts.drop_column(name)
    with op.batch_alter_table("prices") as prices:
        prices.drop_column("reset")
