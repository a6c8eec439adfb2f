"""Refusals between two reports: whose they were, nothing of what was sent, and in bounded memory."""

from __future__ import annotations

import os
import tracemalloc
from typing import TYPE_CHECKING, cast

from msgspec.structs import replace

from techstone.adapters.snapshots import StaticSnapshots
from techstone.core import keys, refusals
from techstone.core.errors import InvalidRequest, KeyInvalid, ModelNotFound, UrlNotFound
from techstone.core.limits import Refusal
from techstone.core.snapshot import Account, Key, Plan, Snapshot
from techstone.gateway import blotter as blotting
from techstone.gateway.blotter import Blotter
from techstone.gateway.exchange import Exchange
from techstone.gateway.head import Head

if TYPE_CHECKING:
    from techstone.core.errors import ApiError
    from techstone.core.usage import UsageRecord
    from techstone.gateway.exchange import Wire

KEY = keys.compose(os.urandom(keys.RANDOM_BYTES))
PLAN = Plan("p", 60, 1000, 5, "postpaid")
SNAPSHOT = Snapshot(
    1,
    (PLAN,),
    (Account("acct_ann", "a@x", "p"),),
    (Key("key_1", keys.digest(KEY).hex(), "acct_ann", "n", "h", expires_at=1),),
)


class _Wire:
    peer = "192.0.2.1"
    secure = False


def ask(key: str | None = KEY, number: int = 1) -> Exchange:
    head = Head()
    if key is not None:
        head.headers = {b"authorization": b"Bearer " + key.encode()}
    return Exchange(cast("Wire", _Wire()), head, b"req_%d" % number, 0.0)


def note(error: ApiError, exchange: Exchange | None = None) -> Blotter:
    blotter = Blotter(StaticSnapshots(SNAPSHOT), lambda: 12.5)
    blotter.note(exchange or ask(), error)
    return blotter


def test_refusal_is_noted_with_its_limit_and_wait() -> None:
    """Also where the key is not good any more: it is known whose it was."""
    error = refusals.explain(Refusal("requests", "key", 60, 1, 8.25))
    error.model = "gpt-4o"
    (found,), dropped = note(error).take()
    assert (found.account, found.key, found.at, found.status, found.code) == (
        "acct_ann",
        "key_1",
        12_500,
        429,
        "rate_limit_exceeded",
    )
    assert (found.axis, found.scope, found.wait, found.model, dropped) == ("requests", "key", 9, "gpt-4o", 0)
    assert "60 requests per minute" in found.message


def test_nothing_that_the_client_sent_is_noted() -> None:
    """But the model that was asked for, the field's name and the address, and these without what looks like a key."""
    (found,), _ = note(InvalidRequest("Invalid value: 'my secret' for 'n'.", param="n", code="invalid_value")).take()
    assert (found.param, found.message) == ("n", "")
    (found,), _ = note(ModelNotFound(KEY)).take()
    assert (found.model, found.message) == ("[redacted]", "")
    (found,), _ = note(UrlNotFound("POST", f"/v1/{KEY}")).take()
    assert found.message == "Invalid URL (POST /v1/[redacted])"
    (found,), _ = note(KeyInvalid("ts_live_***abcd")).take()
    assert found.message == ""


def test_key_that_nobody_knows_is_noted_by_its_digest() -> None:
    """It may be a revoked one; what has not even the form of a key, and what was admitted, is not noted."""
    other = keys.compose(os.urandom(keys.RANDOM_BYTES))
    (found,), _ = note(KeyInvalid("x"), ask(other)).take()
    assert (found.account, found.key, found.digest) == ("", "", keys.digest(other).hex())
    for exchange in (ask("sk-whatever"), ask(None), ask(other[:-1] + "!")):
        assert note(KeyInvalid("x"), exchange).take() == ((), 0)
    admitted = ask()
    admitted.record = cast("UsageRecord", object())
    assert note(UrlNotFound("GET", "/"), admitted).take() == ((), 0)


def test_client_gone_wild_fills_its_own_place_and_is_counted() -> None:
    """The newest of each are kept; what is dropped is told."""
    blotter = Blotter(StaticSnapshots(SNAPSHOT), lambda: 1.0)
    for number in range(1000):
        blotter.note(ask(number=number), UrlNotFound("GET", "/"))
    blotter.note(ask(keys.compose(os.urandom(keys.RANDOM_BYTES))), KeyInvalid("x"))
    notes, dropped = blotter.take()
    assert (len(notes), dropped) == (blotting.KEPT + 1, 1000 - blotting.KEPT)
    assert notes[0].request_id == f"req_{1000 - blotting.KEPT}"
    assert blotter.take() == ((), 0)


def test_memory_is_bounded_under_a_flood_of_refusals() -> None:
    """100,000 of 5,000 holders take 4 MB at most, however long no report can be made."""
    blotter = Blotter(StaticSnapshots(SNAPSHOT), lambda: 1.0)
    holders = [keys.compose(os.urandom(keys.RANDOM_BYTES)) for _ in range(5000)]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(100_000):
        blotter.note(ask(holders[number * 7 % 5000], number), UrlNotFound("POST", "/v1/" + "x" * 300))
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(blotter) <= blotting.KEPT * blotting.HOLDERS
    assert taken < 4_000_000


def test_what_could_not_be_reported_waits_behind_what_has_come_since() -> None:
    """As far as there is room: the newest stay."""
    blotter = note(UrlNotFound("GET", "/"))
    notes, _ = blotter.take()
    for number in range(2, 2 + blotting.KEPT):
        blotter.note(ask(number=number), UrlNotFound("GET", "/"))
    blotter.put_back((*notes, *(replace(notes[0], account="acct_ben", request_id="req_b"),)), 5)
    kept, dropped = blotter.take()
    assert (len(kept), dropped) == (blotting.KEPT + 1, 6)
    assert {one.request_id for one in kept} == {f"req_{number}" for number in range(2, 2 + blotting.KEPT)} | {"req_b"}
