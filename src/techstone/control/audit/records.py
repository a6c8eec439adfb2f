"""Entries of the audit log as they are stored and as they are shown. Times are unix seconds."""

from __future__ import annotations

import msgspec

from techstone.control.acts import ActorKind


class Entry(msgspec.Struct, frozen=True):
    """One act. `digest` is the SHA-256 of the entry before it and of all that stands here (`audit.chain`)."""

    number: int
    at: int
    actor_kind: ActorKind
    actor: str
    address: str
    account: str | None
    action: str
    target: str
    detail: dict[str, str]
    digest: bytes


class EntryShown(msgspec.Struct, frozen=True):
    """An entry as people and scripts see it."""

    number: int
    at: int
    actor_kind: ActorKind
    actor: str
    address: str
    account: str | None
    action: str
    target: str
    detail: dict[str, str]
    digest: str


class AuditFilter(msgspec.Struct, frozen=True):
    """Which entries are wanted: of an account, by who acted, of a kind of act (`key`, or `key.revoke`).

    `account` is an id in a store; whoever asks the log may give its email as well.
    """

    account: str | None = None
    actor: str | None = None
    action: str | None = None


class Soundness(msgspec.Struct, frozen=True):
    """What a check of the whole chain found. `head` is the last entry's digest: kept elsewhere, it shows a cut tail.

    `broken` is the number of the first entry that does not follow from the one before it.
    """

    entries: int
    head: str
    broken: int | None = None
