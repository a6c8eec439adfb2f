"""What may be done with keys: create, list, change, disable, revoke, rotate.

The key leaves in the answer to its creation, then never. Knows no HTTP and no database. Every refusal names the field,
and no message repeats what may be a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from techstone.control.acts import acting
from techstone.control.keys.records import CreatedKey, Key, KeyChange, KeySettings, KeyShown, KeyState, NewKey
from techstone.control.keys.settings import apply, check_kind, check_name, list_wishes, show_settings
from techstone.core import keys
from techstone.core.errors import InvalidRequest, KeyDisabled, KeyNotFound, ProjectNotFound

if TYPE_CHECKING:
    from techstone.control.keys.records import KeyKind
    from techstone.control.ports import Clock, Holders, KeyStore, Offer, Randomness
    from techstone.control.projects.ports import ProjectStore

# An old key beside a new one is a door left open: thirty days is the longest that a roll-out may take.
LONGEST_OVERLAP = 30 * 86_400


class Keys:
    """Create, show, change, disable, revoke and rotate keys."""

    def __init__(
        self,
        store: KeyStore,
        projects: ProjectStore,
        holders: Holders,
        offer: Offer,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._store = store
        self._projects = projects
        self._holders = holders
        self._offer = offer
        self._clock = clock
        self._randomness = randomness

    def draft(self, wanted: NewKey, account_id: str) -> tuple[Key, str]:
        """Check the wish and return the record that it asks for, not stored yet, and the key itself."""
        wishes = list_wishes(wanted)
        check_kind(wanted.kind, wishes)
        settings = apply(KeySettings(), wishes, self._offer)
        return self._make(account_id, check_name(wanted.name), settings, kind=wanted.kind, live=wanted.live)

    async def create(self, wanted: NewKey) -> CreatedKey:
        """Create a key and show it, this once."""
        account = await self._holders.find(wanted.account)
        await self._check_project(wanted.project, account.id)
        record, key = self.draft(wanted, account.id)
        with acting("key.create", record.id, record.account, name=record.name, kind=record.kind):
            await self._store.add_key(record)
        return _reveal(record, key, account.email)

    async def list(self, account: str | None = None, kind: KeyKind | None = None) -> tuple[KeyShown, ...]:
        """Return those of the account (email or id), or all, of a kind or of any; oldest first."""
        if account is not None:
            holder = await self._holders.find(account)
            return tuple(self._show(key, holder.email) for key in await self._store.list_keys(holder.id, kind))
        # Keys first: the account of a key that is there is there too, one that comes in between may be new.
        found = await self._store.list_keys(kind=kind)
        emails = await self._holders.emails({key.account for key in found})
        return tuple(self._show(key, emails[key.account]) for key in found)

    async def show(self, which: str, owner: str | None = None) -> KeyShown:
        """Return a key, of an account (id) or of any."""
        key = await self._find(which, owner)
        return self._show(key, (await self._holders.find(key.account)).email)

    async def recognise(self, key: str) -> Key | None:
        """Return the record of a key that is good now, whatever it is good for; raise KeyDisabled."""
        if not keys.well_formed(key) and not keys.is_admin(key):
            return None
        found = await self._store.find_key_by_digest(keys.digest(key))
        state = None if found is None else _judge(found, self._clock())
        if state == "disabled":
            raise KeyDisabled
        return found if state == "active" else None

    async def change(self, which: str, change: KeyChange, owner: str | None = None) -> KeyShown:
        """Change a key's name and settings, of an account (id) or of any; what is left out stays as it is."""
        key = await self._find_living(which, owner)
        check_kind(key.kind, change)
        if change.project is not UNSET and change.project != key.settings.project:
            await self._check_project(change.project, key.account)
        settings = apply(key.settings, change, self._offer)
        ends_at = key.expires_at
        if change.expires is not UNSET:
            ends_at = None if settings.lifetime is None else self._clock() + settings.lifetime
        name = key.name if change.name is UNSET else check_name(change.name)
        return await self._write(
            "key.change", key, msgspec.structs.replace(key, name=name, settings=settings, expires_at=ends_at)
        )

    async def disable(self, which: str, owner: str | None = None) -> KeyShown:
        """Refuse the key until it is enabled; a disabled one keeps its first time."""
        key = await self._find_living(which, owner)
        since = self._clock() if key.disabled_at is None else key.disabled_at
        return await self._write("key.disable", key, msgspec.structs.replace(key, disabled_at=since))

    async def enable(self, which: str, owner: str | None = None) -> KeyShown:
        """Let the key in again."""
        key = await self._find_living(which, owner)
        return await self._write("key.enable", key, msgspec.structs.replace(key, disabled_at=None))

    async def _write(self, action: str, before: Key, after: Key) -> KeyShown:
        with acting(action, before.id, before.account, **_tell_changes(before, after)):
            await self._store.change_key(before, after)
        return await self.show(before.id)

    async def revoke(self, which: str, owner: str | None = None) -> KeyShown:
        """End the key now, of an account (id) or of any."""
        key = await self._find_own(which, owner)
        with acting("key.revoke", key.id, key.account, name=key.name):
            await self._store.revoke_key(key.id, self._clock())
        holder = await self._holders.find(key.account)
        return self._show(await self._find(key.id), holder.email)

    async def rotate(self, which: str, overlap: int = 0, owner: str | None = None) -> CreatedKey:
        """Replace the key by a new one of the same settings; the old one stays good for `overlap` seconds more."""
        if not 0 <= overlap <= LONGEST_OVERLAP:
            raise InvalidRequest(f"overlap must be 0 to {LONGEST_OVERLAP} seconds.", param="overlap")
        old = await self._find_own(which, owner)
        now = self._clock()
        _require_living(old, now)
        if old.disabled_at is not None:
            raise InvalidRequest(f"The key {old.id} is disabled; enable it first.", param="key")
        # The lifetime that was asked for counts from now on: a rotation is not to shorten it to what was left.
        live = not old.hint.startswith("ts_test_")
        record, key = self._make(old.account, old.name, old.settings, kind=old.kind, live=live)
        ends = now + overlap if old.expires_at is None else min(now + overlap, old.expires_at)
        with acting("key.rotate", old.id, old.account, name=old.name, successor=record.id, overlap=overlap):
            await self._store.replace_key(old.id, ends, record)
        holder = await self._holders.find(old.account)
        return msgspec.structs.replace(_reveal(record, key, holder.email), replaces=old.id)

    def _make(self, account_id: str, name: str, settings: KeySettings, *, kind: KeyKind, live: bool) -> tuple[Key, str]:
        now = self._clock()
        # An operator key has an admin key's form: wherever an admin key is refused, so is it.
        form: keys.Form = "admin" if kind != "inference" else "live" if live else "test"
        key = keys.compose(self._randomness(keys.RANDOM_BYTES), form)
        record = Key(
            id="key_" + self._randomness(10).hex(),
            digest=keys.digest(key),
            account=account_id,
            name=name,
            hint=keys.hint(key),
            settings=settings,
            created_at=now,
            expires_at=None if settings.lifetime is None else now + settings.lifetime,
            kind=kind,
        )
        return record, key

    async def _find(self, which: str, owner: str | None = None) -> Key:
        which = which.strip()
        if keys.well_formed(which) or keys.is_admin(which):
            found = await self._store.find_key_by_digest(keys.digest(which))
        else:
            found = await self._store.find_key(which)
        if found is None or owner not in {None, found.account}:
            raise KeyNotFound
        return found

    async def _find_own(self, which: str, owner: str | None) -> Key:
        """Return a key to be changed; those that run the cloud are not an account's own to change."""
        key = await self._find(which, owner)
        if owner is not None and key.kind == "operator":
            raise KeyNotFound
        return key

    async def _find_living(self, which: str, owner: str | None) -> Key:
        """Return a key that has not ended; raise KeyNotFound or InvalidRequest."""
        key = await self._find_own(which, owner)
        _require_living(key, self._clock())
        return key

    async def _check_project(self, project: str | None, account: str) -> None:
        """Raise ProjectNotFound, or InvalidRequest for one that takes no keys any more."""
        if project is None:
            return
        found = await self._projects.find_project(project)
        if found is None or found.account != account:
            raise ProjectNotFound
        if found.archived_at is not None:
            raise InvalidRequest("This project is archived: it takes no keys.", param="project")

    def _show(self, key: Key, email: str) -> KeyShown:
        return KeyShown(
            id=key.id,
            account=email,
            kind=key.kind,
            name=key.name,
            hint=key.hint,
            state=_judge(key, self._clock()),
            created_at=key.created_at,
            expires_at=key.expires_at,
            revoked_at=key.revoked_at,
            disabled_at=key.disabled_at,
            **show_settings(key.settings),
        )


def _reveal(record: Key, key: str, email: str) -> CreatedKey:
    return CreatedKey(
        id=record.id,
        key=key,
        account=email,
        kind=record.kind,
        name=record.name,
        hint=record.hint,
        created_at=record.created_at,
        expires_at=record.expires_at,
        **show_settings(record.settings),
    )


def _judge(key: Key, now: int) -> KeyState:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= now:
        return "expired"
    return "active" if key.disabled_at is None else "disabled"


def _require_living(key: Key, now: int) -> None:
    state = _judge(key, now)
    if state in {"revoked", "expired"}:
        raise InvalidRequest(f"The key {key.id} is {state}; create a new one instead.", param="key")


def _tell_changes(before: Key, after: Key) -> dict[str, str]:
    """Return what is otherwise, for the audit log."""
    old, new = (
        {"name": key.name, **msgspec.structs.asdict(key.settings), "expires_at": key.expires_at}
        for key in (before, after)
    )
    return {name: f"{old[name]} -> {value}" for name, value in new.items() if value != old[name]}
