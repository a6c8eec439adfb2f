"""Payments by card, invoices that nobody can change, whom they are for; statements read few rows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_TABLES = ("months", "buyers", "invoices", "reversals", "payments")


def upgrade() -> None:
    """Add the tables, the triggers and the index."""
    _add_payments()
    _add_invoices()
    credited = sa.text("kind IN ('grant', 'refund', 'surcharge')")
    op.create_index(
        "ix_transfers_credited", "transfers", ["account", "at"], sqlite_where=credited, postgresql_where=credited
    )


def _add_payments() -> None:
    op.create_table(
        "payments",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("account", sa.String(40), nullable=False),
        sa.Column("cents", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("session", sa.String(255), nullable=True),
        sa.Column("intent", sa.String(255), nullable=True),
        sa.Column("paid_at", sa.BigInteger, nullable=True),
        sa.Column("note", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_payments"),
        sa.UniqueConstraint("session", name="uq_payments_session"),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name="fk_payments_account"),
    )
    op.create_index("ix_payments_account", "payments", ["account", "created_at"])
    op.create_index("ix_payments_created_at", "payments", ["created_at"])
    op.create_table(
        "reversals",
        sa.Column("id", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("intent", sa.String(255), nullable=False),
        sa.Column("cents", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reversals"),
    )
    op.create_index("ix_reversals_intent", "reversals", ["intent"])


def _add_invoices() -> None:
    op.create_table(
        "invoices",
        sa.Column("number", sa.String(16), nullable=False),
        sa.Column("year", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("account", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(40), nullable=False),
        sa.Column("nano", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_invoices"),
        sa.UniqueConstraint("year", "sequence", name="uq_invoices_year"),
        sa.UniqueConstraint("account", "kind", "subject", name="uq_invoices_account"),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name="fk_invoices_account"),
    )
    if op.get_bind().dialect.name == "postgresql":
        _keep_invoices_in_postgres()
    else:
        _keep_invoices_in_sqlite()
    op.create_table(
        "buyers",
        sa.Column("account", sa.String(40), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("tax_id", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("account", name="pk_buyers"),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name="fk_buyers_account"),
    )
    op.create_table(
        "months", sa.Column("month", sa.String(7), nullable=False), sa.PrimaryKeyConstraint("month", name="pk_months")
    )


def _keep_invoices_in_sqlite() -> None:
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER invoices_keep_{verb.lower()} BEFORE {verb} ON invoices "
            "BEGIN SELECT RAISE(ABORT, 'an invoice is never changed'); END"
        )
    # REPLACE deletes without asking the trigger of deletions.
    op.execute(
        "CREATE TRIGGER invoices_keep_replace BEFORE INSERT ON invoices "
        "WHEN EXISTS (SELECT 1 FROM invoices "
        "WHERE number = NEW.number OR (year = NEW.year AND sequence = NEW.sequence) "
        "OR (account = NEW.account AND kind = NEW.kind AND subject = NEW.subject)) "
        "BEGIN SELECT RAISE(ABORT, 'an invoice is never changed'); END"
    )


def _keep_invoices_in_postgres() -> None:
    op.execute(
        "CREATE FUNCTION keep_invoices() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION "
        "'an invoice is never changed' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER invoices_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON invoices "
        "FOR EACH STATEMENT EXECUTE FUNCTION keep_invoices()"
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_transfers_credited", "transfers")
    for table in _TABLES:
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION keep_invoices()")
