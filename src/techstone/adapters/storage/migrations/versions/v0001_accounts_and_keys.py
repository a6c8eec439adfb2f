"""Accounts, keys and the revision that every change raises."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the first tables."""
    revisions = op.create_table(
        "revision",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_revision"),
    )
    op.bulk_insert(revisions, [{"number": 0}])
    op.create_table(
        "accounts",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("plan", sa.String(64), nullable=False),
        sa.Column("credit_nano", sa.BigInteger(), nullable=False),
        sa.Column("suspended", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        sa.UniqueConstraint("email", name="uq_accounts_email"),
    )
    op.create_index("ix_accounts_changed", "accounts", ["changed"])
    op.create_table(
        "keys",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("account", sa.String(40), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("hint", sa.String(32), nullable=False),
        sa.Column("models", sa.Text(), nullable=True),
        sa.Column("rpm", sa.BigInteger(), nullable=True),
        sa.Column("tpm", sa.BigInteger(), nullable=True),
        sa.Column("concurrent", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name="fk_keys_account"),
        sa.UniqueConstraint("digest", name="uq_keys_digest"),
    )
    op.create_index("ix_keys_account", "keys", ["account"])
    op.create_index("ix_keys_changed", "keys", ["changed"])
    if op.get_bind().dialect.name == "postgresql":
        _complete_postgres()


def _complete_postgres() -> None:
    """Add what SQLite has by itself, the order of insertion; and what no file can do: telling of a change."""
    for table in ("accounts", "keys"):
        op.add_column(table, sa.Column("rowid", sa.BigInteger(), sa.Identity(always=True), nullable=False))
    op.execute(
        "CREATE FUNCTION tell_revision() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_notify('techstone', ''); RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER revision_told AFTER UPDATE ON revision FOR EACH STATEMENT EXECUTE FUNCTION tell_revision()"
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("keys")
    op.drop_table("accounts")
    op.drop_table("revision")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION tell_revision()")
