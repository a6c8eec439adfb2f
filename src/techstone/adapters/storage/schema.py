"""The tables, as the newest migration leaves them (a test holds the two equal). Times are unix seconds.

`changed` is the store's revision at the record's last change; `revision` holds the newest one, in its only row.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

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
    Column("granted_nano", BigInteger, nullable=False),
    Column("suspended", Boolean(create_constraint=False), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("spent_nano", BigInteger, nullable=False, server_default="0"),
    Column("held_nano", BigInteger, nullable=False, server_default="0"),
    *(Column(name, BigInteger, nullable=True) for name in ("rpm", "tpm", "concurrent", "monthly_cap")),
    # What had been granted and spent when credit was added last: alerts are about what is left of that.
    Column("topped_granted_nano", BigInteger, nullable=False, server_default="0"),
    Column("topped_spent_nano", BigInteger, nullable=False, server_default="0"),
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
    Column("daily_cap", BigInteger, nullable=True),
    Column("monthly_cap", BigInteger, nullable=True),
    Column("kind", String(16), nullable=False, server_default="inference"),
    Column("disabled_at", BigInteger, nullable=True),
    # Lists, as JSON.
    Column("scopes", Text, nullable=True),
    Column("ips", Text, nullable=True),
    # No foreign key: SQLite would have to copy the table to add one, and a project is never deleted.
    Column("project", String(40), nullable=True),
    Column("lifetime", BigInteger, nullable=True),
    Index("ix_keys_account", "account"),
    Index("ix_keys_changed", "changed"),
)

PROJECTS = Table(
    "projects",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("account", String(40), ForeignKey("accounts.id"), nullable=False),
    Column("name", String(100), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("archived_at", BigInteger, nullable=True),
    Column("kept_days", BigInteger, nullable=True),
    UniqueConstraint("account", "name", name="uq_projects_account"),
)

# SQLite numbers rows by itself only in a column of its own INTEGER.
_NUMBER = BigInteger().with_variant(Integer(), "sqlite")


def _counts(*names: str) -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False) for name in names]


# Literally so wherever it is asked: SQLite finds a partial index only by the text of its condition.
_OPEN = text("state = 'open'")
FAILED = text("state <> 'open' AND (state = 'void' OR status >= 400 OR error_code IS NOT NULL)")

REQUESTS = Table(
    "requests",
    METADATA,
    Column("number", _NUMBER, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    *(Column(name, String(40), nullable=False) for name in ("account", "key")),
    *(Column(name, String(200), nullable=False) for name in ("model", "provider", "upstream_model")),
    Column("state", String(8), nullable=False),
    Column("stream", Boolean(create_constraint=False), nullable=False),
    *_counts("status", "at", "first_byte", "duration"),
    *_counts("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens"),
    *_counts("cost_nano", "held_nano", "price", "attempts"),
    Column("error_code", String(64), nullable=True),
    Column("journal", String(16), nullable=False),
    Column("rated_nano", BigInteger, nullable=True),
    Index("ix_requests_account", "account", "at"),
    Index("ix_requests_at", "at"),
    Index("ix_requests_open", "at", sqlite_where=_OPEN, postgresql_where=_OPEN),
    # With what is asked of failures, so that those that are not wanted are passed in the index alone.
    Index("ix_requests_failed", "account", "at", "error_code", "key", sqlite_where=FAILED, postgresql_where=FAILED),
)

# All but charges and holds: what an account's statement names one by one. Literally so, as above.
_CREDITED = text("kind IN ('grant', 'refund', 'surcharge')")
CREDITED = text("transfers.kind IN ('grant', 'refund', 'surcharge')")

TRANSFERS = Table(
    "transfers",
    METADATA,
    Column("number", _NUMBER, primary_key=True),
    Column("at", BigInteger, nullable=False),
    *(Column(name, String(16), nullable=False) for name in ("kind", "debit", "credit")),
    Column("account", String(40), nullable=False),
    Column("nano", BigInteger, nullable=False),
    Column("request", String(64), nullable=True),
    Column("note", String(200), nullable=True),
    CheckConstraint("nano > 0", name="ck_transfers_nano"),
    Index("ix_transfers_credited", "account", "at", sqlite_where=_CREDITED, postgresql_where=_CREDITED),
)


def _rollup(name: str) -> Table:
    return Table(
        name,
        METADATA,
        Column("account", String(40), primary_key=True),
        Column("start", BigInteger, primary_key=True, autoincrement=False),
        Column("key", String(40), primary_key=True),
        Column("model", String(200), primary_key=True),
        *_counts("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "cost_nano"),
        Index(f"ix_{name}_start", "start"),
        sqlite_with_rowid=False,
    )


ROLLUPS_HOURLY = _rollup("rollups_hourly")
ROLLUPS_DAILY = _rollup("rollups_daily")


def _totals(name: str) -> Table:
    """Return a table of the rollups' sums, for what is asked of everybody: `grouping` says of what, `name` of which."""
    return Table(
        name,
        METADATA,
        Column("grouping", String(8), primary_key=True),
        Column("name", String(200), primary_key=True),  # "" of all
        Column("start", BigInteger, primary_key=True, autoincrement=False),
        *_counts("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "cost_nano"),
        sqlite_with_rowid=False,
    )


TOTALS_HOURLY = _totals("totals_hourly")  # all, account
TOTALS_DAILY = _totals("totals_daily")  # all, account, key, model

JOURNALS = Table(
    "journals", METADATA, Column("id", String(16), primary_key=True), *_counts("applied", "gaps", "heard_at")
)

PRICES = Table(
    "prices",
    METADATA,
    Column("version", _NUMBER, primary_key=True),
    Column("model", String(200), nullable=False),
    *_counts("valid_from", "input", "output"),
    Column("cached_input", BigInteger, nullable=True),
    Column("reasoning", BigInteger, nullable=True),
    Column("source", String(16), nullable=False),
    *_counts("created_at", "changed"),
    Column("reset", Boolean(create_constraint=False), nullable=False, server_default="0"),
    Index("ix_prices_model", "model", "valid_from"),
)

CODES = Table(
    "codes",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    *_counts("nano", "created_at"),
    Column("expires_at", BigInteger, nullable=True),
    Column("redeemed_at", BigInteger, nullable=True),
    Column("redeemed_by", String(40), nullable=True),
    Column("revoked_at", BigInteger, nullable=True),
)

ALERTS = Table(
    "alerts",
    METADATA,
    Column("number", _NUMBER, primary_key=True),
    Column("account", String(40), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("period", String(32), nullable=False),
    *_counts("percent", "at", "spent_nano", "limit_nano"),
    UniqueConstraint("subject", "period", "percent", name="uq_alerts_subject"),
)

PEOPLE = Table(
    "people",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("email", String(254), nullable=False, unique=True),
    Column("password", String(256), nullable=False),
    *_counts("created_at"),
    Column("operator", Boolean(create_constraint=False), nullable=False),
)

MEMBERSHIPS = Table(
    "memberships",
    METADATA,
    Column("account", String(40), ForeignKey("accounts.id"), primary_key=True),
    Column("person", String(40), ForeignKey("people.id"), primary_key=True),
    Column("role", String(16), nullable=False),
    *_counts("created_at"),
    Index("ix_memberships_person", "person"),
)

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("person", String(40), ForeignKey("people.id"), nullable=False),
    Column("account", String(40), nullable=True),
    *_counts("created_at", "seen_at"),
    Column("agent", String(200), nullable=False),
    Column("address", String(64), nullable=False),
    Index("ix_sessions_person", "person"),
    Index("ix_sessions_seen_at", "seen_at"),
)

LINKS = Table(
    "links",
    METADATA,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("email", String(254), nullable=False),
    *_counts("created_at", "expires_at"),
    Column("account", String(40), nullable=True),
    Column("role", String(16), nullable=True),
    # No foreign key: SQLite would have to copy the table to add one, and nobody is ever deleted.
    Column("inviter", String(40), nullable=True),
    Index("ix_links_email", "email"),
)

SECOND_FACTORS = Table(
    "second_factors",
    METADATA,
    Column("person", String(40), ForeignKey("people.id"), primary_key=True),
    Column("secret", LargeBinary(256), nullable=False),
    *_counts("created_at", "used"),
)

RECOVERY_CODES = Table(
    "recovery_codes",
    METADATA,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("person", String(40), ForeignKey("people.id"), nullable=False),
    Index("ix_recovery_codes_person", "person"),
)

FOREIGN_IDENTITIES = Table(
    "foreign_identities",
    METADATA,
    Column("issuer", String(512), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("person", String(40), ForeignKey("people.id"), nullable=False),
    *_counts("created_at"),
    Column("email", String(254), nullable=False),
    UniqueConstraint("person", "issuer", name="uq_foreign_identities_person"),
)

# Accounts that ask their members for two-factor.
TWO_FACTOR_ACCOUNTS = Table(
    "two_factor_accounts",
    METADATA,
    Column("account", String(40), ForeignKey("accounts.id"), primary_key=True),
)

AUDIT = Table(
    "audit",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    *_counts("at"),
    Column("actor_kind", String(16), nullable=False),
    Column("actor", String(254), nullable=False),
    Column("address", String(64), nullable=False),
    Column("account", String(40), nullable=True),
    Column("action", String(64), nullable=False),
    Column("target", String(254), nullable=False),
    Column("detail", Text, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Index("ix_audit_account", "account", "number"),
)

PROVIDERS = Table(
    "providers",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("base_url", String(2000), nullable=False),
    Column("secret", LargeBinary, nullable=True),  # sealed
    Column("ending", String(4), nullable=False),
    Column("timeouts", Text, nullable=False),
    *_counts("created_at"),
    Column("kind", String(16), nullable=False, server_default="openai"),
    Column("replicas", Text, nullable=False, server_default="[]"),
    Column("routing", String(16), nullable=True),
    Column("metrics_port", BigInteger, nullable=True),
)

MODELS = Table(
    "models",
    METADATA,
    Column("name", String(200), primary_key=True),
    Column("display", String(100), nullable=True),
    Column("context_window", BigInteger, nullable=True),
    Column("max_output_tokens", BigInteger, nullable=True),
    Column("price", Text, nullable=False),
    *_counts("created_at"),
)

ROUTES = Table(
    "routes",
    METADATA,
    Column("model", String(200), ForeignKey("models.name"), primary_key=True),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    # No foreign key: it may be a provider of the configuration file.
    Column("provider", String(64), nullable=False),
    Column("upstream_model", String(200), nullable=False),
    *_counts("weight", "priority"),
    Index("ix_routes_provider", "provider"),
)

PLANS = Table(
    "plans",
    METADATA,
    Column("name", String(64), primary_key=True),
    *_counts("rpm", "tpm", "concurrent"),
    Column("billing", String(16), nullable=False),
)

SWITCHED_OFF = Table(
    "switched_off",
    METADATA,
    Column("kind", String(16), primary_key=True),
    Column("name", String(200), primary_key=True),
)

SWITCHES = Table(
    "switches",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("on", Boolean(create_constraint=False), nullable=False),
)

PAYMENTS = Table(
    "payments",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("account", String(40), ForeignKey("accounts.id"), nullable=False),
    *_counts("cents", "created_at"),
    Column("state", String(8), nullable=False),
    Column("session", String(255), nullable=True, unique=True),
    Column("intent", String(255), nullable=True),
    Column("paid_at", BigInteger, nullable=True),
    Column("note", String(200), nullable=False),
    Index("ix_payments_account", "account", "created_at"),
    Index("ix_payments_created_at", "created_at"),
)

# Without a foreign key: a refund may be told before the payment is.
REVERSALS = Table(
    "reversals",
    METADATA,
    Column("id", String(255), primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("intent", String(255), nullable=False),
    *_counts("cents"),
    Column("state", String(32), nullable=False),
    *_counts("at"),
    Index("ix_reversals_intent", "intent"),
)

# Triggers, which are the migration's, refuse every change and deletion.
INVOICES = Table(
    "invoices",
    METADATA,
    Column("number", String(16), primary_key=True),
    *_counts("year", "sequence"),
    Column("kind", String(8), nullable=False),
    Column("account", String(40), ForeignKey("accounts.id"), nullable=False),
    Column("subject", String(40), nullable=False),
    *_counts("nano"),
    Column("document", Text, nullable=False),
    UniqueConstraint("year", "sequence", name="uq_invoices_year"),
    UniqueConstraint("account", "kind", "subject", name="uq_invoices_account"),
)

BUYERS = Table(
    "buyers",
    METADATA,
    Column("account", String(40), ForeignKey("accounts.id"), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("address", Text, nullable=False),
    Column("tax_id", String(64), nullable=False),
)

# The months whose invoices are issued.
MONTHS = Table("months", METADATA, Column("month", String(7), primary_key=True))

REFUSALS = Table(
    "refusals",
    METADATA,
    Column("number", _NUMBER, primary_key=True),
    Column("request_id", String(64), nullable=False, unique=True),
    Column("account", String(40), nullable=False),
    Column("key", String(40), nullable=False),
    *_counts("at", "status"),
    Column("code", String(64), nullable=False),
    Column("axis", String(16), nullable=False),
    Column("scope", String(16), nullable=False),
    Column("wait", BigInteger, nullable=True),
    Column("model", String(200), nullable=False),
    Column("param", String(200), nullable=False),
    Column("message", String(200), nullable=False),
    Index("ix_refusals_account", "account", "number"),
    Index("ix_refusals_at", "at"),
)

SECRETS = Table(
    "secrets",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("value", LargeBinary(64), nullable=False),
)

TRANSCRIPTS = Table(
    "transcripts",
    METADATA,
    Column("request_id", String(64), primary_key=True),
    Column("account", String(40), nullable=False),
    Column("project", String(40), nullable=False),
    *_counts("at", "expires_at"),
    Column("sealed", LargeBinary, nullable=False),
    Index("ix_transcripts_expires_at", "expires_at"),
    Index("ix_transcripts_project", "project", "expires_at"),
)
