"""The snapshot stream: frames of one line of JSON each (NDJSON), from the control plane to a gateway and to its disk.

Format 1 begins with the whole in one frame. Format 2 begins with `Head`, any number of `Part`s and `Whole`, so that
neither side ever holds a second copy; with `Head.since` the parts are only what changed since a revision that the
reader has. Both go on with a `Delta` for each change and a `Heartbeat` while there is none.

Spaces may come before any line: who waits for its turn to begin hears by them that the stream is alive.

A gateway says the newest format that it reads; a control plane tells it that one or an older one. Fields that a reader
does not know are passed over, so that adding an optional one is no new format. A frame whose format or revision does
not follow is refused with `SnapshotError`, and the reader keeps what it has (Envoy's rule for xDS).
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from techstone.core.snapshot import Account, Head, Key, Model, Plan, Provider, Snapshot

# Raised whenever a field changes its meaning; each side knows the one before it, so that they are updated one by one.
FORMAT = 2
OLDEST = 1


class SnapshotError(Exception):
    """The frame cannot be used; the reader keeps the snapshot that it has."""


class Part(msgspec.Struct, frozen=True, tag="part"):
    """Some of the accounts and keys. `gone_keys` are digests, and only in what is on top of a revision."""

    accounts: tuple[Account, ...] = ()
    keys: tuple[Key, ...] = ()
    gone_keys: tuple[str, ...] = ()
    format: int = FORMAT


class Whole(msgspec.Struct, frozen=True, tag="whole"):
    """The end of the parts: so many accounts and keys there are now."""

    revision: int
    accounts: int
    keys: int
    format: int = FORMAT


class Delta(msgspec.Struct, frozen=True, tag="delta"):
    """The way from revision `base` to `revision`: records put (new or changed, by id or name) and ids gone.

    `gone_digests` are those of `gone_keys`; format 1 has them not.
    """

    base: int
    revision: int
    accounts: tuple[Account, ...] = ()
    keys: tuple[Key, ...] = ()
    gone_accounts: tuple[str, ...] = ()
    gone_keys: tuple[str, ...] = ()
    models: tuple[Model, ...] = ()
    providers: tuple[Provider, ...] = ()
    plans: tuple[Plan, ...] = ()
    gone_models: tuple[str, ...] = ()
    gone_providers: tuple[str, ...] = ()
    gone_plans: tuple[str, ...] = ()
    gone_digests: tuple[str, ...] = ()
    format: int = FORMAT


class Heartbeat(msgspec.Struct, frozen=True, tag="heartbeat"):
    """Nothing changed: the stream is alive and `revision` is still the newest.

    With `away`, it is unknown whether anything changed: so many seconds ago the database was reached last.
    """

    revision: int
    format: int = FORMAT
    away: float = 0.0


Frame = Snapshot | Head | Part | Whole | Delta | Heartbeat

_Named = TypeVar("_Named", Model, Provider, Plan)

_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[Frame] = msgspec.json.Decoder(Frame)


def choose_format(newest: int) -> int:
    """Return the format to tell a gateway in that reads up to `newest`; raise SnapshotError where there is none."""
    if newest < OLDEST:
        raise SnapshotError(f"snapshot formats {OLDEST} to {FORMAT} are told here; update the gateway, or ask for one")
    return min(newest, FORMAT)


def lower(providers: tuple[Provider, ...]) -> tuple[Provider, ...]:
    """Return providers as format 1 knows them: an engine speaks OpenAI's API, whatever else it can."""
    return tuple(
        provider if provider.kind == "engine" else msgspec.structs.replace(provider, kind="openai")
        for provider in providers
    )


def encode(frame: Frame) -> bytes:
    """Return the frame as one line, with its line end."""
    return _ENCODER.encode(frame) + b"\n"


def decode(line: bytes) -> Frame:
    """Read one line; raise SnapshotError on anything that is not a frame of a format that is read here."""
    try:
        frame = _DECODER.decode(line)
    except msgspec.MsgspecError as error:
        raise SnapshotError(f"unreadable snapshot frame: {error}") from error
    if not OLDEST <= frame.format <= FORMAT:
        raise SnapshotError(f"snapshot format {frame.format}, expected {OLDEST} to {FORMAT}")
    return frame


def advance(head: Head, delta: Delta) -> Head:
    """Return the head after a change; raise SnapshotError where the change does not follow it."""
    if delta.base != head.revision:
        raise SnapshotError(f"change from revision {delta.base}, have {head.revision}")
    return msgspec.structs.replace(
        head,
        revision=delta.revision,
        models=_put(head.models, delta.models, delta.gone_models),
        providers=_put(head.providers, delta.providers, delta.gone_providers),
        plans=_put(head.plans, delta.plans, delta.gone_plans),
    )


def _put(current: tuple[_Named, ...], changed: tuple[_Named, ...], gone: tuple[str, ...]) -> tuple[_Named, ...]:
    if not changed and not gone:
        return current
    records = {record.name: record for record in current if record.name not in gone}
    records.update((record.name, record) for record in changed)
    return tuple(records.values())
