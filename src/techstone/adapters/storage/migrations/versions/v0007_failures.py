"""Failed requests of an account by time: they are few, and are asked for among all that went well."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_FAILED = "state <> 'open' AND (state = 'void' OR status >= 400 OR error_code IS NOT NULL)"


def upgrade() -> None:
    """Create the index."""
    columns, failed = ["account", "at", "error_code", "key"], sa.text(_FAILED)
    op.create_index("ix_requests_failed", "requests", columns, sqlite_where=failed, postgresql_where=failed)


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_requests_failed", "requests")
