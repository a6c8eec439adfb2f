"""What this room needs of the world: a store of its own, seals, somebody who asks a provider, and a price list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from techstone.control.catalog.records import EntryKind, Stored, StoredModel, StoredProvider
    from techstone.core.pricing import Price
    from techstone.core.snapshot import Plan, Provider


class InUse(Exception):
    """Something that others need is to be removed; `by` names some of them."""

    def __init__(self, by: tuple[str, ...]) -> None:
        super().__init__(", ".join(by))
        self.by = by


class CatalogStore(Protocol):
    """What operators added. Each change raises the store's revision."""

    async def read(self) -> Stored:
        """Return all of it, as of one moment."""

    async def put_provider(self, provider: StoredProvider, *, fresh: bool) -> None:
        """Store it; raise Taken("name") where a fresh one's name is in use."""

    async def remove_provider(self, name: str) -> bool:
        """Forget it; say whether it was there. Raise InUse while stored models have routes to it."""

    async def put_model(self, model: StoredModel, now: int, *, fresh: bool) -> None:
        """Store it and note its price as configured, both or neither; raise Taken("name") as above."""

    async def remove_model(self, name: str) -> bool:
        """Forget it; say whether it was there. Its prices stay, for what was billed by them."""

    async def put_plan(self, plan: Plan, *, fresh: bool) -> None:
        """Store it; raise Taken("name") as above."""

    async def remove_plan(self, name: str) -> bool:
        """Forget it; say whether it was there. Raise InUse while accounts are on it."""

    async def switch(self, kind: EntryKind, name: str, *, on: bool) -> None:
        """Switch an entry on or off."""


class Sealer(Protocol):
    """Seals secrets at rest, and opens them."""

    def seal(self, secret: bytes, context: str) -> bytes:
        """Return the secret sealed for a context; raise Unsealable."""

    def open(self, sealed: bytes, context: str) -> bytes:
        """Return the secret; raise Unsealable."""


class PriceList(Protocol):
    """What models cost by their makers' own pages."""

    async def ask(self, provider: str, base_url: str, models: Sequence[str]) -> Sequence[Price | None]:
        """Return the price of each of a provider's models, None for what is not known."""


class Means(msgspec.Struct, frozen=True):
    """What the room has of the world beside its store; None: not here.

    `private`: whether the file allows addresses of the own network, and plain HTTP.
    """

    sealer: Sealer | None = None
    prober: Prober | None = None
    price_list: PriceList | None = None
    private: bool = False


class Asked(msgspec.Struct, frozen=True):
    """A provider's answer: `failure` says how there was none (`core.failure`'s kinds, with a detail).

    `keyless`: it was asked without its key, which only gateways have.
    """

    seconds: float
    status: int = 0
    body: bytes = b""
    failure: str | None = None
    detail: str = ""
    keyless: bool = False


class Prober(Protocol):
    """Asks a provider by its own key, within its time-outs. Raise Unsealable where the key cannot be opened."""

    async def list_models(self, provider: Provider, base_url: str) -> Asked:
        """Ask the server at one of its addresses for its models."""

    async def chat(self, provider: Provider, base_url: str, model: str) -> Asked:
        """Ask the server at one of its addresses for one token."""
