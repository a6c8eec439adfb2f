"""The pool: no connection is forgotten, whenever its call is given up."""

from __future__ import annotations

import asyncio
import socket
from typing import Literal

import pytest

from techstone.adapters.upstreams.http import HttpUpstreams
from techstone.core.snapshot import Timeouts
from techstone.gateway.ports import Call, Origin, UpstreamProblem
from techstone.gateway.trampoline import Trampoline


def _ignore(error: Exception | None) -> None:
    """Not of interest here."""


@pytest.mark.parametrize("listening", [True, False])
async def test_call_given_up_as_it_connects_leaves_nothing(*, listening: bool) -> None:
    """Cancelled in the turn in which the connection is made, or refused: none stays open, nothing is complained of."""
    loop = asyncio.get_running_loop()
    complaints: list[object] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        gone.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if not listening:
        server.close()
        gone.set()
    upstreams = HttpUpstreams(loop, {})

    async def call() -> None:
        await upstreams.open(Call(Origin("http", "127.0.0.1", port), b"GET / HTTP/1.1", b"", Timeouts()))

    running = Trampoline(call(), _ignore)
    running.advance()
    connecting = running._waiting
    assert isinstance(connecting, asyncio.Task)
    while not connecting.done():  # noqa: ASYNC110 - not a turn later than it is done
        await asyncio.sleep(0)
    running.cancel()
    del connecting, running
    await asyncio.wait_for(gone.wait(), 1)
    assert upstreams.connections == 0
    assert not complaints
    upstreams.close()
    server.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_what_is_not_connected_is_known_not_to_be_sent(scheme: Literal["http", "https"]) -> None:
    """Refused, or without an end: the kernel takes the connection of a process that stands still, TLS waits for ever.

    In clear such a request is sent, and may be done once the process goes on.
    """
    still = socket.create_server(("127.0.0.1", 0))
    gone = socket.create_server(("127.0.0.1", 0))
    refusing = gone.getsockname()[1]
    gone.close()
    upstreams = HttpUpstreams(asyncio.get_running_loop(), {})
    told = []
    for port in (still.getsockname()[1], refusing):
        call = Call(Origin(scheme, "127.0.0.1", port), b"GET / HTTP/1.1", b"", Timeouts(connect=0.1, first_byte=0.1))
        over: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

        async def ask(call: Call = call) -> None:
            await upstreams.open(call)

        Trampoline(ask(), over.set_result).advance()
        problem = await over
        assert isinstance(problem, UpstreamProblem)
        told.append((problem.kind, problem.sent))
    assert told == [("timeout", scheme == "http"), ("connect", False)]
    upstreams.close()
    still.close()
