"""What may be done with accounts. Knows no HTTP and no database; every refusal names the field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from techstone.control.accounts.records import Account, AccountPage, AccountShown, NewAccount, PlanChange, Terms
from techstone.control.acts import acting
from techstone.control.ports import Taken
from techstone.core import money
from techstone.core.addresses import is_address
from techstone.core.errors import AccountNotFound, Forbidden, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Collection

    from techstone.control.ports import AccountStore, Clock, Offer, Randomness

PAGE = 50
_LARGEST_LIMIT = 2**31 - 1


class Accounts:
    """Create, show and change accounts."""

    def __init__(self, store: AccountStore, offer: Offer, clock: Clock, randomness: Randomness) -> None:
        self._store = store
        self._offer = offer
        self._clock = clock
        self._randomness = randomness

    def draft(self, wanted: NewAccount) -> Account:
        """Check the wish and return the account that it asks for, not stored yet."""
        email = wanted.email.strip().lower()
        if not is_address(email):
            raise InvalidRequest("email must be an address such as name@example.com.", param="email")
        credit = _parse_usd("credit", wanted.credit)
        return Account(
            id="acct_" + self._randomness(10).hex(),
            email=email,
            plan=self._offer.find_plan(wanted.plan).name,
            granted_nano=credit,
            monthly_cap=None if wanted.monthly_cap is None else _parse_cap(wanted.monthly_cap),
            created_at=self._clock(),
        )

    async def create(self, wanted: NewAccount) -> AccountShown:
        """Create an account."""
        account = self.draft(wanted)
        try:
            with acting(
                "account.create", account.id, account.id, email=account.email, plan=account.plan, usd=wanted.credit
            ):
                await self._store.add_account(account)
        except Taken as taken:
            raise InvalidRequest(f"There is an account `{account.email}` already.", param=taken.field) from taken
        return _show(account)

    async def find(self, who: str) -> Account:
        """Return the account of that email or id; raise AccountNotFound."""
        account = await self._store.find_account(who.strip().lower())
        if account is None:
            raise AccountNotFound(who)
        return account

    async def seek(self, email: str) -> Account | None:
        """Return the account of that email, if there is one."""
        return await self._store.find_account(email)

    async def emails(self, ids: Collection[str] | None = None) -> dict[str, str]:
        """Return the email of each of these accounts, or of every one, by its id."""
        return await self._store.list_emails(ids)

    async def count_plans(self) -> dict[str, int]:
        """Return how many accounts are on each plan that any is on."""
        return await self._store.count_plans()

    async def on_plans(self, plans: Collection[str]) -> set[str]:
        """Return the ids of the accounts that are on one of these plans."""
        return {account.id for account in await self._store.list_accounts() if account.plan in plans}

    async def list_records(self) -> tuple[Account, ...]:
        """Return all as they are stored, oldest first."""
        return await self._store.list_accounts()

    async def list(self) -> tuple[AccountShown, ...]:
        """Return all, oldest first."""
        return tuple(_show(account) for account in await self._store.list_accounts())

    async def search(self, text: str = "", before: str = "", limit: int = PAGE) -> AccountPage:
        """Return a page of the accounts whose email or id holds a text, newest first: those before one (its id)."""
        found = await self._store.find_accounts(text.strip().lower(), before, limit + 1)
        rows = tuple(map(_show, found[:limit]))
        return AccountPage(rows, rows[-1].id if len(found) > limit else "")

    async def show(self, who: str) -> AccountShown:
        """Return the account of that email or id."""
        return _show(await self.find(who))

    async def set_plan(self, who: str, change: PlanChange) -> AccountShown:
        """Put the account on another plan, with custom numbers and a cap where there are any."""
        account = await self.find(who)
        for field, limit in (("rpm", change.rpm), ("tpm", change.tpm), ("concurrent", change.concurrent)):
            if limit is not None and not 1 <= limit <= _LARGEST_LIMIT:
                raise InvalidRequest(f"{field} must be a whole number from 1 to {_LARGEST_LIMIT}.", param=field)
        cap = UNSET if change.monthly_cap is None else _parse_cap(change.monthly_cap)
        plan = self._offer.find_plan(change.plan).name
        return await self._set_terms(account, Terms(plan, change.rpm, change.tpm, change.concurrent, cap))

    async def set_cap(self, who: str, usd: str) -> AccountShown:
        """Change the cap of a month ("none": no cap) and nothing else."""
        account = await self.find(who)
        return await self._set_terms(account, Terms(monthly_cap=_parse_cap(usd)))

    async def lower_cap(self, who: str, usd: str) -> AccountShown:
        """Set the cap of a month where there is none, or a lower one; raise Forbidden for a higher one."""
        before = (await self.find(who)).monthly_cap
        if before is not None and _parse_usd("monthly_cap", usd) > before:
            raise Forbidden(
                "An admin key may set or lower the cap; to raise or lift it is for owners and billing, in the Console."
            )
        return await self.set_cap(who, usd)

    async def _set_terms(self, account: Account, terms: Terms) -> AccountShown:
        changed = {
            name: f"{before} -> {after}"
            for name, after in terms.given.items()
            if (before := getattr(account, name)) != after
        }
        with acting("account.set_terms", account.id, account.id, **changed):
            await self._store.set_terms(account.id, terms)
        return await self.show(account.id)

    async def add_credit(self, who: str, usd: str) -> AccountShown:
        """Add credit, in USD."""
        account = await self.find(who)
        nano = _parse_usd("usd", usd)
        with acting("account.add_credit", account.id, account.id, usd=usd):
            granted = bool(nano) and await self._store.ledger.grant(account.id, nano, "by an operator")
        if not granted:
            raise InvalidRequest("usd must be more than 0, and an account holds at most 9 billion.", param="usd")
        return await self.show(account.id)

    async def suspend(self, who: str, *, suspended: bool = True) -> AccountShown:
        """Suspend the account, or let it in again."""
        account = await self.find(who)
        with acting("account.suspend" if suspended else "account.resume", account.id, account.id):
            await self._store.set_suspended(account.id, suspended=suspended)
        return await self.show(account.id)


def _parse_cap(usd: str) -> int | None:
    return None if usd == "none" else _parse_usd("monthly_cap", usd)


def _parse_usd(field: str, usd: str) -> int:
    try:
        return money.parse(usd)
    except ValueError as error:
        raise InvalidRequest(f"{field}: {error}.", param=field) from error


def _show(account: Account) -> AccountShown:
    return AccountShown(
        id=account.id,
        email=account.email,
        plan=account.plan,
        credit=money.show(account.granted_nano - account.spent_nano - account.held_nano),
        granted=money.show(account.granted_nano),
        spent=money.show(account.spent_nano),
        held=money.show(account.held_nano),
        monthly_cap=None if account.monthly_cap is None else money.show(account.monthly_cap),
        rpm=account.rpm,
        tpm=account.tpm,
        concurrent=account.concurrent,
        suspended=account.suspended,
        created_at=account.created_at,
    )
