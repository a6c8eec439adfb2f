"""The first start: an empty store gets a first account and a first key, which is shown this once.

Of several control processes that start at the same time on one store, one creates them and the others find them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.control.accounts.records import NewAccount
from techstone.control.acts import acting
from techstone.control.keys.records import NewKey

if TYPE_CHECKING:
    from techstone.control.services import Services


class FirstKey(msgspec.Struct, frozen=True):
    """The first account and its key, right after they were created."""

    account: str  # email
    key_id: str
    key: str
    claim: str  # the path of the one-time link by which the operator takes over

    def __repr__(self) -> str:
        """Leave the key out: a traceback or a log line must not show it."""
        return f"FirstKey(account={self.account!r}, key_id={self.key_id!r})"

    __str__ = __repr__


async def bootstrap(services: Services, email: str, plan: str | None = None) -> FirstKey | None:
    """Create the first account, on a plan (None: the first), and its key; None where there is an account already."""
    store, accounts, keys = services.store, services.accounts, services.keys
    if await store.list_accounts():
        return None
    account = accounts.draft(NewAccount(email, plan))
    record, key = keys.draft(NewKey(account.email, name="first"), account.id)
    with acting("account.create", account.id, account.id, email=account.email, plan=account.plan, key=record.id):
        if not await store.add_first(account, record):
            return None
    return FirstKey(account.email, record.id, key, (await services.claims.make(account.id)).path)
