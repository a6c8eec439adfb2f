"""View tickets: good for whom they name, as long as they say, and five minutes at most."""

from __future__ import annotations

import pytest

from techstone.core import tickets
from techstone.core.tickets import Ticket

SECRET = b"s" * 32
ANN = Ticket("acct_ann", money=True)
NOW = 1_800_000_000


def sign(expires: int = NOW + 60, secret: bytes = SECRET) -> bytes:
    return tickets.sign(secret, ANN, expires).encode()


def test_ticket_names_its_account() -> None:
    """And whether money may be seen."""
    assert tickets.read(SECRET, sign(), NOW) == ANN
    counts = Ticket("acct_ben", money=False)
    assert tickets.read(SECRET, tickets.sign(SECRET, counts, NOW + 1).encode(), NOW) == counts


@pytest.mark.parametrize(
    "ticket",
    [
        sign(NOW),
        sign(NOW - 1),
        sign(NOW + 306),
        sign(secret=b"t" * 32),
        sign().replace(b"acct_ann", b"acct_ben"),
        sign().replace(b".m.", b".c."),
        sign().replace(str(NOW + 60).encode(), str(NOW + 61).encode()),
        sign()[:-1],
        sign() + b"0",
        b"ts-view-",
        b"ts-view-...",
        b"ts-view-acct_ann.m.\xff.00",
        b"ts-view-" + b"a" * 1000,
    ],
)
def test_ticket_that_is_over_too_long_or_changed_is_none(ticket: bytes) -> None:
    """In any part of it; what cannot be read raises nothing."""
    assert tickets.read(SECRET, ticket, NOW) is None


def test_without_a_secret_there_are_no_tickets() -> None:
    """A gateway that was told none takes none, not even one that is signed with nothing."""
    assert tickets.read(b"", sign(secret=b""), NOW) is None


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, None),
        (b"Bearer ts_live_x", None),
        (b"Basic ts-view-x", None),
        (b"bearer  ts-view-x", b"ts-view-x"),
        (b"Bearer ts-view-x", b"ts-view-x"),
    ],
)
def test_ticket_is_found_in_its_header(header: bytes | None, found: bytes | None) -> None:
    """As a bearer token alone."""
    assert tickets.find(header) == found
