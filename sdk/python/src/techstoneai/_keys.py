"""The account's keys: list, make, change, disable, revoke and rotate them, with an admin key."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from openai.pagination import AsyncPage, SyncPage
from pydantic import Field

from ._management import locate, write_amount, write_seconds
from ._record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openai._base_client import AsyncPaginator
    from typing_extensions import TypedDict, Unpack

    from ._client import AsyncTechStoneAI, TechStoneAI

    class KeyWish(TypedDict, total=False):
        """A key to be made; what is left out is not limited. Caps are US dollars."""

        name: str
        kind: Literal["inference", "admin"]
        models: Sequence[str] | None
        expires: timedelta | str | None
        rpm: int | None
        tpm: int | None
        concurrent: int | None
        daily_cap: Decimal | str | int | None
        monthly_cap: Decimal | str | int | None
        scopes: Sequence[Scope] | None
        ips: Sequence[str] | None
        project: str | None

    class KeyChange(TypedDict, total=False):
        """What is to be otherwise about a key; what is left out stays as it is, None takes a limit away."""

        name: str
        models: Sequence[str] | None
        expires: timedelta | str | None
        rpm: int | None
        tpm: int | None
        concurrent: int | None
        daily_cap: Decimal | str | int | None
        monthly_cap: Decimal | str | int | None
        scopes: Sequence[Scope] | None
        ips: Sequence[str] | None
        project: str | None


# What a key may be used for. Not under TYPE_CHECKING: pydantic looks it up.
Scope = Literal["chat", "models", "limits", "estimate"]


class Key(Record):
    """A key as it can be shown at any time. `models`, `scopes` and `ips` are None where it may all; `project` is an id.

    Times are unix seconds.
    """

    object: Literal["key"]
    id: str
    kind: Literal["inference", "admin", "operator"]
    name: str
    hint: str
    state: Literal["active", "disabled", "expired", "revoked"]
    models: list[str] | None = None
    rpm: int | None = None
    tpm: int | None = None
    concurrent: int | None = None
    daily_cap: Decimal | None = None
    monthly_cap: Decimal | None = None
    scopes: list[Scope] | None = None
    ips: list[str] | None = None
    project: str | None = None
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    disabled_at: int | None = None


class CreatedKey(Key):
    """A new key, the only time that `key` is seen. `replaces` is the id of the key that it was rotated from."""

    key: str = Field(repr=False)
    replaces: str | None = None


class Keys:
    """`client.keys`."""

    def __init__(self, client: TechStoneAI) -> None:
        self._client = client

    def list(self) -> SyncPage[Key]:
        """Return all keys, oldest first."""
        url, options = locate(self._client, "keys")
        return self._client.get_api_list(url, model=Key, page=SyncPage[Key], options=options)

    def retrieve(self, key_id: str) -> Key:
        """Return one key."""
        url, options = locate(self._client, _path(key_id))
        return self._client.get(url, cast_to=Key, options=options)

    def create(self, **wish: Unpack[KeyWish]) -> CreatedKey:
        """Make a key and show it, this once."""
        url, options = locate(self._client, "keys")
        return self._client.post(url, cast_to=CreatedKey, body=_write(wish), options=options)

    def update(self, key_id: str, **change: Unpack[KeyChange]) -> Key:
        """Change a key's name and settings; `expires` counts from now on."""
        url, options = locate(self._client, _path(key_id))
        return self._client.patch(url, cast_to=Key, body=_write_change(change), options=options)

    def disable(self, key_id: str) -> Key:
        """Refuse a key until it is enabled."""
        url, options = locate(self._client, _path(key_id, "disable"))
        return self._client.post(url, cast_to=Key, options=options)

    def enable(self, key_id: str) -> Key:
        """Let a disabled key in again."""
        url, options = locate(self._client, _path(key_id, "enable"))
        return self._client.post(url, cast_to=Key, options=options)

    def revoke(self, key_id: str) -> Key:
        """End a key now."""
        url, options = locate(self._client, _path(key_id, "revoke"))
        return self._client.post(url, cast_to=Key, options=options)

    def rotate(self, key_id: str, *, overlap: timedelta | int = 0) -> CreatedKey:
        """Replace a key by a new one with the same settings; the old one stays good for `overlap` (seconds) more."""
        url, options = locate(self._client, _path(key_id, "rotate"))
        body = {"overlap": write_seconds(overlap)}
        return self._client.post(url, cast_to=CreatedKey, body=body, options=options)


class AsyncKeys:
    """`client.keys` of the async client."""

    def __init__(self, client: AsyncTechStoneAI) -> None:
        self._client = client

    def list(self) -> AsyncPaginator[Key, AsyncPage[Key]]:
        """Return all keys, oldest first."""
        url, options = locate(self._client, "keys")
        return self._client.get_api_list(url, model=Key, page=AsyncPage[Key], options=options)

    async def retrieve(self, key_id: str) -> Key:
        """Return one key."""
        url, options = locate(self._client, _path(key_id))
        return await self._client.get(url, cast_to=Key, options=options)

    async def create(self, **wish: Unpack[KeyWish]) -> CreatedKey:
        """Make a key and show it, this once."""
        url, options = locate(self._client, "keys")
        return await self._client.post(url, cast_to=CreatedKey, body=_write(wish), options=options)

    async def update(self, key_id: str, **change: Unpack[KeyChange]) -> Key:
        """Change a key's name and settings; `expires` counts from now on."""
        url, options = locate(self._client, _path(key_id))
        return await self._client.patch(url, cast_to=Key, body=_write_change(change), options=options)

    async def disable(self, key_id: str) -> Key:
        """Refuse a key until it is enabled."""
        url, options = locate(self._client, _path(key_id, "disable"))
        return await self._client.post(url, cast_to=Key, options=options)

    async def enable(self, key_id: str) -> Key:
        """Let a disabled key in again."""
        url, options = locate(self._client, _path(key_id, "enable"))
        return await self._client.post(url, cast_to=Key, options=options)

    async def revoke(self, key_id: str) -> Key:
        """End a key now."""
        url, options = locate(self._client, _path(key_id, "revoke"))
        return await self._client.post(url, cast_to=Key, options=options)

    async def rotate(self, key_id: str, *, overlap: timedelta | int = 0) -> CreatedKey:
        """Replace a key by a new one with the same settings; the old one stays good for `overlap` (seconds) more."""
        url, options = locate(self._client, _path(key_id, "rotate"))
        body = {"overlap": write_seconds(overlap)}
        return await self._client.post(url, cast_to=CreatedKey, body=body, options=options)


def _path(key_id: str, action: str = "") -> str:
    if not key_id:
        # An empty id would make another address: that of all keys.
        raise ValueError(f"Expected a non-empty value for `key_id` but received {key_id!r}")
    return f"keys/{quote(key_id, safe='')}" + (f"/{action}" if action else "")


def _write(wish: KeyWish) -> dict[str, object]:
    return _put({name: value for name, value in wish.items() if value is not None})


def _write_change(change: KeyChange) -> dict[str, object]:
    """Return the body of a change, in which None means what it says."""
    return _put(dict(change))


def _put(body: dict[str, object]) -> dict[str, object]:
    for name, value in body.items():
        if isinstance(value, timedelta):
            body[name] = f"{write_seconds(value)}s"
        elif name.endswith("_cap") and isinstance(value, Decimal | int):
            body[name] = write_amount(value)
    return body
