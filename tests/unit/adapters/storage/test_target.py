"""Addresses of PostgreSQL databases: what they name, and what is wrong with them."""

from __future__ import annotations

import pytest

from techstone.adapters.storage.target import Target, parse


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql://ann@db.example.com/shop", Target(host="db.example.com", name="shop", user="ann")),
        (
            "postgres://ann@db:6000/shop?sslmode=require",
            Target(host="db", name="shop", user="ann", port=6000, ssl="require"),
        ),
        ("postgresql://ann@[::1]/shop", Target(host="::1", name="shop", user="ann", ssl="disable")),
        ("postgresql://ann@127.0.0.1/a%20b", Target(host="127.0.0.1", name="a b", user="ann", ssl="disable")),
        (
            "postgresql://ann@/shop?host=/run/postgresql&port=6000",
            Target(host="/run/postgresql", name="shop", user="ann", port=6000, ssl="disable"),
        ),
        (
            "postgresql://ann@db/shop?sslmode=verify-full&sslrootcert=/ca.pem",
            Target(host="db", name="shop", user="ann", ssl_root="/ca.pem"),
        ),
    ],
)  # fmt: skip
def test_address_is_read(url: str, found: Target) -> None:
    """On another machine the server must prove who it is, unless it is said otherwise; on this one it need not."""
    assert parse(url) == found


def test_password_is_refused_and_told_to_nobody() -> None:
    """An address is copied and shown: the line says where a password belongs, and does not repeat it."""
    for url in ("postgresql://ann:hush@db/shop", "postgresql://ann@db/shop?password=hush"):
        with pytest.raises(ValueError, match="no password may stand in it; set PGPASSWORD") as caught:
            parse(url)
        assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("mysql://ann@db/shop", 'expected "sqlite" or an address'),
        ("postgresql://ann@db", "it names no name"),
        ("postgresql://db/shop", "it names no user"),
        ("postgresql://ann@/shop", "it names no host"),
        ("postgresql://ann@db:x/shop", "not an address"),
        ("postgresql://ann@db/shop?sslmode=prefer", "sslmode=prefer: expected one of disable, require, verify-full"),
        ("postgresql://ann@db/shop?sslmode=require&sslrootcert=/ca", "only sslmode=verify-full"),
        ("postgresql://ann@db/shop?timeout=1", "timeout: unknown"),
        ("postgresql://ann@/shop?host=/run&port=0", "port=0: expected 1 to 65535"),
        ("postgresql://ann@db/shop?host=/run", "not both"),
    ],
)
def test_what_is_wrong_is_told(url: str, line: str) -> None:
    """Each in its own words."""
    with pytest.raises(ValueError, match=line):
        parse(url)
