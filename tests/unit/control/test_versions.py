"""Which version of a price is in force when."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from techstone.control.billing import versions
from techstone.control.billing.records import OPERATOR, PriceVersion
from techstone.core import pricing
from techstone.core.pricing import Price


def _version(number: int, begins: int, source: str = "config", *, reset: bool = False) -> PriceVersion:
    return PriceVersion("m", Price(number, begins, number, number, source=source), reset=reset)


def _arrange(*found: PriceVersion, now: int | None = None) -> list[tuple[int, int]]:
    return [(price.version, price.valid_from) for price in versions.arrange(found, now)]


def test_configured_versions_follow_each_other() -> None:
    """Each from its beginning on; with a time, those that are over are left out."""
    first, second = _version(1, 0), _version(2, 100)
    assert _arrange(second, first) == [(1, 0), (2, 100)]
    assert _arrange(first, second, now=99) == [(1, 0), (2, 100)]
    assert _arrange(first, second, now=100) == [(2, 100)]
    assert _arrange() == []


def test_operators_price_goes_before_a_configured_one() -> None:
    """Also before one that is configured later; of two by hand that begin at once the one made last."""
    assert _arrange(_version(1, 0), _version(2, 50, OPERATOR), _version(3, 100)) == [(1, 0), (2, 50)]
    assert _arrange(_version(1, 0), _version(2, 50, OPERATOR), _version(3, 50, OPERATOR)) == [(1, 0), (3, 50)]
    assert _arrange(_version(1, 0), _version(2, 90, OPERATOR), _version(3, 50, OPERATOR)) == [(1, 0), (3, 50), (2, 90)]


def test_reset_ends_what_was_set_before_it() -> None:
    """What was set for later, too; what is set after it counts again, and so does what is configured after it."""
    found = [_version(1, 0), _version(2, 50, OPERATOR), _version(3, 200, OPERATOR), _version(4, 100, reset=True)]
    assert _arrange(*found) == [(1, 0), (2, 50), (4, 100)]
    assert _arrange(*found, _version(5, 150, OPERATOR)) == [(1, 0), (2, 50), (4, 100), (5, 150)]
    assert _arrange(*found, _version(5, 150)) == [(1, 0), (2, 50), (4, 100), (5, 150)]


def test_price_set_before_any_is_configured_counts_from_the_first() -> None:
    """A model's only version is in force, whenever it begins."""
    (only,) = versions.arrange([_version(1, 50, OPERATOR)], 10)
    assert pricing.in_force((only,), 10).version == 1


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["config", OPERATOR, "reset"])), min_size=1, max_size=12),
    st.integers(0, 10),
)
def test_what_is_left_out_is_never_in_force_again(drawn: list[tuple[int, str]], now: int) -> None:
    """From `now` on the short list says the same as the whole one, and the whole one is in order."""
    found = [
        _version(number, begins, OPERATOR if kind == OPERATOR else "config", reset=kind == "reset")
        for number, (begins, kind) in enumerate(drawn, 1)
    ]
    whole, short = versions.arrange(found), versions.arrange(found, now)
    assert [price.valid_from for price in whole] == sorted({price.valid_from for price in whole})
    for moment in range(now, 12):
        assert pricing.in_force(short, moment).version == pricing.in_force(whole, moment).version


def test_configured_price_is_noted_when_it_differs() -> None:
    """The first from 0, the next from now; what the operator set is no configured price, and the same is not noted."""
    price = Price(0, 0, 5, 6, source="preset")
    (first,) = versions.follow((), {"m": price}, 100)
    assert (first.price.valid_from, first.created_at) == (0, 100)
    noted = [msgspec.structs.replace(first, price=msgspec.structs.replace(first.price, version=1))]
    noted.append(_version(2, 150, OPERATOR))
    assert versions.follow(noted, {"m": price}, 200) == ()
    (second,) = versions.follow(noted, {"m": msgspec.structs.replace(price, reasoning=0)}, 200)
    assert (second.price.valid_from, second.price.reasoning) == (200, 0)
