"""What this room needs of the world: a store of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class SwitchStore(Protocol):
    """What operators made of the switches. Each change raises the store's revision."""

    async def read(self) -> Mapping[str, bool]:
        """Return the switches that are set, by name."""

    async def set(self, name: str, *, on: bool | None) -> None:
        """Set one, or (None) have its default count again."""
