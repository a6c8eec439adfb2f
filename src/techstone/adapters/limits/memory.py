"""The limit store in memory: for one gateway process, which decides by its own books alone.

What it must not forget comes back at the start: the last minute's admissions, from the journal and, of those that had
no end, from their own file; the spending that the ledger had not booked yet, from the journal, and all earlier from the
snapshot. Until the control plane was heard, nobody's credit and caps are known, so what counts against them waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.core import limits, survey
from techstone.core.credit import Period, Spending, period_of
from techstone.core.errors import LedgerUnavailable
from techstone.core.leases import RENEWAL_SECONDS
from techstone.core.limits import AccountBooks, Claim, Grant, KeyBooks, Refusal, Standing
from techstone.core.refused import Refused
from techstone.core.window import SECONDS
from techstone.wire.limits import AccountView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from techstone.adapters.limits.admissions import Admissions
    from techstone.core.snapshot import Account, Key
    from techstone.core.usage import UsageRecord
    from techstone.core.view import Holder, Principal, View
    from techstone.wire.limits import KeyView, Limits, RefusedRequest

_DAY_SECONDS = 86_400


class MemoryLimits:
    """Implements `LimitStore`. `clock` is monotonic and fine-grained, `wall_clock` in unix seconds.

    Without `admissions` a killed process forgets what was under way.
    """

    def __init__(
        self, clock: Callable[[], float], wall_clock: Callable[[], float], admissions: Admissions | None = None
    ) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._admissions = admissions
        self._accounts: dict[str, AccountBooks] = {}
        self._keys: dict[str, KeyBooks] = {}
        self._running: dict[Grant, int] = {}  # and the place of its admission
        self._refused = Refused()
        self._view: View | None = None
        self._anchored = False
        self._tail: list[tuple[int, UsageRecord]] = []
        self._period = Period(0, 0)
        self._period_ends = 0.0

    @property
    def degraded(self) -> bool:
        """Never: it shares nothing."""
        return False

    @property
    def problem(self) -> str | None:
        """None: it needs nobody."""
        return None

    # At the start

    def recover(self, records: Iterable[tuple[int, UsageRecord]]) -> None:
        """Take what the journal still holds, each record with its sequence number, oldest first."""
        now, wall = self._clock(), self._wall_clock()
        self._tail = [(number, record) for number, record in records if record.state != "open"]
        admitted = [
            (record.at / 1000, record.account, record.key, record.prompt_tokens + record.completion_tokens)
            for _, record in self._tail
            if wall - record.at / 1000 < SECONDS
        ]
        if self._admissions is not None:
            ended = {record.id for _, record in self._tail}
            unended = self._admissions.recall(wall - SECONDS, ended)
            admitted += [(found.at, found.account, found.key, found.tokens) for found in unended]
        # A window wants them in the order of their admissions.
        for at, account, key, tokens in sorted(admitted):
            age = max(0.0, wall - at)
            self._account(account).window.add(now - age, 1, tokens)
            self._key(key).window.add(now - age, 1, tokens)

    def anchor(self, view: View, journal: str) -> None:
        """Add everybody's earlier spending from the first snapshot that the control plane itself sent.

        Nothing of this process may be booked by then: its spending is counted here already.
        """
        self._view = view
        if self._anchored:
            return
        applied = view.snapshot.applied.get(journal, 0)
        accounts = view.accounts
        wanted = self._keys.keys() | {record.key for _, record in self._tail}
        keys = {key.id: key for key in view.keys if key.id in wanted} if wanted else {}
        for account_id, books in self._accounts.items():
            self._base_account(books, accounts.get(account_id))
        for key_id, key_books in self._keys.items():
            self._base_key(key_books, keys.get(key_id))
        self._anchored = True
        for number, record in self._tail:
            if number > applied and record.cost:
                period = period_of(record.at / 1000)
                # With what is told of them: books that are opened without it begin at nothing spent.
                account = self._account(record.account, accounts.get(record.account))
                key = self._key(record.key, keys.get(record.key))
                account.spent += record.cost
                for spending, current in (
                    (account.month, period.month),
                    (key.day, period.day),
                    (key.month, period.month),
                ):
                    if spending.period == current:
                        spending.spent += record.cost
        self._tail = []

    def _base_account(self, books: AccountBooks, account: Account | None) -> None:
        if account is not None and self._view is not None:
            then = period_of(self._view.snapshot.as_of_day * _DAY_SECONDS)
            books.spent += account.spent
            books.month.spent += account.spent_month if then.month == books.month.period else 0

    def _base_key(self, books: KeyBooks, key: Key | None) -> None:
        if key is not None and self._view is not None:
            then = period_of(self._view.snapshot.as_of_day * _DAY_SECONDS)
            books.day.spent += key.spent_day if then.day == books.day.period else 0
            books.month.spent += key.spent_month if then.month == books.month.period else 0

    # Books

    def _account(self, account_id: str, account: Account | None = None) -> AccountBooks:
        books = self._accounts.get(account_id)
        if books is None:
            period = self._now_period()
            books = self._accounts[account_id] = AccountBooks(0, Spending(period.month))
            self._base_account(books, account)
        return books

    def _key(self, key_id: str, key: Key | None = None) -> KeyBooks:
        books = self._keys.get(key_id)
        if books is None:
            books = self._keys[key_id] = self._open_key(key)
        return books

    def _open_key(self, key: Key | None) -> KeyBooks:
        period = self._now_period()
        books = KeyBooks(Spending(period.day), Spending(period.month))
        self._base_key(books, key)
        return books

    def _now_period(self) -> Period:
        return self._period_at(self._wall_clock())

    def _period_at(self, wall: float) -> Period:
        if wall >= self._period_ends or wall < self._period_ends - _DAY_SECONDS:
            self._period = period_of(wall)
            self._period_ends = (self._period.day + 1) * _DAY_SECONDS
        return self._period

    def open_account(self, principal: Principal) -> AccountBooks:
        """Return an account's books."""
        return self._accounts.get(principal.account.id) or self._account(principal.account.id, principal.account)

    # Requests

    async def admit(self, claim: Claim) -> Grant | Refusal:
        """Decide; raise LedgerUnavailable where credit or caps count and are not known yet."""
        principal = claim.principal
        account = self._accounts.get(principal.account.id) or self._account(principal.account.id, principal.account)
        key = self._keys.get(principal.key.id) or self._key(principal.key.id, principal.key)
        if claim.nano and not self._anchored and principal.bounded:
            raise LedgerUnavailable
        wall = self._wall_clock()
        found = limits.admit(claim, account, key, self._clock(), self._period_at(wall))
        if isinstance(found, Grant):
            self._running[found] = self._admissions.note(claim, wall) if self._admissions is not None else 0
        return found

    async def consider(self, claim: Claim) -> Refusal | None:
        """Say how `admit` would decide, and take nothing."""
        principal = claim.principal
        account = self._account(principal.account.id, principal.account)
        key = self._key(principal.key.id, principal.key)
        return limits.refuse(claim, account, key, self._clock(), self._now_period())

    def credit(self, principal: Principal) -> int:
        """Return what an account may still spend, nano-dollars."""
        books = self._account(principal.account.id, principal.account)
        return principal.account.granted - books.spent - books.held

    def top_up(self, grant: Grant, tokens: int, nano: int) -> Refusal | None:
        """Reserve and hold more for a request that runs, or say why not."""
        refusal = limits.top_up(grant, tokens, nano, self._clock(), self._now_period())
        place = self._running.get(grant)
        if refusal is None and place is not None and self._admissions is not None:
            self._admissions.change(place, grant.claim.tokens)
        return refusal

    def cover(self, grant: Grant, cost: int) -> int:
        """Return what of a cost can be charged, and hold it."""
        return limits.cover(grant, cost, self._now_period())

    def settle(self, grant: Grant, tokens: int, cost: int) -> None:
        """Give back what was reserved and held, but what it came to."""
        place = self._running.pop(grant, None)
        if place is not None and self._admissions is not None:
            self._admissions.free(place)
        limits.settle(grant, tokens, cost, self._clock(), self._now_period())

    def standing(self, principal: Principal) -> Standing:
        """Return where the account and the key stand."""
        account = self._accounts.get(principal.account.id) or self._account(principal.account.id, principal.account)
        return limits.describe(principal, account, self._keys.get(principal.key.id), self._clock())

    def flood(self, principal: Principal) -> float:
        """Let a request through to its body and return 0.0, or return the seconds until the next one would be."""
        account = self._accounts.get(principal.account.id) or self._account(principal.account.id, principal.account)
        return account.flood.wait(self._clock(), principal.limits.rpm)

    def refused(self, principal: Principal, refusal: Refusal, model: str | None) -> None:
        """Remember a refusal that the client is told."""
        self._refused.note(principal, refusal, model, self._wall_clock())

    def survey(self, principal: Principal) -> Limits:
        """Return all that an account and a key have left, and who was refused lately."""
        account = self._account(principal.account.id, principal.account)
        key = self._key(principal.key.id, principal.key)
        now, period = self._clock(), self._now_period()
        told = survey.describe(principal, (account, key), now, period, known=self._anchored)
        told.refused.extend(self.recall(principal))
        return told

    def recall(self, principal: Principal) -> list[RefusedRequest]:
        """Return who of an account was refused lately, newest first."""
        return self._refused.recall(principal.account.id, self._wall_clock())

    def oversee(self, holder: Holder) -> AccountView:
        """Return all that an account and each of its keys have left. Opens no books: most keys have none."""
        principal = holder.principal
        account = self._account(principal.account.id, principal.account)
        now, period = self._clock(), self._now_period()
        nothing = KeyBooks(Spending(period.day), Spending(period.month))
        credit, caps = survey.list_money(principal, account, nothing, period, known=self._anchored)
        return AccountView(
            principal.plan.name,
            survey.count_account(principal, account, now),
            credit,
            caps,
            [shown for asking in holder.keys if (shown := self._view_key(asking, account, now))],
        )

    def _view_key(self, principal: Principal, account: AccountBooks, now: float) -> KeyView | None:
        key = self._keys.get(principal.key.id) or self._open_key(principal.key)
        return survey.describe_key(principal, (account, key), now, self._now_period(), known=self._anchored)

    # Time

    def sweep(self) -> float:
        """Renew the leases of what runs and forget what is over; return the seconds until the next time."""
        now = self._clock()
        for grant in self._running:
            grant.account.leases.take(grant.claim.request, now)
            if grant.claim.principal.key_limited:
                grant.key.leases.take(grant.claim.request, now)
        for books in self._accounts.values():
            books.window.expire(now)
        for key_books in self._keys.values():
            key_books.window.expire(now)
        self._refused.expire(self._wall_clock())
        return RENEWAL_SECONDS

    @property
    def running(self) -> int:
        """How many requests hold a slot."""
        return len(self._running)
