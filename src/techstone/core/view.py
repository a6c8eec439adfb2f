"""The snapshot as requests look at it: who asks by a key, which models there are and where they are served.

Models, providers and plans are of one revision, and immutable; accounts and keys are in a register that changes in
place. Knows nothing of how changes come (`core.stream`, `core.assembly`), only what one is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.core.networks import Networks, compile_list
from techstone.core.snapshot import Account, Head, Key, Limits, Model, Plan, Provider, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from techstone.core.stream import Delta


class Principal(msgspec.Struct, frozen=True):
    """Who asks: the key, its account, the account's plan and what limits it.

    `key_limited`: the key has limits of its own, which stand in it. `bounded`: there is a bound to the money that may
    be spent, credit or a cap. `networks` is where requests may come from; None: anywhere. `fenced`: what the key may be
    used for, or from where, is bounded, so that each request must be looked at.
    """

    key: Key
    account: Account
    plan: Plan
    limits: Limits
    key_limited: bool
    bounded: bool
    networks: Networks | None = None
    fenced: bool = False


class Holder(msgspec.Struct, frozen=True):
    """An account for who looks at it: `principal` has a key without id, nobody's; `keys` are those of its keys."""

    principal: Principal
    keys: tuple[Principal, ...]


class Register:
    """Accounts and keys, changed in place: a change costs what changed, not what there is.

    Measured at 1,000,000 keys: a new index for each change stood still for 1.2 to 1.5 s, this for 0.04 ms. What a key
    comes to is composed when it is asked for first, which spares 0.3 KB for each of the many that nobody uses.
    """

    __slots__ = ("_composed", "_keys_of", "accounts", "keys", "plans")

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.keys: dict[str, Key] = {}  # by digest
        self.plans: dict[str, Plan] = {}
        self._keys_of: dict[str, list[str]] = {}  # digests by account
        self._composed: dict[bytes, Principal] = {}

    def put(self, accounts: Iterable[Account], keys: Iterable[Key]) -> None:
        """Take records, new or changed."""
        for account in accounts:
            self._forget(account.id)
            self.accounts[account.id] = account
        for key in keys:
            digest = key.digest
            known = self.keys.get(digest)
            if known is None or known.account != key.account:
                if known is not None:
                    self._keys_of[known.account].remove(digest)
                self._keys_of.setdefault(key.account, []).append(digest)
            self.keys[digest] = key
            if self._composed:
                self._composed.pop(bytes.fromhex(digest), None)

    def drop(self, accounts: Iterable[str], digests: Iterable[str]) -> None:
        """Forget accounts by their ids and keys by their digests."""
        for name in accounts:
            self._forget(name)
            self.accounts.pop(name, None)
        for digest in digests:
            known = self.keys.pop(digest, None)
            if known is not None:
                self._keys_of[known.account].remove(digest)
                self._composed.pop(bytes.fromhex(digest), None)

    def find_digests(self, ids: Iterable[str]) -> list[str]:
        """Return the digests of keys by their ids: looks at every key (50 ms a million)."""
        wanted = set(ids)
        return [key.digest for key in self.keys.values() if key.id in wanted] if wanted else []

    def arrange(self, plans: Iterable[Plan]) -> None:
        """Take the plans that there are now."""
        self.plans = {plan.name: plan for plan in plans}
        self._composed.clear()

    def forget_spending(self) -> None:
        """Begin anew with what was spent: all of it is told after this."""
        for name, account in self.accounts.items():
            if account.spent or account.spent_month:
                self.accounts[name] = msgspec.structs.replace(account, spent=0, spent_month=0)
        for digest, key in self.keys.items():
            if key.spent_day or key.spent_month:
                self.keys[digest] = msgspec.structs.replace(key, spent_day=0, spent_month=0)
        self._composed.clear()

    def _forget(self, account: str) -> None:
        if self._composed:
            for digest in self._keys_of.get(account, ()):
                self._composed.pop(bytes.fromhex(digest), None)

    def find(self, digest: bytes) -> Principal | None:
        """Return who asks by the key of a digest; a key without its account and plan is nobody's."""
        found = self._composed.get(digest)
        if found is None:
            key = self.keys.get(digest.hex())
            found = None if key is None else self._compose(key)
            if found is not None:
                self._composed[digest] = found
        return found

    def _compose(self, key: Key) -> Principal | None:
        account = self.accounts.get(key.account)
        plan = self.plans.get(account.plan) if account else None
        return make_principal(key, account, plan) if account and plan else None

    def find_holder(self, account_id: str) -> Holder | None:
        """Return an account with its keys."""
        account = self.accounts.get(account_id)
        plan = self.plans.get(account.plan) if account else None
        if account is None or plan is None:
            return None
        found = [self.find(bytes.fromhex(digest)) for digest in self._keys_of.get(account_id, ())]
        own = make_principal(Key("", "", account.id, "", ""), account, plan)
        return Holder(own, tuple(principal for principal in found if principal is not None))


class Principals:
    """Who may ask, by a key's digest (32 bytes): always of now, also in a view that was taken earlier."""

    __slots__ = ("_register", "get")

    def __init__(self, register: Register) -> None:
        self._register = register
        self.get = register.find

    def __getitem__(self, digest: bytes) -> Principal:
        found = self.get(digest)
        if found is None:
            raise KeyError(digest)
        return found

    def __contains__(self, digest: bytes) -> bool:
        return self.get(digest) is not None


class View:
    """The snapshot as requests look at it: a dict look-up a question, no copy.

    Models and providers are of one revision, which a request keeps to its end; accounts and keys are the register's,
    which is of now: who was revoked since is not there any more.
    """

    __slots__ = ("models", "principals", "providers", "register", "snapshot")

    def __init__(self, snapshot: Snapshot | Head, register: Register | None = None) -> None:
        if register is None:
            register = Register()
            if isinstance(snapshot, Snapshot):
                register.put(snapshot.accounts, snapshot.keys)
        self.snapshot: Head = snapshot if isinstance(snapshot, Head) else snapshot.head()
        self.register = register
        register.arrange(snapshot.plans)
        self.principals = Principals(register)
        self.models: dict[str, Model] = {model.name: model for model in snapshot.models}
        self.providers: dict[str, Provider] = {provider.name: provider for provider in snapshot.providers}

    @property
    def accounts(self) -> Mapping[str, Account]:
        """Every account by its id."""
        return self.register.accounts

    @property
    def keys(self) -> Iterable[Key]:
        """Every key."""
        return self.register.keys.values()

    def follow(self, head: Head, delta: Delta) -> View:
        """Return the view after a change, with the head that it leads to; the register is changed in place."""
        register = self.register
        register.put(delta.accounts, delta.keys)
        gone = delta.gone_digests
        if delta.gone_keys and not gone:
            gone = tuple(register.find_digests(delta.gone_keys))
        register.drop(delta.gone_accounts, gone)
        view = View.__new__(View)
        view.snapshot, view.register, view.principals = head, register, self.principals
        view.models, view.providers = self.models, self.providers
        if head.models is not self.snapshot.models:
            view.models = {model.name: model for model in head.models}
        if head.providers is not self.snapshot.providers:
            view.providers = {provider.name: provider for provider in head.providers}
        if head.plans is not self.snapshot.plans:
            register.arrange(head.plans)
        return view

    def find_holder(self, account_id: str) -> Holder | None:
        """Return an account with its keys."""
        return self.register.find_holder(account_id)


def make_principal(key: Key, account: Account, plan: Plan) -> Principal:
    """Return who asks by a key; an account's custom numbers go before its plan's."""
    limits = Limits(
        plan.rpm if account.rpm is None else account.rpm,
        plan.tpm if account.tpm is None else account.tpm,
        plan.concurrent if account.concurrent is None else account.concurrent,
    )
    limited = key.rpm is not None or key.tpm is not None or key.concurrent is not None
    caps = (account.monthly_cap, key.daily_cap, key.monthly_cap)
    bounded = plan.billing == "prepaid" or any(cap is not None for cap in caps)
    networks = None if key.ips is None else compile_list(key.ips)
    fenced = networks is not None or key.scopes is not None
    return Principal(key, account, plan, limits, limited, bounded, networks, fenced)
