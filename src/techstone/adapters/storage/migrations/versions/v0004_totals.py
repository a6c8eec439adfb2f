"""Totals of the rollups, and requests of all accounts by time: what is asked of everybody reads few rows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_COUNTS = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "cost_nano")
_GROUPINGS = {"hourly": ("all", "account"), "daily": ("all", "account", "key", "model")}


def upgrade() -> None:
    """Create the tables and fill them from the rollups there are."""
    sums = ", ".join(f"sum({name})" for name in _COUNTS)
    for size, groupings in _GROUPINGS.items():
        op.create_table(
            f"totals_{size}",
            sa.Column("grouping", sa.String(8), nullable=False),
            sa.Column("name", sa.String(200), nullable=False),
            sa.Column("start", sa.BigInteger(), nullable=False),
            *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTS),
            sa.PrimaryKeyConstraint("grouping", "name", "start", name=f"pk_totals_{size}"),
            sqlite_with_rowid=False,
        )
        for grouping in groupings:
            name = "''" if grouping == "all" else grouping
            op.execute(
                f"INSERT INTO totals_{size} SELECT '{grouping}', {name} AS name, start, {sums} "  # noqa: S608 - constants
                f"FROM rollups_{size} GROUP BY 2, 3"
            )
    op.create_index("ix_requests_at", "requests", ["at"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_requests_at", "requests")
    for size in _GROUPINGS:
        op.drop_table(f"totals_{size}")
