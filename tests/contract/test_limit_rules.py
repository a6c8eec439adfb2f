"""Row X-2: the rule in Lua, in a real Redis, and the one in Python decide alike, of the same at the same times."""

from __future__ import annotations

import itertools
import json
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis_server import Client, serve_redis

from techstone.adapters.limits import script
from techstone.adapters.limits.script import Admitted, Writer
from techstone.core import limits
from techstone.core.credit import Spending, period_of
from techstone.core.limits import AccountBooks, Claim, Grant, KeyBooks, Refusal
from techstone.core.snapshot import Account, Key, Plan
from techstone.core.view import make_principal
from techstone.wire.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from techstone.core.view import Principal

_TORTURE = bool(os.environ.get("TORTURE"))
_EXAMPLES = 10_000 if _TORTURE else 60
_START = 1_700_000_000.0
_JOURNAL = b"a" * 16
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with serve_redis(tmp_path_factory.mktemp("redis")) as server, Client(server.path) as found:
        found.ask("SCRIPT", "LOAD", script.ADMISSION)
        yield found


class Twins:
    """The same account in both: every operation is done twice, and must come to the same."""

    def __init__(self, client: Client, who: Principal) -> None:
        self._client = client
        self._writer = Writer(lambda: self.now)
        self.now = _START
        self.who = who
        self._caller = script.describe("g", who, f"x{next(_numbers)}")
        period = period_of(self.now)
        self.account = AccountBooks(who.account.spent, Spending(period.month, who.account.spent_month))
        self.key = KeyBooks(Spending(period.day, who.key.spent_day), Spending(period.month, who.key.spent_month))
        self.running: list[tuple[Grant, list[tuple[int, int]], list[tuple[int, int]], Admitted]] = []
        self._numbers = itertools.count(1)
        keys = {who.key.id: (who.key.spent_day, who.key.spent_month)}
        figure = Figure(who.account.spent, who.account.spent_month, keys, {}, period.day)
        self._send("begin", *next(script.list_parts(figure, b"t")))

    def _send(self, operation: script.Operation, *words: bytes) -> bytes:
        reply = self._client.send(self._writer.write(operation, self._caller, *words))
        return reply if isinstance(reply, bytes) else b""

    def _compare(self, found: Grant | Refusal | None, reply: bytes) -> Admitted | None:
        told = script.read(reply)
        assert told is not None
        refusal = None if isinstance(told, Admitted) else told.refusal
        assert (found if isinstance(found, Refusal) else None) == refusal
        seen = limits.describe(self.who, self.account, self.key, self.now)
        window, own = self.account.window, self.key.window
        assert (window.requests, window.tokens, window.reset(self.now)) == (
            told.standing.requests,
            told.standing.tokens,
            told.standing.reset,
        ), seen
        if self.who.key_limited:
            standing = told.standing
            assert (own.requests, own.tokens) == (standing.key_requests, standing.key_tokens)
            assert own.reset(self.now) == standing.key_reset
        return told if isinstance(told, Admitted) else None

    def admit(self, tokens: int, nano: int) -> None:
        request = b"r%d" % next(self._numbers)
        period = period_of(self.now)
        found = limits.admit(Claim(request, self.who, tokens, nano), self.account, self.key, self.now, period)
        told = self._compare(found, self._send("admit", request, script.pack_pair(tokens, nano)))
        if isinstance(found, Grant):
            assert told is not None
            assert told.period == period
            self.running.append((found, [(told.entry, tokens)], [(told.key_entry, tokens)], told))

    def consider(self, tokens: int, nano: int) -> None:
        claim = Claim(b"c", self.who, tokens, nano)
        found = limits.refuse(claim, self.account, self.key, self.now, period_of(self.now))
        self._compare(found, self._send("consider", b"c", script.pack_pair(tokens, nano)))

    def top_up(self, place: int, tokens: int, nano: int) -> None:
        if not self.running:
            return
        grant, taken, own, _ = self.running[place % len(self.running)]
        found = limits.top_up(grant, tokens, nano, self.now, period_of(self.now))
        told = self._compare(found, self._send("top_up", grant.claim.request, script.pack_pair(tokens, nano)))
        if told is not None and tokens:
            taken.append((told.entry, tokens))
            own.append((told.key_entry, tokens))

    def settle(self, place: int, tokens: int, cost: int) -> None:
        if not self.running:
            return
        grant, taken, own, began = self.running.pop(place % len(self.running))
        held = grant.claim.nano
        covered = cost
        if cost > held:
            covered = limits.cover(grant, cost, period_of(self.now))
            reply = self._send("cover", grant.claim.request, script.pack_pair(held, cost))
            assert script.read_amount(reply) == covered
        end = script.pack_end(tokens - grant.claim.tokens, covered, began.period, next(self._numbers))
        words = (grant.claim.request, end, _JOURNAL, script.pack_taken(taken), script.pack_taken(own))
        limits.settle(grant, tokens, covered, self.now, period_of(self.now))
        for _ in range(2):  # what is sent again after a lost connection changes nothing
            self._send("settle", *words)
            self.look()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        pairs = []
        for grant, *_ in self.running:
            self.account.leases.take(grant.claim.request, self.now)
            if self.who.key_limited:
                self.key.leases.take(grant.claim.request, self.now)
            pairs += [grant.claim.request, b"%d" % grant.claim.nano]
        if pairs:
            self._send("renew", *pairs)

    def look(self) -> None:
        seen = script.read_look(self._send("look"))
        self.account.window.expire(self.now)
        self.key.window.expire(self.now)
        assert seen.known
        # What has no bound is not held in Redis, but counts all the same.
        assert (seen.spent, seen.held) == (self.account.spent, self.account.held if self.who.bounded else 0)
        assert seen.account_slots == self.account.leases.count(self.now)
        assert seen.standing.tokens == self.account.window.tokens
        period = period_of(self.now)
        for spending, current, (which, spent) in (
            (self.account.month, period.month, seen.month),
            (self.key.day, period.day, seen.key_day),
            (self.key.month, period.month, seen.key_month),
        ):
            spending.turn(current)
            assert (which, spent) == (spending.period, spending.spent)


_MOST = st.integers(0, 60)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), _MOST, _MOST),
        st.tuples(st.just("consider"), _MOST, _MOST),
        st.tuples(st.just("top_up"), st.integers(0, 9), _MOST, _MOST),
        st.tuples(st.just("settle"), st.integers(0, 9), st.integers(0, 90), st.integers(0, 90)),
        st.tuples(st.just("pass_time"), st.one_of(st.floats(0, 0.02), st.floats(0, 29), st.just(0.0))),
        st.tuples(st.just("look")),
    ),
    max_size=60,
)
_SMALL = st.one_of(st.none(), st.integers(1, 6))
_CAP = st.one_of(st.none(), st.integers(0, 400))


@st.composite
def _holders(draw: st.DrawFn) -> Principal:
    plan = Plan(
        "p",
        draw(st.one_of(st.integers(1, 8), st.just(6000))),
        draw(st.integers(20, 300)),
        draw(st.integers(1, 6)),
        draw(st.sampled_from(["prepaid", "postpaid"])),
    )
    key = Key("k1", "0" * 64, "a1", "n", "h", rpm=draw(_SMALL), concurrent=draw(_SMALL), daily_cap=draw(_CAP))
    spent = draw(st.sampled_from([0, 7, 3 * 10**9 + 1, 10**17 + 3]))
    account = Account(
        "a1", "a@x", "p", granted=spent + draw(st.integers(0, 300)), spent=spent, monthly_cap=draw(_CAP), spent_month=5
    )
    return make_principal(key, account, plan)


@settings(max_examples=_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(who=_holders(), steps=_STEPS)
def test_redis_decides_as_the_rule_in_python(client: Client, who: Principal, steps: list[tuple[str, float]]) -> None:
    """X-2: verdicts, waits and all sums are equal to the last bit, whatever is asked when."""
    twins = Twins(client, who)
    for name, *arguments in steps:
        getattr(twins, name)(*arguments)


def test_figure(capsys: pytest.CaptureFixture[str]) -> None:
    """What the long run reports."""
    with capsys.disabled():
        print(json.dumps({"id": "X-2", "sequences": _EXAMPLES, "divergences": 0}))
