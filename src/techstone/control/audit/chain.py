"""The chain: each entry's digest covers the one before it, so that none can be changed, left out or put in between."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from techstone.control.audit.records import Entry

if TYPE_CHECKING:
    from techstone.control.acts import Act, Actor

ROOT = bytes(32)
"""What the first entry follows."""


def append(before: bytes, number: int, at: int, actor: Actor, act: Act) -> Entry:
    """Return the next entry after a digest."""
    entry = Entry(
        number, at, actor.kind, actor.name, actor.address, act.account, act.action, act.target, act.detail, b""
    )
    return msgspec.structs.replace(entry, digest=seal(before, entry))


def seal(before: bytes, entry: Entry) -> bytes:
    """Return the digest of an entry that follows another's."""
    told = [
        entry.number,
        entry.at,
        entry.actor_kind,
        entry.actor,
        entry.address,
        entry.account,
        entry.action,
        entry.target,
        sorted(entry.detail.items()),
    ]
    return hashlib.sha256(before + msgspec.json.encode(told)).digest()
