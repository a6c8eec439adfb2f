"""Who may: what a key is bound to is judged with every request, and costs a key without bounds nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from wholes import follow

from techstone.adapters.limits.memory import MemoryLimits
from techstone.core import keys
from techstone.core.errors import AddressForbidden, ApiError, KeyDisabled, KeyInvalid, KeyUnconfirmed, ScopeMissing
from techstone.core.keys import SCOPES
from techstone.core.snapshot import Account, Key, Plan, Snapshot
from techstone.core.stream import Delta
from techstone.core.view import View
from techstone.gateway.admission import Doorkeeper
from techstone.gateway.exchange import Exchange
from techstone.gateway.head import NO_HEAD
from techstone.gateway.quota import Quota

if TYPE_CHECKING:
    from techstone.core.keys import Scope
    from techstone.gateway.exchange import Wire
    from techstone.gateway.ports import Snapshots

SECRET = keys.compose(bytes(range(48)))


class Door:
    """A doorkeeper who knows one key, and clients that come with it."""

    problem = None
    secure = False
    expired = False
    fresh = True

    def __init__(self, **bounds: object) -> None:
        key = Key("k1", keys.digest(SECRET).hex(), "a1", "n", "h", **bounds)  # type: ignore[arg-type]  # some fields
        account, plan = Account("a1", "a@example.com", "pro"), Plan("pro", 9, 9, 9, "postpaid")
        self.view: View | None = View(Snapshot(1, (plan,), (account,), (key,)))
        self.peer = ""
        limits = MemoryLimits(lambda: 1000.0, lambda: 1000.0)
        snapshots = cast("Snapshots", self)
        self.doorkeeper = Doorkeeper(snapshots, limits, Quota(limits, lambda: 1000.0), lambda: 1000.0)

    def is_fresh(self) -> bool:
        return self.fresh

    def come(self, scope: Scope = "chat", peer: str = "192.0.2.1", secret: str | None = None) -> ApiError | None:
        self.peer = peer
        exchange = Exchange(cast("Wire", self), NO_HEAD, b"req_1", 1000.0)
        exchange.headers = {b"authorization": b"Bearer " + (secret or SECRET).encode()}
        refusal = self.doorkeeper.check(exchange, scope)
        assert (exchange.principal is None) == (refusal is not None)
        return refusal


def test_key_without_bounds_is_remembered() -> None:
    """Its next request is one look-up: nothing of scopes or addresses is looked at."""
    door = Door()
    assert [door.come(scope) for scope in SCOPES] == [None] * 4
    assert len(door.doorkeeper._known) == 1


@pytest.mark.parametrize("scope", SCOPES)
def test_key_of_a_scope_does_nothing_else(scope: Scope) -> None:
    """Whatever it did before; the refusal names what is missing."""
    door = Door(scopes=(scope,))
    for asked in (*SCOPES, *SCOPES):
        refusal = door.come(asked)
        assert (refusal is None) == (asked == scope)
        if refusal is not None:
            assert isinstance(refusal, ScopeMissing)
            assert f"`{asked}`" in refusal.message


def test_key_is_good_from_its_addresses_alone() -> None:
    """Also right after a request from one of them; the refusal does not tell which they are."""
    door = Door(ips=("192.0.2.0/24", "2001:db8::7"))
    for peer, good in (("192.0.2.9", True), ("198.51.100.1", False), ("2001:db8::7", True), ("2001:db8::8", False)):
        refusal = door.come(peer=peer)
        assert (refusal is None) == good
        if refusal is not None:
            assert isinstance(refusal, AddressForbidden)
            assert peer in refusal.message
            assert "192.0.2" not in refusal.message


def test_disabled_key_is_refused_until_it_is_enabled() -> None:
    """By the next snapshot, though the header was known; it is no wrong key, so nobody's guesses are counted."""
    door = Door()
    assert door.come() is None
    assert door.view is not None
    (key,) = door.view.keys
    for base, disabled in ((1, True), (2, False)):
        changed = Key(key.id, key.digest, key.account, key.name, key.hint, disabled=disabled)
        door.view = follow(door.view, Delta(base, base + 1, keys=(changed,)))
        refusals = [door.come() for _ in range(30)]
        assert all(isinstance(refusal, KeyDisabled) if disabled else refusal is None for refusal in refusals)


def test_key_that_is_not_known_may_exist_while_the_database_is_away() -> None:
    """503 in place of the 401 that makes clients drop good keys; what is no key at all is told as ever."""
    door = Door()
    other = keys.compose(bytes(range(1, 49)))
    assert isinstance(door.come(secret=other), KeyInvalid)
    door.fresh = False
    assert isinstance(door.come(secret=other), KeyUnconfirmed)
    assert isinstance(door.come(secret=f"{other}x"), KeyInvalid)
    assert door.come() is None


def test_nobody_is_served_by_what_was_not_confirmed_for_too_long() -> None:
    """Also who was served a moment ago; and again as soon as it is confirmed."""
    door = Door()
    assert door.come() is None
    door.expired = True
    assert isinstance(door.come(), KeyUnconfirmed)
    door.expired = False
    assert door.come() is None
