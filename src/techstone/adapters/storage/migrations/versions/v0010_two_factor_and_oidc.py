"""Second factors, recovery codes, who people are at providers of log-ins, accounts that ask for two-factor."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "second_factors",
        sa.Column("person", sa.String(40), nullable=False),
        sa.Column("secret", sa.LargeBinary(256), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("used", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("person", name="pk_second_factors"),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name="fk_second_factors_person"),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("person", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_recovery_codes"),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name="fk_recovery_codes_person"),
    )
    op.create_index("ix_recovery_codes_person", "recovery_codes", ["person"])
    op.create_table(
        "foreign_identities",
        sa.Column("issuer", sa.String(512), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("person", sa.String(40), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "subject", name="pk_foreign_identities"),
        sa.UniqueConstraint("person", "issuer", name="uq_foreign_identities_person"),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name="fk_foreign_identities_person"),
    )
    op.create_table(
        "two_factor_accounts",
        sa.Column("account", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("account", name="pk_two_factor_accounts"),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name="fk_two_factor_accounts_account"),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("two_factor_accounts", "foreign_identities", "recovery_codes", "second_factors"):
        op.drop_table(table)
