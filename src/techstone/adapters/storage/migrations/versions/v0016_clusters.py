"""Providers that are engines, and several servers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; what was stored before is one server with OpenAI's API, as it was."""
    op.add_column("providers", sa.Column("kind", sa.String(16), nullable=False, server_default="openai"))
    op.add_column("providers", sa.Column("replicas", sa.Text, nullable=False, server_default="[]"))
    op.add_column("providers", sa.Column("routing", sa.String(16), nullable=True))
    op.add_column("providers", sa.Column("metrics_port", sa.BigInteger, nullable=True))


def downgrade() -> None:
    """Drop them."""
    for column in ("metrics_port", "routing", "replicas", "kind"):
        op.drop_column("providers", column)
