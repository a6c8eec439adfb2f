"""The gate of the port between the planes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from techstone.control.gate import Gate
from techstone.core import passes

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

TOKEN = b"t" * 32
SEAM, PAGES = passes.make(TOKEN, "seam"), passes.make(TOKEN, "pages")


class _Application:
    """Keeps the headers that it was reached with."""

    def __init__(self) -> None:
        self.reached: list[list[tuple[bytes, bytes]]] = []

    async def __call__(self, scope: Scope, _: Receive, __: Send) -> None:
        self.reached.append(list(scope["headers"]))


def _pass(*shown: bytes) -> tuple[_Application, _Application, list[Any]]:
    """Return the two applications and what was answered; nobody may read a body."""
    seam, pages, sent = _Application(), _Application(), list[Any]()

    async def send(message: Any) -> None:  # noqa: ANN401 - ASGI's
        sent.append(message)

    async def receive() -> Any:  # noqa: ANN401 - ASGI's
        raise AssertionError("nothing is read before the pass is good")

    headers = [(b"host", b"x"), *((passes.HEADER, one) for one in shown)]
    scope: Any = {"type": "http", "headers": headers, "path": "/internal/snapshot"}
    asyncio.run(Gate(TOKEN, seam, pages)(scope, receive, send))
    return seam, pages, sent


def test_each_pass_opens_its_own_half() -> None:
    """And is not there any more behind the gate."""
    assert [len(one) for one in _reached(SEAM)] == [1, 0]
    assert [len(one) for one in _reached(PAGES)] == [0, 1]
    assert _reached(SEAM)[0] == [[(b"host", b"x")]]


def _reached(shown: bytes) -> tuple[list[list[tuple[bytes, bytes]]], list[list[tuple[bytes, bytes]]]]:
    seam, pages, sent = _pass(shown)
    assert sent == []
    return seam.reached, pages.reached


@pytest.mark.parametrize(
    "shown", [(), (b"",), (TOKEN,), (SEAM[:-1],), (SEAM.upper(),), (b"\xff",), (SEAM, PAGES), (SEAM, SEAM)]
)
def test_anything_else_opens_nothing(shown: tuple[bytes, ...]) -> None:
    """401 in the API's form, and the connection closes: a body may be on its way."""
    seam, pages, sent = _pass(*shown)
    assert (seam.reached, pages.reached) == ([], [])
    assert sent[0]["status"] == 401
    assert (b"connection", b"close") in sent[0]["headers"]
    assert b'"invalid_pass"' in sent[1]["body"]
