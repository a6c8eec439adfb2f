"""The ledger: requests, transfers, rollups, journals; prices, codes and alerts; caps and custom limits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_COUNTS = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "cost_nano")


def _key() -> sa.Column[int]:
    """SQLite numbers rows by itself only in a column of its own INTEGER."""
    return sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True)


def _count(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in names]


def upgrade() -> None:
    """Create the ledger and carry the credit that accounts have into it."""
    with op.batch_alter_table("accounts") as accounts:
        accounts.alter_column("credit_nano", new_column_name="granted_nano")
        for name in ("spent_nano", "held_nano"):
            accounts.add_column(sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
        for name in ("rpm", "tpm", "concurrent", "monthly_cap"):
            accounts.add_column(sa.Column(name, sa.BigInteger(), nullable=True))
    with op.batch_alter_table("keys") as keys:
        for name in ("daily_cap", "monthly_cap"):
            keys.add_column(sa.Column(name, sa.BigInteger(), nullable=True))
    _create_requests()
    op.create_table(
        "transfers",
        _key(),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("debit", sa.String(16), nullable=False),
        sa.Column("credit", sa.String(16), nullable=False),
        sa.Column("account", sa.String(40), nullable=False),
        sa.Column("nano", sa.BigInteger(), nullable=False),
        sa.Column("request", sa.String(64), nullable=True),
        sa.Column("note", sa.String(200), nullable=True),
        sa.CheckConstraint("nano > 0", name="ck_transfers_nano"),
    )
    for name in ("rollups_hourly", "rollups_daily"):
        op.create_table(
            name,
            sa.Column("account", sa.String(40), nullable=False),
            sa.Column("key", sa.String(40), nullable=False),
            sa.Column("model", sa.String(200), nullable=False),
            sa.Column("start", sa.BigInteger(), nullable=False),
            *_count(*_COUNTS),
            sa.PrimaryKeyConstraint("account", "start", "key", "model", name=f"pk_{name}"),
            sqlite_with_rowid=False,
        )
        op.create_index(f"ix_{name}_start", name, ["start"])
    op.create_table(
        "journals",
        sa.Column("id", sa.String(16), primary_key=True),
        *_count("applied", "gaps", "heard_at"),
    )
    _create_billing()
    op.execute(
        "INSERT INTO transfers (at, kind, debit, credit, account, nano, note) SELECT created_at * 1000, 'grant', "
        "'funding', 'available', id, granted_nano, 'credit before the ledger' FROM accounts WHERE granted_nano > 0"
    )


def _create_requests() -> None:
    op.create_table(
        "requests",
        _key(),
        sa.Column("id", sa.String(64), nullable=False, unique=True),
        *(sa.Column(name, sa.String(40), nullable=False) for name in ("account", "key")),
        *(sa.Column(name, sa.String(200), nullable=False) for name in ("model", "provider", "upstream_model")),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("stream", sa.Boolean(), nullable=False),
        *_count("status", "at", "first_byte", "duration"),
        *_count("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens"),
        *_count("cost_nano", "held_nano", "price", "attempts"),
        sa.Column("error_code", sa.String(64), nullable=True),
        sa.Column("journal", sa.String(16), nullable=False),
        sa.Column("rated_nano", sa.BigInteger(), nullable=True),
    )
    op.create_index("ix_requests_account", "requests", ["account", "at"])
    open_ = sa.text("state = 'open'")
    op.create_index("ix_requests_open", "requests", ["at"], sqlite_where=open_, postgresql_where=open_)


def _create_billing() -> None:
    op.create_table(
        "prices",
        sa.Column("version", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("model", sa.String(200), nullable=False),
        *_count("valid_from", "input", "output"),
        sa.Column("cached_input", sa.BigInteger(), nullable=True),
        sa.Column("reasoning", sa.BigInteger(), nullable=True),
        sa.Column("source", sa.String(16), nullable=False),
        *_count("created_at", "changed"),
    )
    op.create_index("ix_prices_model", "prices", ["model", "valid_from"])
    op.create_table(
        "codes",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
        *_count("nano", "created_at"),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("redeemed_at", sa.BigInteger(), nullable=True),
        sa.Column("redeemed_by", sa.String(40), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
    )
    op.create_table(
        "alerts",
        _key(),
        sa.Column("account", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("period", sa.String(32), nullable=False),
        *_count("percent", "at", "spent_nano", "limit_nano"),
        sa.UniqueConstraint("subject", "period", "percent", name="uq_alerts_subject"),
    )


def downgrade() -> None:
    """Drop the ledger; accounts keep what was granted as their credit."""
    tables = ("alerts", "codes", "prices", "journals", "rollups_daily", "rollups_hourly", "transfers", "requests")
    for name in tables:
        op.drop_table(name)
    with op.batch_alter_table("keys") as keys:
        for column in ("daily_cap", "monthly_cap"):
            keys.drop_column(column)
    with op.batch_alter_table("accounts") as accounts:
        for column in ("spent_nano", "held_nano", "rpm", "tpm", "concurrent", "monthly_cap"):
            accounts.drop_column(column)
        accounts.alter_column("granted_nano", new_column_name="credit_nano")
