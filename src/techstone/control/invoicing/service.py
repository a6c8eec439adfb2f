"""What may be done with documents: issue those of a month, show them, say whom they are for. No HTTP, no database."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from techstone.control.acts import acting
from techstone.control.invoicing import documents, months
from techstone.control.invoicing.records import InvoiceList, Party
from techstone.control.ports import StoreError
from techstone.core.errors import InvalidRequest, InvoiceNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from techstone.control.accounts.records import Account
    from techstone.control.accounts.service import Accounts
    from techstone.control.invoicing.ports import InvoiceStore
    from techstone.control.invoicing.records import Draft, InvoiceEntry, InvoiceShown
    from techstone.control.payments.records import Payment
    from techstone.control.ports import Clock

# A request may run for an hour and be booked some seconds later; what comes later still is on the next invoice.
GRACE = 2 * 3600
_PAUSE = 60.0
PAGE = 200
_LONGEST = {"name": 200, "address": 1000, "tax_id": 64}


class Invoices:
    """Issue and show documents; without a seller none are issued. `postpaid` gives the names of postpaid plans."""

    def __init__(
        self, store: InvoiceStore, accounts: Accounts, postpaid: Callable[[], Sequence[str]], clock: Clock
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._postpaid = postpaid
        self._seller: Party | None = None
        self._clock = clock

    def open(self, seller: Party) -> None:
        """Issue documents from now on, in the name of a seller."""
        self._seller = seller

    @property
    def on(self) -> bool:
        """Whether documents are issued here."""
        return self._seller is not None

    async def run(self, report: Callable[[str], None], pause: float = _PAUSE) -> None:
        """Close months as they end, for ever."""
        while True:
            try:
                await self.close_months()
            except StoreError as error:
                report(f"invoices cannot be issued: {error}")
            await asyncio.sleep(pause)

    async def close_months(self) -> None:
        """Issue the invoices of every month that has ended since the last one that was closed.

        Each document is issued once, however often that is begun. The first time there is nothing to issue: it is said
        with which month invoices begin.
        """
        if self._seller is None:
            return
        newest = months.step(months.name(self._clock() - GRACE), -1)
        closed = await self._store.read_closed()
        if closed is None:
            with acting("month.close", newest):
                await self._store.close_month(newest)
            return
        while closed < newest:
            closed = months.step(closed)
            await self._close(closed, self._seller)

    async def _close(self, month: str, seller: Party) -> None:
        for account in await self._accounts.list_records():
            if account.plan in self._postpaid():
                usage = await self._store.read_month(account.id, month)
                buyer = await self._store.find_buyer(account.id)
                draft = documents.draft_invoice(month, usage, account, seller, buyer, self._clock())
                if draft is not None:
                    with acting("invoice.issue", month, account.id):
                        await self._store.issue(draft)
        with acting("month.close", month):
            await self._store.close_month(month)

    async def draft_receipt(self, payment: Payment, account: Account) -> Draft:
        """Return the receipt of a payment, to be issued with what it is credited by."""
        buyer = await self._store.find_buyer(account.id)
        return documents.draft_receipt(payment, account, self._seller or Party(), buyer, self._clock())

    async def list(self, account: str | None, limit: int = PAGE) -> tuple[InvoiceEntry, ...]:
        """Return the newest documents of an account (id), or of all; newest first."""
        return tuple(map(documents.enter, await self._store.list_invoices(account, limit)))

    async def list_shown(self, account: str, limit: str | None) -> InvoiceList:
        """Return the newest documents of an account (id), at most so many; raise InvalidRequest for `limit`."""
        many = 100 if limit is None else int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 5 else 0
        if not 1 <= many <= 1000:
            raise InvalidRequest("limit must be 1 to 1000.", param="limit")
        return InvoiceList(await self.list(account, many))

    async def show(self, number: str, account: str | None = None) -> InvoiceShown:
        """Return a document, of that account (id) or of any; raise NotFound."""
        found = await self._store.find_invoice(number, account)
        if found is None:
            raise InvoiceNotFound(number)
        return documents.show(found)

    async def find_buyer(self, account: str) -> Party:
        """Return whom the account's documents are for."""
        return await self._store.find_buyer(account)

    async def set_buyer(self, account: str, buyer: Party) -> None:
        """Change whom the account's next documents are for; raise InvalidRequest by field."""
        cleaned = {field: _clean(field, value) for field, value in msgspec.structs.asdict(buyer).items()}
        with acting("buyer.set", account, account):
            await self._store.set_buyer(account, Party(**cleaned))


def _clean(field: str, text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines()]
    joined = "\n".join(line for line in lines if line)
    if len(joined) > _LONGEST[field]:
        raise InvalidRequest(f"{field} must be at most {_LONGEST[field]} characters.", param=field)
    if field != "address" and "\n" in joined:
        raise InvalidRequest(f"{field} must be one line.", param=field)
    if any(not character.isprintable() for character in joined.replace("\n", "")):
        raise InvalidRequest(f"{field} must be text.", param=field)
    return joined
