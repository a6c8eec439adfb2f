"""Admin keys: what a key is for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; every key that there is is for inference."""
    op.add_column("keys", sa.Column("kind", sa.String(16), nullable=False, server_default="inference"))


def downgrade() -> None:
    """Drop it."""
    with op.batch_alter_table("keys") as keys:
        keys.drop_column("kind")
