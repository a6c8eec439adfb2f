"""The tables, as the newest migration leaves them (a test holds the two equal). Times are unix seconds.

`changed` is the store's revision at the record's last change; `revision` holds the newest one, in its only row.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, LargeBinary, MetaData, String, Table, Text

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

REVISION = Table("revision", METADATA, Column("number", BigInteger, primary_key=True, autoincrement=False))

ACCOUNTS = Table(
    "accounts",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("email", String(254), nullable=False, unique=True),
    Column("plan", String(64), nullable=False),
    Column("credit_nano", BigInteger, nullable=False),
    Column("suspended", Boolean(create_constraint=False), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Index("ix_accounts_changed", "changed"),
)

KEYS = Table(
    "keys",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("account", String(40), ForeignKey("accounts.id"), nullable=False),
    Column("name", String(100), nullable=False),
    Column("hint", String(32), nullable=False),
    Column("models", Text, nullable=True),
    Column("rpm", BigInteger, nullable=True),
    Column("tpm", BigInteger, nullable=True),
    Column("concurrent", BigInteger, nullable=True),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=True),
    Column("revoked_at", BigInteger, nullable=True),
    Column("changed", BigInteger, nullable=False),
    Index("ix_keys_account", "account"),
    Index("ix_keys_changed", "changed"),
)
