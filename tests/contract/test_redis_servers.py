"""Which Redis will do: by TLS and by a user of its own as well, from version 6.2 on, and Valkey."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import TYPE_CHECKING

import msgspec
import pytest
import trustme
from gateways import GatewayOnRedis, Ledger
from redis_server import RedisServer

from techstone.adapters.limits import script
from techstone.adapters.limits.connection import Address, Unreachable, connect
from techstone.core.limits import Grant, Refusal
from techstone.core.snapshot import Account, Key, Plan
from techstone.core.view import make_principal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PASSWORD = "s3cret"
_CALLED = sorted(set(re.findall(rb"call\('([A-Z]+)'", script.ADMISSION + script.PRESENCE + script.REPEATS)))
_KEY = Key("k1", "0" * 64, "a1", "n", "h")
# What docs/limits.md says that the user needs: the keys of ours, these commands, and those that the scripts call.
_RIGHTS = "~techstone:* +auth +select +info +evalsha +script|load"


class Secured(RedisServer):
    """A Redis with a certificate for localhost, and a user who may do no more than gateways need."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        issued.cert_chain_pems[0].write_to_path(folder / "redis.pem")
        issued.private_key_pem.write_to_path(folder / "redis.key")
        authority.cert_pem.write_to_path(folder / "ca.pem")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.tls_port = probe.getsockname()[1]
        self.authority = str(folder / "ca.pem")
        commands = [f"+{word.decode().lower()}" for word in _CALLED]
        super().__init__(
            folder,
            *("--tls-port", str(self.tls_port), "--tls-auth-clients", "no"),
            *("--tls-cert-file", str(folder / "redis.pem"), "--tls-key-file", str(folder / "redis.key")),
            *("--tls-ca-cert-file", self.authority),
            *("--user", "gateway", "on", f">{_PASSWORD}", *_RIGHTS.split(), *commands),
        )

    @property
    def address(self) -> Address:
        return Address(
            "localhost", self.tls_port, tls=True, user="gateway", password=_PASSWORD, authority=self.authority
        )


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    server = Secured(tmp_path_factory.mktemp("secured"))
    server.start()
    try:
        yield server
    finally:
        server.kill()


async def test_server_with_a_certificate_and_a_user_is_enough(secured: Secured) -> None:
    """TLS to the name in the certificate, an ACL user with the rights that the documentation lists: all of it works."""
    gateway = GatewayOnRedis(secured, "g", Ledger())
    who = make_principal(_KEY, Account("a1", "a@x", "p", granted=100), Plan("p", 2, 100, 1, "prepaid"))
    try:
        await gateway.ready()
        grant = await gateway.ask(who, b"1", 10, 30)
        assert isinstance(grant, Grant)
        refusal = await gateway.ask(who, b"2", 10, 80)
        assert isinstance(refusal, Refusal)
        assert await gateway.limits.top_up(grant, 5, 5) is None  # type: ignore[misc]
        gateway.limits.sweep()
        gateway.end(grant, 12, 25)
        assert await gateway.limits.credit(who) == 75
    finally:
        await gateway.close()
    assert gateway.told == []


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"host": "127.0.0.1"}, "IP address mismatch"),
        ({"password": "wrong"}, "WRONGPASS"),
        ({"user": "nobody"}, "WRONGPASS"),
    ],
)
async def test_wrong_name_or_password_is_refused(secured: Secured, changed: dict[str, str], reason: str) -> None:
    """Nothing is sent to a server that is not the one in the certificate; the line for people says what is wrong."""
    address = msgspec.structs.replace(secured.address, **changed)
    with pytest.raises(Unreachable, match=reason):
        await connect(asyncio.get_running_loop(), address, lambda _: None)


async def test_server_of_an_unknown_authority_is_refused(secured: Secured, tmp_path: Path) -> None:
    """A certificate that anybody could have made is none."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    address = msgspec.structs.replace(secured.address, authority=str(tmp_path / "other.pem"))
    with pytest.raises(Unreachable, match="certificate verify failed"):
        await connect(asyncio.get_running_loop(), address, lambda _: None)


def test_scripts_call_nothing_that_is_newer_than_redis_6_2(secured: Secured) -> None:
    """Redis itself says since when it has each command; Valkey began as Redis 7.2."""
    assert len(_CALLED) > 15
    for word in _CALLED:
        found = secured.ask("COMMAND", "DOCS", word)
        assert isinstance(found, list)
        facts = dict(zip(found[1][::2], found[1][1::2], strict=True))
        since = tuple(int(part) for part in facts[b"since"].split(b"."))
        assert since <= (6, 2, 0), word
