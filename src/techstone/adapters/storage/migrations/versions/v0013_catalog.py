"""The stored catalog: providers, models, routes, plans that operators add; what is switched off; feature switches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "providers",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("base_url", sa.String(2000), nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=True),
        sa.Column("ending", sa.String(4), nullable=False),
        sa.Column("timeouts", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_providers"),
    )
    op.create_table(
        "models",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("display", sa.String(100), nullable=True),
        sa.Column("context_window", sa.BigInteger, nullable=True),
        sa.Column("max_output_tokens", sa.BigInteger, nullable=True),
        sa.Column("price", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_models"),
    )
    op.create_table(
        "routes",
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("place", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("upstream_model", sa.String(200), nullable=False),
        sa.Column("weight", sa.BigInteger, nullable=False),
        sa.Column("priority", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name="fk_routes_model"),
        sa.PrimaryKeyConstraint("model", "place", name="pk_routes"),
    )
    op.create_index("ix_routes_provider", "routes", ["provider"])
    op.create_table(
        "plans",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("rpm", sa.BigInteger, nullable=False),
        sa.Column("tpm", sa.BigInteger, nullable=False),
        sa.Column("concurrent", sa.BigInteger, nullable=False),
        sa.Column("billing", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_plans"),
    )
    op.create_table(
        "switched_off",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name="pk_switched_off"),
    )
    op.create_table(
        "switches",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("on", sa.Boolean(create_constraint=False), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_switches"),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("switches", "switched_off", "plans", "routes", "models", "providers"):
        op.drop_table(table)
