"""The features that can be switched, and how a switch is shown. The list is closed: a name that is none is refused."""

from __future__ import annotations

from typing import Literal

import msgspec

SwitchName = Literal["sign_up", "playground", "checkout"]


class Switch(msgspec.Struct, frozen=True):
    """A feature, what it does, and whether it is on where nothing else is said."""

    name: SwitchName
    title: str
    text: str
    default: bool = True


SWITCHES = (
    Switch(
        "sign_up", "Sign-up", "Strangers can open an account by themselves. Off, people are invited.", default=False
    ),
    Switch("playground", "Playground", "People can try models in the Console, on their account's credit."),
    Switch("checkout", "Checkout", "People can buy credit. Off, it comes from you and from codes."),
)


class SwitchShown(msgspec.Struct, frozen=True):
    """A switch as operators see it; `override` is what they made of it, None: as by default."""

    name: SwitchName
    title: str
    text: str
    default: bool
    override: bool | None
    on: bool


class SwitchChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a feature is to be on; None: as by default."""

    name: str
    on: bool | None
