"""What the control plane's rooms have of the world, for the control process and for a command that works without."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from techstone.adapters.upstreams.probe import Probe
from techstone.adapters.vault import VARIABLE, Vault
from techstone.app.config import ConfigError
from techstone.app.pricelist import PriceList
from techstone.control.catalog.ports import Means
from techstone.core.sealing import Unsealable

if TYPE_CHECKING:
    from pathlib import Path


def compose_means(vault: Vault, *, private: bool) -> Means:
    """Return seals, trials and the price list; `private`: providers of the own network may be typed in."""
    return Means(vault, Probe(os.environ, vault), PriceList(), private=private)


def open_vault(folder: Path) -> Vault:
    """Return the vault of a data folder; raise ConfigError for a key in the environment that is none."""
    vault = Vault(folder, os.environ)
    if os.environ.get(VARIABLE):
        try:
            vault.seal(b"", "a trial")
        except Unsealable as error:
            raise ConfigError(str(error)) from error
    return vault
