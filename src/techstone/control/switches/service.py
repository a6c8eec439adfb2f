"""Which features are on. Asked in memory, read again when the store's revision rises: any process's change counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.control.acts import acting
from techstone.control.switches.records import SWITCHES, SwitchShown
from techstone.core.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from techstone.control.switches.ports import SwitchStore
    from techstone.control.switches.records import SwitchName


class Switches:
    """The closed list. `defaults` are the configuration file's, by name."""

    def __init__(self, store: SwitchStore, defaults: Mapping[str, bool] | None = None) -> None:
        self._store = store
        self._defaults = {switch.name: switch.default for switch in SWITCHES} | dict(defaults or {})
        self._overrides: Mapping[str, bool] = {}

    async def refresh(self) -> None:
        """Read again what operators made of them."""
        self._overrides = await self._store.read()

    def is_on(self, name: SwitchName) -> bool:
        """Say whether a feature is on."""
        return self._overrides.get(name, self._defaults[name])

    async def list(self) -> tuple[SwitchShown, ...]:
        """Return every switch."""
        await self.refresh()
        return tuple(
            SwitchShown(
                switch.name,
                switch.title,
                switch.text,
                self._defaults[switch.name],
                self._overrides.get(switch.name),
                self.is_on(switch.name),
            )
            for switch in SWITCHES
        )

    async def set(self, name: str, *, on: bool | None) -> SwitchShown:
        """Switch a feature on or off, or (None) have its default count again."""
        if all(switch.name != name for switch in SWITCHES):
            known = ", ".join(switch.name for switch in SWITCHES)
            raise InvalidRequest(f"name: there is no switch `{name}`; there are {known}.", param="name")
        told = "default" if on is None else "on" if on else "off"
        with acting("switch.set", name, to=told):
            await self._store.set(name, on=on)
        return next(switch for switch in await self.list() if switch.name == name)
