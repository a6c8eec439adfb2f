"""A provider made ready for its requests."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from techstone.core.errors import UpstreamUnavailable
from techstone.core.sealing import Unsealable
from techstone.core.snapshot import Model, Provider, Route, Snapshot
from techstone.core.view import View
from techstone.gateway.dispatch import Attempt, Dispatch
from techstone.gateway.ports import Origin
from techstone.gateway.target import Keyring, Target

if TYPE_CHECKING:
    from techstone.gateway.admission import Candidate
    from techstone.gateway.ports import Answer, Upstreams


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


class Vault:
    """Opens what was sealed for one context."""

    def __init__(self, context: str) -> None:
        self.context = context

    def open(self, sealed: bytes, context: str) -> bytes:
        if context != self.context:
            raise Unsealable("another context")
        return sealed[::-1]


SEALED = Provider("own", "openai", "https://own.example/v1", secret=base64.b64encode(b"terces-ks").decode())


def test_sealed_key_is_opened_for_its_provider_and_address_alone() -> None:
    """It stands in the head of a request, and nowhere for another address."""
    keyring = Keyring({"K": "other"}, Vault("provider own https://own.example/v1"))
    assert b"authorization: Bearer sk-secret\r\n" in Target(SEALED, keyring).head
    assert Target(SEALED, keyring).compose("GET", "/models").startswith(b"GET /v1/models HTTP/1.1\r\n")
    with pytest.raises(Unsealable):
        Target(msgspec.structs.replace(SEALED, base_url="https://evil.example/v1"), keyring)
    with pytest.raises(Unsealable):
        Target(SEALED, Keyring({}))


class Request:
    """Never sent."""

    request_id = b"req_1"

    def fingerprint(self) -> int:
        raise AssertionError

    def encode(self, _: Provider, __: str) -> bytes:
        raise AssertionError

    async def prepare(self, _: Answer) -> None:
        raise AssertionError


async def test_key_that_cannot_be_opened_is_told_once_and_the_route_left_out() -> None:
    """The client gets a 503, the operator one line, and nothing is sent without the key."""
    lines: list[str] = []
    dispatch = Dispatch(cast("Upstreams", None), lambda: 0.0, lambda: 0.5, Keyring({}, Vault("x"), lines.append))
    model = Model("m", (Route("own", "x"), Route("own", "y", 1, 1)))
    view = View(Snapshot(1, models=(model,), providers=(SEALED,)))
    for _ in range(2):
        with pytest.raises(UpstreamUnavailable):
            await dispatch.open(cast("Candidate", Chosen(view, model)), Request(), Attempt())
    assert lines == ["provider own: another context"]


class Chosen(msgspec.Struct):
    """What is asked of a candidate."""

    view: View
    model: Model
