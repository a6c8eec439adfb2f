"""The first start: an empty store gets a first account and a first key, which is shown this once."""

from __future__ import annotations

import msgspec


class FirstKey(msgspec.Struct, frozen=True):
    """The first account and its key, right after they were created."""

    account: str  # email
    key_id: str
    key: str

    def __repr__(self) -> str:
        """Leave the key out."""
        return f"FirstKey(account={self.account!r}, key_id={self.key_id!r})"

    __str__ = __repr__
