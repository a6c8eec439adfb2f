"""What may be done with keys: each is seen once, and ends when it should."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from techstone.control.accounts.records import NewAccount
from techstone.control.keys.records import KeyChange, NewKey
from techstone.control.keys.service import LONGEST_OVERLAP
from techstone.control.projects.records import NewProject, ProjectChange
from techstone.core import keys
from techstone.core.errors import AccountNotFound, InvalidRequest, KeyNotFound, ProjectNotFound

if TYPE_CHECKING:
    from rooms import House

DAY = 86_400


async def test_key_is_shown_once(house: House, ann: str) -> None:
    """Stored are its digest and its hint; neither the list, the store nor a repr holds it."""
    made = await house.keys.create(NewKey(ann))
    assert keys.well_formed(made.key)
    assert made.key.startswith("ts_live_")
    assert made.hint == f"ts_live_...{made.key[-4:]}"
    (stored,) = await house.store.list_keys()
    assert stored.digest == keys.digest(made.key)
    secret = made.key[8:-4]
    assert secret not in repr(await house.keys.list()) + repr(stored) + repr(made) + str(made) + f"{made}"


async def test_test_key_says_so(house: House, ann: str) -> None:
    """By its prefix, also after a rotation."""
    made = await house.keys.create(NewKey(ann, live=False))
    assert made.key.startswith("ts_test_")
    assert (await house.keys.rotate(made.id)).key.startswith("ts_test_")


@pytest.mark.parametrize(
    ("lifetime", "seconds"), [("45s", 45), ("15m", 900), ("12h", 43_200), (" 30d ", 30 * DAY), ("2w", 14 * DAY)]
)
async def test_key_lives_as_long_as_was_asked(house: House, ann: str, lifetime: str, seconds: int) -> None:
    """Active to its last second, then expired."""
    await house.keys.create(NewKey(ann, expires=lifetime))
    house.clock.now += seconds - 1
    assert [key.state for key in await house.keys.list()] == ["active"]
    house.clock.now += 1
    assert [key.state for key in await house.keys.list()] == ["expired"]


@pytest.mark.parametrize("lifetime", ["", "30", "d", "0d", "-1d", "1.5h", "1y", "30 d", "٣d", "999999999w"])
async def test_what_is_no_lifetime_is_refused(house: House, ann: str, lifetime: str) -> None:
    """The refusal shows how to write one."""
    with pytest.raises(InvalidRequest, match="such as 45s, 15m") as caught:
        await house.keys.create(NewKey(ann, expires=lifetime))
    assert caught.value.param == "expires"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a\x1b[31m"}, "name"),
        ({"models": ()}, "models"),
        ({"models": ("m1", "m9")}, "models[1]"),
        ({"rpm": 0}, "rpm"),
        ({"tpm": -1}, "tpm"),
        ({"concurrent": 2**31}, "concurrent"),
        ({"scopes": ()}, "scopes"),
        ({"scopes": ("chat", "all")}, "scopes[1]"),
        ({"ips": ()}, "ips"),
        ({"ips": ("192.0.2.1", "here")}, "ips[1]"),
        ({"ips": ("192.0.2.1",) * 101}, "ips"),
    ],
)
async def test_bad_wish_is_refused(house: House, ann: str, change: dict[str, object], param: str) -> None:
    """The refusal names the field, and nothing is stored."""
    with pytest.raises(InvalidRequest) as caught:
        await house.keys.create(msgspec.structs.replace(NewKey(ann), **change))
    assert caught.value.param == param
    assert await house.keys.list() == ()


async def test_key_needs_an_account(house: House) -> None:
    """Nobody's key is no key."""
    with pytest.raises(AccountNotFound):
        await house.keys.create(NewKey("no@no.no"))


async def test_model_named_twice_is_one(house: House, ann: str) -> None:
    """The order stays."""
    assert (await house.keys.create(NewKey(ann, models=("m2", "m1", "m2")))).models == ("m2", "m1")


async def test_revoked_key_stays_revoked(house: House, ann: str) -> None:
    """It is named by id or by itself; the first time counts; the record stays."""
    made = await house.keys.create(NewKey(ann))
    first = await house.keys.revoke(made.key)
    house.clock.now += 5
    assert (await house.keys.revoke(made.id)).revoked_at == first.revoked_at == house.clock.now - 5
    assert [key.state for key in await house.keys.list()] == ["revoked"]


async def test_rotation_hands_the_settings_on(house: House, ann: str) -> None:
    """The new key may do what the old one might; without an overlap the old one ends now."""
    old = await house.keys.create(NewKey(ann, "ci", ("m1",), rpm=1, tpm=2, concurrent=3))
    new = await house.keys.rotate(old.id)
    assert (new.name, new.models, new.rpm, new.tpm, new.concurrent, new.replaces) == ("ci", ("m1",), 1, 2, 3, old.id)
    assert (new.key != old.key, new.expires_at) == (True, None)
    assert [key.state for key in await house.keys.list()] == ["expired", "active"]


async def test_overlap_keeps_both_good(house: House, ann: str) -> None:
    """For so many seconds, not one more; a rotation never makes the old key live longer."""
    old = await house.keys.create(NewKey(ann, expires="1h"))
    house.clock.now += 600
    new = await house.keys.rotate(old.id, 60)
    assert new.expires_at == house.clock.now + 3600
    house.clock.now += 59
    assert [key.state for key in await house.keys.list()] == ["active", "active"]
    house.clock.now += 1
    assert [key.state for key in await house.keys.list()] == ["expired", "active"]
    short = await house.keys.create(NewKey(ann, expires="10s"))
    await house.keys.rotate(short.id, DAY)
    assert {key.id: key.expires_at for key in await house.keys.list()}[short.id] == short.expires_at


async def test_only_an_active_key_can_be_rotated(house: House, ann: str) -> None:
    """Who holds an ended key must not come back with it."""
    revoked = await house.keys.create(NewKey(ann))
    await house.keys.revoke(revoked.id)
    expired = await house.keys.create(NewKey(ann, expires="1s"))
    house.clock.now += 1
    for key, state in ((revoked, "revoked"), (expired, "expired")):
        with pytest.raises(InvalidRequest, match=f"The key {key.id} is {state}"):
            await house.keys.rotate(key.key)


@pytest.mark.parametrize("overlap", [-1, LONGEST_OVERLAP + 1])
async def test_overlap_has_bounds(house: House, ann: str, overlap: int) -> None:
    """Thirty days at most."""
    made = await house.keys.create(NewKey(ann))
    with pytest.raises(InvalidRequest) as caught:
        await house.keys.rotate(made.id, overlap)
    assert caught.value.param == "overlap"


async def test_unknown_key_is_not_repeated(house: House) -> None:
    """What was asked for may be a key, mistyped: no message shows it."""
    for which in ("key_none", "ts_live_" + "x" * 46, keys.compose(b"x" * keys.RANDOM_BYTES)):
        with pytest.raises(KeyNotFound) as caught:
            await house.keys.revoke(which)
        assert which not in caught.value.body().decode()


async def test_keys_are_listed_by_account(house: House, ann: str) -> None:
    """One account's, or all, each with its account's email."""
    made = await house.keys.create(NewKey(ann))
    assert [(key.id, key.account) for key in await house.keys.list(ann)] == [(made.id, ann)]
    assert [(key.id, key.account) for key in await house.keys.list()] == [(made.id, ann)]
    with pytest.raises(AccountNotFound):
        await house.keys.list("no@no.no")


async def test_change_leaves_what_it_does_not_name(house: House, ann: str) -> None:
    """None takes a bound away; addresses are kept in one form; the key is the same."""
    made = await house.keys.create(NewKey(ann, "ci", ("m1",), "1h", rpm=1, daily_cap="1", scopes=("chat",)))
    changed = await house.keys.change(made.id, KeyChange(rpm=None, tpm=7, ips=("192.0.2.9/24", "192.0.2.0/24")))
    assert (changed.name, changed.models, changed.rpm, changed.tpm) == ("ci", ("m1",), None, 7)
    assert (changed.ips, changed.scopes, changed.daily_cap) == (("192.0.2.0/24",), ("chat",), "1.00")
    assert (changed.expires_at, changed.hint) == (made.expires_at, made.hint)
    assert await house.keys.change(made.id, KeyChange()) == changed
    (entry, *_) = await house.services.audit.list()
    assert (entry.action, entry.detail["tpm"], entry.detail["ips"]) == (
        "key.change",
        "None -> 7",
        "None -> ('192.0.2.0/24',)",
    )


async def test_changed_lifetime_counts_from_now_on_and_is_handed_on(house: House, ann: str) -> None:
    """A rotation gives what was asked for last, not what lies between the key's beginning and its end."""
    made = await house.keys.create(NewKey(ann, expires="30d"))
    house.clock.now += 20 * DAY
    assert (await house.keys.change(made.id, KeyChange(expires="1h"))).expires_at == house.clock.now + 3600
    assert (await house.keys.rotate(made.id)).expires_at == house.clock.now + 3600
    endless = await house.keys.create(NewKey(ann, expires="1h"))
    assert (await house.keys.change(endless.id, KeyChange(expires=None))).expires_at is None


@pytest.mark.parametrize(
    ("change", "param"),
    [
        (KeyChange(name=" "), "name"),
        (KeyChange(models=("m9",)), "models[0]"),
        (KeyChange(expires="soon"), "expires"),
        (KeyChange(rpm=0), "rpm"),
        (KeyChange(monthly_cap="much"), "monthly_cap"),
        (KeyChange(scopes=("x",)), "scopes[0]"),
        (KeyChange(ips=("x",)), "ips[0]"),
        (KeyChange(project="proj_none"), "project"),
    ],
)
async def test_bad_change_is_refused(house: House, ann: str, change: KeyChange, param: str) -> None:
    """The refusal names the field, and nothing is changed."""
    made = await house.keys.create(NewKey(ann))
    before = await house.keys.show(made.id)
    with pytest.raises((InvalidRequest, ProjectNotFound)) as caught:
        await house.keys.change(made.id, change)
    assert caught.value.param == param
    assert await house.keys.show(made.id) == before


async def test_key_is_disabled_and_enabled(house: House, ann: str) -> None:
    """As often as is wished; a second time changes nothing; what it is bound to stays."""
    made = await house.keys.create(NewKey(ann, rpm=5))
    disabled = await house.keys.disable(made.id)
    assert (disabled.state, disabled.disabled_at, disabled.rpm) == ("disabled", house.clock.now, 5)
    house.clock.now += 5
    assert await house.keys.disable(made.key) == disabled
    with pytest.raises(InvalidRequest, match="enable it first"):
        await house.keys.rotate(made.id)
    enabled = await house.keys.enable(made.id)
    assert (enabled.state, enabled.disabled_at) == ("active", None)
    actions = [entry.action for entry in await house.services.audit.list()]
    assert actions[:3] == ["key.enable", "key.disable", "key.create"]


async def test_ended_key_is_not_changed(house: House, ann: str) -> None:
    """Nobody comes back with it: neither enabled nor with a new lifetime."""
    revoked = await house.keys.create(NewKey(ann))
    await house.keys.disable(revoked.id)
    assert (await house.keys.revoke(revoked.id)).state == "revoked"
    expired = await house.keys.create(NewKey(ann, expires="1s"))
    house.clock.now += 1
    for key, state in ((revoked, "revoked"), (expired, "expired")):
        for attempt in (
            house.keys.change(key.id, KeyChange(expires=None)),
            house.keys.disable(key.id),
            house.keys.enable(key.id),
        ):
            with pytest.raises(InvalidRequest, match=f"is {state}"):
                await attempt


async def test_key_belongs_to_a_project_of_its_account(house: House, ann: str) -> None:
    """To one or to none, to no archived one, to nobody else's; a rotated key stays in it."""
    await house.accounts.create(NewAccount("bob@example.com"))
    mine = await house.services.projects.create(NewProject(ann, "web"))
    theirs = await house.services.projects.create(NewProject("bob@example.com", "web"))
    made = await house.keys.create(NewKey(ann, project=mine.id))
    assert (await house.keys.rotate(made.id)).project == mine.id
    with pytest.raises(ProjectNotFound):
        await house.keys.create(NewKey(ann, project=theirs.id))
    await house.services.projects.change(mine.id, ProjectChange(archived=True))
    with pytest.raises(InvalidRequest, match="archived"):
        await house.keys.create(NewKey(ann, project=mine.id))
    other = await house.keys.create(NewKey(ann))
    with pytest.raises(InvalidRequest, match="archived"):
        await house.keys.change(other.id, KeyChange(project=mine.id))
    assert (await house.keys.create(NewKey(ann))).project is None
