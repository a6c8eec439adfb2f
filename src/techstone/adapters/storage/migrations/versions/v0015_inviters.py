"""Invitations: whose they are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; those that were sent before are nobody's, as those of admin keys."""
    op.add_column("links", sa.Column("inviter", sa.String(40), nullable=True))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("links", "inviter")
