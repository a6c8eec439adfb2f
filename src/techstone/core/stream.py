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

from techstone.core.snapshot import Account, Head, Key, Model, Plan, Provider, Register, Snapshot, View

# Raised whenever a field changes its meaning; each side knows the one before it, so that they are updated one by one.
FORMAT = 2
OLDEST = 1


class SnapshotError(Exception):
    """The frame cannot be used; the reader keeps the snapshot that it has."""


class Miscounted(SnapshotError):
    """Changes were made that do not add up: only the whole helps. `view` is what the reader has until then."""

    def __init__(self, view: View | None, found: tuple[int, int], expected: tuple[int, int]) -> None:
        super().__init__("{} accounts and {} keys, expected {} and {}".format(*found, *expected))
        self.view = view


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


class Assembly:
    """Frames of one stream in, views out. `view` is what the reader has already, for frames on top of it."""

    def __init__(self, view: View | None = None) -> None:
        self._view = view
        self._begun = False
        self._head: Head | None = None
        self._register = Register()
        self._parts: list[Part] = []

    def take(self, frame: Frame) -> View | None:
        """Return the newest view that is whole, None as long as there is none; raise SnapshotError.

        The view is another object exactly where something changed.
        """
        if isinstance(frame, Snapshot):
            self._view, self._begun, self._head = View(frame), True, None
        elif isinstance(frame, Head):
            self._begin(frame)
        elif isinstance(frame, Part):
            self._add(frame)
        elif isinstance(frame, Whole):
            self._end(frame)
        elif not self._begun or self._view is None or self._head is not None:
            raise SnapshotError("a change came before the first whole snapshot")
        elif isinstance(frame, Delta):
            self._view = self._view.follow(advance(self._view.snapshot, frame), frame)
        elif frame.revision != self._view.snapshot.revision:
            raise SnapshotError(f"heartbeat of revision {frame.revision}, have {self._view.snapshot.revision}")
        return self._view if self._begun and self._head is None else None

    def _begin(self, head: Head) -> None:
        have = None if self._view is None else self._view.snapshot.revision
        if head.since is not None and head.since != have:
            raise SnapshotError(f"changes since revision {head.since}, have {have}")
        self._head, self._register, self._parts = head, Register(), []

    def _add(self, part: Part) -> None:
        if self._head is None:
            raise SnapshotError("a part came before its head")
        if self._head.since is None:
            self._register.put(part.accounts, part.keys)
        else:
            # Kept until all are there: requests look at the register meanwhile.
            self._parts.append(part)

    def _end(self, whole: Whole) -> None:
        head = self._head
        if head is None or whole.revision != head.revision:
            raise SnapshotError("the end of parts that did not begin")
        register = self._register
        if head.since is not None and self._view is not None:
            register = self._view.register
            if head.spending:
                register.forget_spending()
            else:
                head = msgspec.structs.replace(head, as_of_day=self._view.snapshot.as_of_day)
            for part in self._parts:
                register.put(part.accounts, part.keys)
                register.drop((), part.gone_keys)
        found, expected = (len(register.accounts), len(register.keys)), (whole.accounts, whole.keys)
        self._head, self._parts = None, []
        if found != expected:
            # Of a database that was restored from a backup, or of a mistake of ours. Who is gone by it is gone: another
            # view, so that nobody goes by what he knew of the one before; of its revision, as this one is not reached.
            changed = None
            if self._view is not None and register is self._view.register:
                changed = View(
                    msgspec.structs.replace(head, since=None, revision=self._view.snapshot.revision), register
                )
            self._view, self._begun = None, False
            raise Miscounted(changed, found, expected)
        self._view, self._begun = View(msgspec.structs.replace(head, since=None), register), True
