"""Transcripts: prompts and answers, sealed, of the projects that keep them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, and for how many days a project keeps them."""
    op.create_table(
        "transcripts",
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("account", sa.String(40), nullable=False),
        sa.Column("project", sa.String(40), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("request_id", name="pk_transcripts"),
    )
    op.create_index("ix_transcripts_expires_at", "transcripts", ["expires_at"])
    op.create_index("ix_transcripts_project", "transcripts", ["project", "expires_at"])
    op.add_column("projects", sa.Column("kept_days", sa.BigInteger, nullable=True))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("projects", "kept_days")
    op.drop_table("transcripts")
