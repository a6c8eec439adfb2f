"""How often a password is guessed and a letter asked for, over a moved clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from people import ANN, PASSWORD

from techstone.control.identity.throttle import HOUR
from techstone.core.errors import InvalidRequest, RateLimited

if TYPE_CHECKING:
    from people import People

WRONG = "wrong"


async def test_guesses_are_slowed_and_never_a_hundred_an_hour(people: People) -> None:
    """From one address and from many; from another one the owner gets in while one is slowed, and all end."""
    await people.sign_up()
    clock = people.house.clock
    began, guesses, waits = clock.now, 0, []
    while clock.now < began + HOUR:
        try:
            await people.log_in("wrong", "198.51.100.1")
        except RateLimited as refused:
            waits.append(int(refused.retry_after or 0))
            clock.now += waits[-1]
        except InvalidRequest:
            guesses += 1
    assert 50 < guesses <= 100
    assert set(waits) == {1, 2, 4, 8, 16, 32, 60}
    await people.log_in()
    for number in range(200):
        with pytest.raises((InvalidRequest, RateLimited)):
            await people.log_in("wrong", f"203.0.113.{number}")
    with pytest.raises(RateLimited):
        await people.log_in()
    clock.now += HOUR
    await people.log_in()


async def guess(people: People, email: str, address: str, password: str = WRONG) -> str:
    """Try to log in; return the field that is refused, or that it was too often."""
    try:
        await people.identity.log_in(email, password, "", address)
    except InvalidRequest as refused:
        return str(refused.param)
    except RateLimited:
        return "too often"
    return "in"


async def test_network_of_a_host_guesses_as_one(people: People) -> None:
    """Whoever has an IPv6 host has 2^64 addresses: of a /64 no more guesses, and no more letters, than of one."""
    await people.sign_up()
    told = [await guess(people, f"{number}@example.com", f"2001:db8::{number:x}") for number in range(200)]
    assert (told.count("password"), told.count("too often")) == (100, 100)
    assert await guess(people, ANN, "2001:db8:0:1::1", PASSWORD) == "in"
    people.letters.clear()
    for number in range(40):
        await people.links.ask_to_sign_up(f"{number}@example.com", f"2001:db8::{number:x}")
    assert len(people.letters) == 30


async def test_made_up_addresses_do_not_make_guesses_forgotten(people: People) -> None:
    """However many are tried from wherever, a person's own guesses stay counted (row A-3)."""
    await people.sign_up()
    for number in range(100):
        assert await guess(people, ANN, f"203.0.113.{number}") == "password"
    for number in range(11_000):
        await guess(people, f"{number}@example.com", f"10.0.{number // 100}.{number % 100}", "x" * 1001)
    assert await guess(people, ANN, "198.51.100.1", PASSWORD) == "too often"


async def test_who_does_not_exist_is_slowed_like_who_does(people: People) -> None:
    """Else the hundred and first guess would tell who there is."""
    await people.sign_up()
    told = [
        [await guess(people, email, f"2001:db8:{group}:{number:x}::1") for number in range(101)]
        for group, email in enumerate((ANN, "nobody@example.com"))
    ]
    assert told[0] == told[1] == ["password"] * 100 + ["too often"]


async def test_password_that_is_too_long_costs_and_counts_as_any(people: People) -> None:
    """It is hashed and counted, and never right, also where its beginning is."""
    await people.sign_up()
    long = "correct horse " * 80
    person = await people.house.store.identity.find_by_email(ANN)
    assert person is not None
    await people.house.store.identity.rehash(person.id, long[:1000][::-1])
    assert await guess(people, ANN, "192.0.2.1", long) == "password"
    assert people.hasher.asked[-1] == long[:1000]
    assert await guess(people, ANN, "192.0.2.1", long[:1000]) == "in"
    told = [await guess(people, ANN, "192.0.2.9", long) for _ in range(6)]
    assert told == ["password"] * 5 + ["too often"]


async def test_id_is_no_address_at_the_doors(people: People) -> None:
    """It logs nobody in, and gives no guesses and no letters beside those of the address."""
    person = (await people.sign_up()).person
    assert await guess(people, person.id, "192.0.2.9", PASSWORD) == "password"
    await people.links.ask_to_reset(person.id, "192.0.2.9")
    assert len(people.letters) == 1


@pytest.mark.parametrize("length", [255, 10_000_000])
async def test_address_that_is_too_long_is_refused_by_its_field(people: People, length: int) -> None:
    """Before it is looked up or counted: it would be kept with the guesses."""
    long = "x" * (length - len("@example.com")) + "@example.com"
    assert [await guess(people, long, "192.0.2.1") for _ in range(200)] == ["email"] * 200
    with pytest.raises(InvalidRequest) as refused:
        await people.links.ask_to_reset(long, "192.0.2.1")
    assert refused.value.param == "email"


async def test_nobodys_mailbox_is_flooded(people: People) -> None:
    """Five letters an hour to an address, from whomever; thirty wishes an hour of a client, to whomever."""
    await people.sign_up()
    for number in range(20):
        await people.links.ask_to_reset(" Ann@example.com", f"203.0.113.{number}")
    assert len(people.letters) == 5
    for number in range(40):
        await people.links.ask_to_sign_up(f"{number}@example.com", "198.51.100.1")
    assert len(people.letters) == 5 + 30
    people.house.clock.now += HOUR
    await people.links.ask_to_reset(ANN, "198.51.100.1")
    assert len(people.letters) == 5 + 30 + 1
