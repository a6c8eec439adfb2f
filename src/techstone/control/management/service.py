"""What the holder of an admin key may know and do. Knows no HTTP; everything is of the key's own account."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.control.acts import Actor, act_as
from techstone.control.keys.records import KeyChange, NewKey
from techstone.control.management.records import (
    Balance,
    CreatedKeyObject,
    KeyList,
    KeyObject,
    ProjectList,
    ProjectObject,
    RequestList,
    RequestObject,
    UsageList,
)
from techstone.control.projects.records import NewProject, ProjectChange
from techstone.core import keys as forms
from techstone.core import money
from techstone.core.credit import month_start
from techstone.core.errors import (
    AccountSuspended,
    AddressForbidden,
    AdminKeyRequired,
    Forbidden,
    InvalidRequest,
    KeyInvalid,
    KeyMissing,
)
from techstone.core.networks import compile_list

if TYPE_CHECKING:
    from techstone.control.accounts.records import Account
    from techstone.control.accounts.service import Accounts
    from techstone.control.keys.records import CreatedKey, Key, KeyShown
    from techstone.control.keys.service import Keys
    from techstone.control.ledger.records import Grouping
    from techstone.control.ledger.service import Ledger
    from techstone.control.management.records import KeyUpdate, KeyWish, ProjectUpdate, ProjectWish
    from techstone.control.ports import Clock, Offer
    from techstone.control.projects.records import ProjectShown
    from techstone.control.projects.service import Projects

_DAY = 86_400
LARGEST_PAGE = 1000
# What a table of 400 days has by the hour, and no question of people is longer.
_LONGEST_SPAN = 400 * _DAY


class Management:
    """Balance, usage, requests, keys and projects of an account."""

    def __init__(
        self, accounts: Accounts, keys: Keys, projects: Projects, ledger: Ledger, offer: Offer, clock: Clock
    ) -> None:
        self._accounts = accounts
        self._keys = keys
        self._projects = projects
        self._ledger = ledger
        self._offer = offer
        self._clock = clock

    async def identify_operator(self, authorization: str | None, address: str = "") -> None:
        """Let in who runs the cloud, by an operator key; raise as `identify`, and Forbidden for other admin keys."""
        found = await self._recognise(authorization, address)
        if found.kind != "operator":
            raise Forbidden("This needs an operator key. An operator makes one in the Console or by the command line.")

    async def identify(self, authorization: str | None, address: str = "") -> Account:
        """Return whose admin key this is.

        Raise KeyMissing, KeyInvalid, KeyDisabled, AdminKeyRequired, AddressForbidden or AccountSuspended.
        """
        return await self._accounts.find((await self._recognise(authorization, address)).account)

    async def _recognise(self, authorization: str | None, address: str) -> Key:
        scheme, _, rest = (authorization or "").partition(" ")
        key = rest.strip(" ")
        if scheme.lower() != "bearer" or not key:
            raise KeyMissing
        found = await self._keys.recognise(key)
        if found is None:
            raise KeyInvalid(forms.redact(key))
        if found.kind == "inference":
            raise AdminKeyRequired
        if found.settings.ips is not None and not compile_list(found.settings.ips).admit(address):
            raise AddressForbidden(address)
        account = await self._accounts.find(found.account)
        if account.suspended:
            raise AccountSuspended
        act_as(Actor("admin key", found.id, address))
        return found

    async def balance(self, account: Account) -> Balance:
        """Return the account's money."""
        plan = self._offer.find_plan(account.plan)
        sums = await self._ledger.sum_usage(account.id, month_start(self._clock()), "day")
        left = account.granted_nano - account.spent_nano - account.held_nano
        return Balance(
            account=account.email,
            plan=account.plan,
            billing=plan.billing,
            granted=money.show(account.granted_nano),
            spent=money.show(account.spent_nano),
            held=money.show(account.held_nano),
            available=money.show(left) if plan.billing == "prepaid" else None,
            spent_this_month=money.show(sum(money.parse(found.cost) for found in sums)),
            monthly_cap=None if account.monthly_cap is None else money.show(account.monthly_cap),
        )

    async def sum_usage(
        self, account: Account, since: str | None, by: Grouping, project: str | None = None
    ) -> UsageList:
        """Return sums of whole hours (of whole days by day) since a unix time, by default of the last 24 hours.

        Of everything, or of a project's keys.
        """
        return UsageList(await self._ledger.sum_usage(account.id, self._read_since(since), by, project))

    async def list_requests(self, account: Account, since: str | None, after: str, limit: int) -> RequestList:
        """Return requests since a unix time, oldest first: at most so many, those after a request."""
        if not 1 <= limit <= LARGEST_PAGE:
            raise InvalidRequest(f"limit must be 1 to {LARGEST_PAGE}.", param="limit")
        start = self._read_since(since)
        found = await self._ledger.list_requests(account.id, start, after, limit + 1)
        shown = tuple(msgspec.convert(one, RequestObject, from_attributes=True) for one in found[:limit])
        return RequestList(shown, len(found) > limit)

    def _read_since(self, since: str | None) -> int:
        now = self._clock()
        if since is None:
            return now - _DAY
        if not (since.isascii() and since.isdigit() and len(since) < 16 and now - _LONGEST_SPAN <= int(since) <= now):
            raise InvalidRequest("since must be a unix time in seconds, at most 400 days ago.", param="since")
        return int(since)

    async def list_keys(self, account: Account) -> KeyList:
        """Return the account's keys, oldest first."""
        return KeyList(tuple(map(_show, await self._keys.list(account.id))))

    async def show_key(self, account: Account, key_id: str) -> KeyObject:
        """Return one of the account's keys; raise KeyNotFound."""
        return _show(await self._keys.show(key_id, account.id))

    async def create_key(self, account: Account, wish: KeyWish) -> CreatedKeyObject:
        """Create a key and show it, this once."""
        return _reveal(await self._keys.create(NewKey(account.id, **msgspec.structs.asdict(wish))))

    async def change_key(self, account: Account, key_id: str, update: KeyUpdate) -> KeyObject:
        """Change name and settings of one of the account's keys."""
        return _show(await self._keys.change(key_id, KeyChange(**msgspec.structs.asdict(update)), account.id))

    async def disable_key(self, account: Account, key_id: str) -> KeyObject:
        """Refuse one of the account's keys until it is enabled."""
        return _show(await self._keys.disable(key_id, account.id))

    async def enable_key(self, account: Account, key_id: str) -> KeyObject:
        """Let one of the account's keys in again."""
        return _show(await self._keys.enable(key_id, account.id))

    async def revoke_key(self, account: Account, key_id: str) -> KeyObject:
        """End one of the account's keys now."""
        return _show(await self._keys.revoke(key_id, account.id))

    async def rotate_key(self, account: Account, key_id: str, overlap: int) -> CreatedKeyObject:
        """Replace one of the account's keys by a new one of the same settings."""
        return _reveal(await self._keys.rotate(key_id, overlap, account.id))

    async def list_projects(self, account: Account) -> ProjectList:
        """Return the account's projects, oldest first."""
        return ProjectList(tuple(map(_show_project, await self._projects.list(account.id))))

    async def show_project(self, account: Account, project_id: str) -> ProjectObject:
        """Return one of the account's projects; raise ProjectNotFound."""
        return _show_project(await self._projects.show(project_id, account.id))

    async def create_project(self, account: Account, wish: ProjectWish) -> ProjectObject:
        """Create a project."""
        return _show_project(await self._projects.create(NewProject(account.id, wish.name)))

    async def change_project(self, account: Account, project_id: str, update: ProjectUpdate) -> ProjectObject:
        """Rename one of the account's projects, archive it or take it back."""
        change = ProjectChange(update.name, update.archived, update.kept_days)
        return _show_project(await self._projects.change(project_id, change, account.id))


def _show(shown: KeyShown) -> KeyObject:
    return msgspec.convert(shown, KeyObject, from_attributes=True)


def _show_project(shown: ProjectShown) -> ProjectObject:
    return msgspec.convert(shown, ProjectObject, from_attributes=True)


def _reveal(created: CreatedKey) -> CreatedKeyObject:
    return msgspec.convert(created, CreatedKeyObject, from_attributes=True)
