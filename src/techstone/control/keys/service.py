"""What may be done with keys: create, list, revoke, rotate. The key leaves in the answer to its creation, then never.

Knows no HTTP and no database. Every refusal names the field, and no message repeats what may be a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from techstone.control.acts import acting
from techstone.control.keys.records import CreatedKey, Key, KeySettings, KeyShown, KeyState, NewKey
from techstone.core import keys, lifetime, money
from techstone.core.errors import InvalidRequest, KeyNotFound

if TYPE_CHECKING:
    from techstone.control.keys.records import KeyKind
    from techstone.control.ports import Clock, Holders, KeyStore, Offer, Randomness

_LONGEST_NAME = 100
LARGEST_LIMIT = 2**31 - 1
# An old key beside a new one is a door left open: thirty days is the longest that a roll-out may take.
LONGEST_OVERLAP = 30 * 86_400


class Keys:
    """Create, show, revoke and rotate keys."""

    def __init__(self, store: KeyStore, holders: Holders, offer: Offer, clock: Clock, randomness: Randomness) -> None:
        self._store = store
        self._holders = holders
        self._offer = offer
        self._clock = clock
        self._randomness = randomness

    def draft(self, wanted: NewKey, account_id: str) -> tuple[Key, str]:
        """Check the wish and return the record that it asks for, not stored yet, and the key itself."""
        now = self._clock()
        lasts = None if wanted.expires is None else _read_lifetime(wanted.expires)
        _check_kind(wanted)
        settings = KeySettings(self._check_models(wanted.models), *_check_limits(wanted), *_check_caps(wanted))
        return self._make(
            account_id,
            _check_name(wanted.name),
            settings,
            expires_at=None if lasts is None else now + lasts,
            kind=wanted.kind,
            live=wanted.live,
        )

    async def create(self, wanted: NewKey) -> CreatedKey:
        """Create a key and show it, this once."""
        account = await self._holders.find(wanted.account)
        record, key = self.draft(wanted, account.id)
        with acting("key.create", record.id, record.account, name=record.name, kind=record.kind):
            await self._store.add_key(record)
        return _reveal(record, key, account.email)

    async def list(self, account: str | None = None) -> tuple[KeyShown, ...]:
        """Return those of the account (email or id), or all; oldest first."""
        if account is not None:
            holder = await self._holders.find(account)
            return tuple(self._show(key, holder.email) for key in await self._store.list_keys(holder.id))
        # Keys first: the account of a key that is there is there too, one that comes in between may be new.
        found = await self._store.list_keys()
        emails = await self._holders.emails()
        return tuple(self._show(key, emails[key.account]) for key in found)

    async def show(self, which: str, owner: str | None = None) -> KeyShown:
        """Return a key, of an account (id) or of any."""
        key = await self._find(which, owner)
        return self._show(key, (await self._holders.find(key.account)).email)

    async def recognise(self, key: str) -> Key | None:
        """Return the record of a key that is good now, whatever it is good for."""
        if not keys.well_formed(key) and not keys.is_admin(key):
            return None
        found = await self._store.find_key_by_digest(keys.digest(key))
        return found if found is not None and _judge(found, self._clock()) == "active" else None

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
        if _judge(old, now) != "active":
            raise InvalidRequest(f"The key {old.id} is {_judge(old, now)}; create a new one instead.", param="key")
        # The lifetime that was asked for counts from now on: a rotation is not to shorten it to what was left.
        ends_at = None if old.expires_at is None else now + old.expires_at - old.created_at
        live = not old.hint.startswith("ts_test_")
        record, key = self._make(old.account, old.name, old.settings, expires_at=ends_at, kind=old.kind, live=live)
        ends = now + overlap if old.expires_at is None else min(now + overlap, old.expires_at)
        with acting("key.rotate", old.id, old.account, name=old.name, successor=record.id, overlap=overlap):
            await self._store.replace_key(old.id, ends, record)
        holder = await self._holders.find(old.account)
        return msgspec.structs.replace(_reveal(record, key, holder.email), replaces=old.id)

    def _make(
        self,
        account_id: str,
        name: str,
        settings: KeySettings,
        *,
        expires_at: int | None,
        kind: KeyKind,
        live: bool,
    ) -> tuple[Key, str]:
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
            created_at=self._clock(),
            expires_at=expires_at,
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
        """Return a key to be changed; those that run the cloud are not an account's own to replace or end."""
        key = await self._find(which, owner)
        if owner is not None and key.kind == "operator":
            raise KeyNotFound
        return key

    def _check_models(self, models: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if models is None:
            return None
        if not models:
            raise InvalidRequest("models must name at least one model, or be left out for all.", param="models")
        for place, model in enumerate(models):
            if not self._offer.has_model(model):
                raise InvalidRequest(f"models: there is no model `{model}`.", param=f"models[{place}]")
        return tuple(dict.fromkeys(models))

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
            **_show_settings(key.settings),
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
        **_show_settings(record.settings),
    )


def _judge(key: Key, now: int) -> KeyState:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= now:
        return "expired"
    return "active"


def _check_kind(wanted: NewKey) -> None:
    if wanted.kind == "inference":
        return
    for field in ("models", "rpm", "tpm", "concurrent", "daily_cap", "monthly_cap"):
        if getattr(wanted, field) is not None:
            raise InvalidRequest(f"{field} means nothing to an admin key, which cannot infer.", param=field)


def _check_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidRequest(f"name must be 1 to {_LONGEST_NAME} printable characters.", param="name")
    return name


def _check_limits(wanted: NewKey) -> tuple[int | None, int | None, int | None]:
    for field, limit in (("rpm", wanted.rpm), ("tpm", wanted.tpm), ("concurrent", wanted.concurrent)):
        if limit is not None and not 1 <= limit <= LARGEST_LIMIT:
            raise InvalidRequest(f"{field} must be a whole number from 1 to {LARGEST_LIMIT}.", param=field)
    return wanted.rpm, wanted.tpm, wanted.concurrent


def _check_caps(wanted: NewKey) -> tuple[int | None, int | None]:
    found: list[int | None] = []
    for field, usd in (("daily_cap", wanted.daily_cap), ("monthly_cap", wanted.monthly_cap)):
        try:
            found.append(None if usd is None else money.parse(usd))
        except ValueError as error:
            raise InvalidRequest(f"{field}: {error}.", param=field) from error
    return found[0], found[1]


def _show_settings(settings: KeySettings) -> dict[str, Any]:
    """Return the settings by name, caps in USD."""
    shown = msgspec.structs.asdict(settings)
    for field in ("daily_cap", "monthly_cap"):
        shown[field] = None if shown[field] is None else money.show(shown[field])
    return shown


def _read_lifetime(text: str) -> int:
    try:
        return lifetime.parse(text)
    except ValueError as error:
        raise InvalidRequest(f"expires {error}.", param="expires") from error
