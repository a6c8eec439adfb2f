"""Sealed values that a browser keeps for us: it cannot read, change or make one, and each is for one use and a while.

So the halves of a log-in need no table, and none of them can be taken for a session.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, TypeVar

import msgspec

from techstone.core.sealing import Unsealable

if TYPE_CHECKING:
    from techstone.control.identity.ports import Vault
    from techstone.control.ports import Clock

_S = TypeVar("_S", bound=msgspec.Struct)
# More than any of ours; what is longer is not looked at.
_LONGEST = 2048


class _Sealed(msgspec.Struct, frozen=True, array_like=True):
    ends_at: int
    value: msgspec.Raw


class Seals:
    """Seal and open values in text."""

    def __init__(self, vault: Vault, clock: Clock) -> None:
        self._vault = vault
        self._clock = clock

    def seal(self, use: str, value: msgspec.Struct, seconds: int) -> str:
        """Return the value in text, good for a use and so many seconds."""
        whole = _Sealed(self._clock() + seconds, msgspec.Raw(msgspec.json.encode(value)))
        return base64.urlsafe_b64encode(self._vault.seal(msgspec.json.encode(whole), use)).decode()

    def open(self, use: str, text: str, shape: type[_S]) -> _S | None:
        """Return what was sealed for this use; None for what has ended, and for what is not ours."""
        if not text or len(text) > _LONGEST:
            return None
        try:
            sealed = base64.b64decode(text, b"-_", validate=True)
            whole = msgspec.json.decode(self._vault.open(sealed, use), type=_Sealed)
        except (ValueError, Unsealable):
            return None
        if whole.ends_at <= self._clock():
            return None
        return msgspec.json.decode(whole.value, type=shape)
