"""How long a gateway serves by what it knows, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from techstone.adapters.confirmation import Bounds, Confirmation

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still but for `pass_`."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__()

    def time(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds
        self.run_until_complete(asyncio.sleep(0))
        self.run_until_complete(asyncio.sleep(0))


@pytest.fixture
def loop() -> Iterator[_Loop]:
    loop = _Loop()
    asyncio._set_running_loop(None)
    yield loop
    loop.close()


def do(loop: _Loop, confirmation: Confirmation, *words: str | float) -> None:
    """Call a method from within the loop."""

    async def call() -> None:
        name, *arguments = words
        getattr(confirmation, str(name))(*arguments)

    loop.run_until_complete(call())


def test_database_may_be_away_for_a_minute(loop: _Loop) -> None:
    """Counted from when it was reached last, which is before we heard of it; back, all is well at once."""
    confirmation = Confirmation(Bounds())
    do(loop, confirmation, "confirm")
    loop.pass_(10.0)
    do(loop, confirmation, "miss_database", 8.0)
    loop.pass_(51.9)
    do(loop, confirmation, "miss_database", 60.0)
    before = confirmation.expired
    loop.pass_(0.2)
    assert (before, confirmation.expired) == (False, True)
    do(loop, confirmation, "confirm")
    loop.pass_(1000.0)
    assert (confirmation.expired, confirmation.missing) == (False, None)


def test_minute_is_this_gateways(loop: _Loop) -> None:
    """A control plane that has been without its database for long says nothing against what another one just said."""
    confirmation = Confirmation(Bounds())
    do(loop, confirmation, "confirm")
    loop.pass_(2.0)
    do(loop, confirmation, "miss_control")
    do(loop, confirmation, "miss_database", 100.0)
    loop.pass_(57.9)
    before = confirmation.expired
    loop.pass_(0.2)
    assert (before, confirmation.expired) == (False, True)


def test_start_without_a_database_has_what_is_left_of_the_minute(loop: _Loop) -> None:
    """A gateway that begins with its disk has nothing but the control plane's word on when it was reached."""
    confirmation = Confirmation(Bounds())
    do(loop, confirmation, "miss_database", 100.0)
    loop.pass_(0.1)
    assert confirmation.expired


def test_control_plane_may_be_away_for_as_long_as_it_is(loop: _Loop) -> None:
    """Unless the operator sets a bound, which then counts from what was heard last."""
    endless, bounded = Confirmation(Bounds()), Confirmation(Bounds(without_control=100.0))
    for confirmation in (endless, bounded):
        do(loop, confirmation, "confirm")
    loop.pass_(15.0)
    for confirmation in (endless, bounded):
        do(loop, confirmation, "miss_control")
    loop.pass_(84.0)
    before = bounded.expired
    loop.pass_(2.0)
    assert (before, endless.expired, bounded.expired) == (False, False, True)


def test_database_stays_away_if_the_control_plane_goes_too(loop: _Loop) -> None:
    """What was said of it last counts: a control plane that waits for its database says nothing at all."""
    confirmation = Confirmation(Bounds())
    do(loop, confirmation, "confirm")
    do(loop, confirmation, "miss_database", 0.0)
    do(loop, confirmation, "miss_control")
    loop.pass_(61.0)
    assert (confirmation.missing, confirmation.expired) == ("database", True)


def test_what_was_never_confirmed_is_not_fresh(loop: _Loop) -> None:
    """A gateway that begins with its disk does not know which keys were made since."""
    confirmation = Confirmation(Bounds())

    async def fresh() -> bool:
        return confirmation.is_fresh(6.0)

    assert not loop.run_until_complete(fresh())
    do(loop, confirmation, "confirm")
    assert loop.run_until_complete(fresh())
    loop.pass_(6.1)
    assert not loop.run_until_complete(fresh())
