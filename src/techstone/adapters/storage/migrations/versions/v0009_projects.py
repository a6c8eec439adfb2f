"""Projects; and of keys: disabled for a time, scopes, addresses, the project, the lifetime that was asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the columns; a key that has an end was asked for with the time that it got."""
    op.create_table(
        "projects",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("account", sa.String(40), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("archived_at", sa.BigInteger, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name="fk_projects_account"),
        sa.UniqueConstraint("account", "name", name="uq_projects_account"),
    )
    if op.get_bind().dialect.name == "postgresql":
        # The order of insertion, which SQLite has by itself.
        op.add_column("projects", sa.Column("rowid", sa.BigInteger(), sa.Identity(always=True), nullable=False))
    for column in (
        sa.Column("disabled_at", sa.BigInteger, nullable=True),
        sa.Column("scopes", sa.Text, nullable=True),
        sa.Column("ips", sa.Text, nullable=True),
        sa.Column("project", sa.String(40), nullable=True),
        sa.Column("lifetime", sa.BigInteger, nullable=True),
    ):
        op.add_column("keys", column)
    op.execute("UPDATE keys SET lifetime = expires_at - created_at WHERE expires_at > created_at")


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("keys") as keys:
        for name in ("disabled_at", "scopes", "ips", "project", "lifetime"):
            keys.drop_column(name)
    op.drop_table("projects")
