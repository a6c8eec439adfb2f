"""A provider made ready for its requests."""

from __future__ import annotations

from techstone.core.snapshot import Provider
from techstone.gateway.dispatch import Keyring, Target
from techstone.gateway.ports import Origin


def test_address_by_name_is_that_of_this_start() -> None:
    """The engine's port is another at each start, while a gateway begins with the snapshot of the last one."""
    engine = Provider("engine", "engine", "${TECHSTONE_ENGINE_URL}", "TECHSTONE_ENGINE_KEY")
    keyring = Keyring({"TECHSTONE_ENGINE_URL": "http://127.0.0.1:4711/v1", "TECHSTONE_ENGINE_KEY": "k"})
    target = Target(engine, keyring)
    assert target.origin == Origin("http", "127.0.0.1", 4711)
    assert target.head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:4711\r\n")
    assert b"authorization: Bearer k\r\n" in target.head


def test_address_that_is_not_known_leads_nowhere() -> None:
    """A gateway without an engine cannot reach one; nothing else breaks."""
    assert Target(Provider("engine", "engine", "${TECHSTONE_ENGINE_URL}"), Keyring({})).origin.host == ""
