"""What is one address of e-mail, and what would be read as several, or as another one."""

from __future__ import annotations

import pytest

from techstone.core.addresses import LONGEST, is_address, is_too_long


@pytest.mark.parametrize(
    "text",
    [
        "ann@example.com",
        "owner@localhost",
        "a.b+tag_1!#$%&'*/=?^`{|}~-@mail-1.example.co",
        "jörg@example.com",
        "x" * 64 + "@example.com",
    ],
)
def test_plain_address_is_one(text: str) -> None:
    """A dot-atom, an @, a host's name."""
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "x,victim@example.com",
        "x<victim@example.com>",
        "x<victim@example.com",
        "group:victim@example.com;",
        "root;a@example.com",
        "(note)a@example.com",
        "a@[192.0.2.1]",
        "[a@example.com",
        'an"n@example.com',
        '"a b"@example.com',
        "a\\b@example.com",
        "a b@example.com",
        "a\u00a0b@example.com",
        "a\u200bb@example.com",
        "a\u202eb@example.com",
        "a@example.com\n",
        "a@b@c",
        ".a@example.com",
        "a.@example.com",
        "a..b@example.com",
        "a@example..com",
        "a@-example.com",
        "a@example.com.",
        "a@exam_ple.com",
        "a@examplé.com",
        "x" * 65 + "@example.com",
        "a@" + "x" * 64 + ".com",
        "a@" + "x." * 126 + "com",
        "",
        "@",
    ],
)
def test_what_is_more_than_one_plain_address_is_none(text: str) -> None:
    """Lists, groups, names, comments, quotes, addresses of machines, what cannot be seen, what is too long."""
    assert not is_address(text)


def test_length_is_counted_in_octets() -> None:
    """As mail servers do (RFC 5321, 4.5.3.1.3); what is no text at all is too long or not, and no error."""
    assert not is_too_long("x" * LONGEST)
    assert is_too_long("x" * (LONGEST + 1))
    assert is_too_long("ö" * 128)
    assert not is_too_long("\ud800")
    assert not is_address("\ud800@example.com")
