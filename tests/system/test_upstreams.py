"""The upstream client on real sockets: verified TLS, tunnels through a proxy, the pool."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from techstone.adapters.upstreams.http import HttpUpstreams
from techstone.core.snapshot import Timeouts
from techstone.gateway.ports import Call, Origin, UpstreamProblem
from techstone.gateway.trampoline import Trampoline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: up.test\r\nauthorization: Bearer sk-secret"
TIMEOUTS = Timeouts(connect=0.5, first_byte=1.0, between_bytes=1.0, total=3.0)


async def fetch(upstreams: HttpUpstreams, origin: Origin) -> bytes:
    """Call an origin as the gateway does; return the body."""
    done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def call() -> None:
        try:
            answer = await upstreams.open(Call(origin, HEAD, b"{}", TIMEOUTS))
            done.set_result(await answer.read(1000))
        except UpstreamProblem as problem:
            done.set_exception(problem)

    Trampoline(call(), lambda _: None).advance()
    return await done


class Upstream:
    """Answers "ok" to every request; `farewell` closes after each without saying so."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests = 0
        self.farewell = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            while True:
                await reader.readuntil(b"\r\n\r\n{}")
                self.requests += 1
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                if self.farewell:
                    break
        writer.close()


class Proxy:
    """Opens a tunnel to `port`, whatever host it is asked for; remembers what it was asked."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked = b""
        self.answer = b"HTTP/1.1 200 Connection established\r\n\r\n"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked = await reader.readuntil(b"\r\n\r\n")
        writer.write(self.answer)
        if b" 200 " not in self.answer:
            writer.close()
            return
        behind, forth = await asyncio.open_connection("127.0.0.1", self.port)
        await asyncio.gather(_pump(reader, forth), _pump(behind, writer))


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65536):
            target.write(data)
    target.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


class Bench:
    """An upstream with a certificate for up.test, a proxy before it, and clients."""

    def __init__(self, authority: trustme.CA) -> None:
        self.trust = ssl.create_default_context()
        authority.configure_trust(self.trust)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("up.test", "127.0.0.1").configure_cert(self.context)
        self.upstream = Upstream()
        self.servers: list[asyncio.Server] = []
        self.clients: list[HttpUpstreams] = []
        self.proxy: Proxy
        self.port = self.plain_port = self.proxy_port = 0

    async def start(self) -> None:
        self.port = await self._listen(self.upstream.serve, self.context)
        self.plain_port = await self._listen(self.upstream.serve)
        self.proxy = Proxy(self.port)
        self.proxy_port = await self._listen(self.proxy.serve)

    async def _listen(self, serve: object, context: ssl.SSLContext | None = None) -> int:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)  # type: ignore[arg-type] # a callback
        self.servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def client(self, trust: ssl.SSLContext | None, **environment: str) -> HttpUpstreams:
        client = HttpUpstreams(asyncio.get_running_loop(), environment, trust)
        self.clients.append(client)
        return client


@pytest.fixture
async def bench(authority: trustme.CA) -> AsyncIterator[Bench]:
    bench = Bench(authority)
    await bench.start()
    yield bench
    for client in bench.clients:
        client.close()
    for server in bench.servers:
        server.close()
    await asyncio.sleep(0.02)


async def test_https_is_verified(bench: Bench) -> None:
    """A certificate of a trusted authority for the right name is good; any other is no connection."""
    good = Origin("https", "127.0.0.1", bench.port)
    assert await fetch(bench.client(bench.trust), good) == b"ok"
    with pytest.raises(UpstreamProblem, match="connect: SSLCertVerificationError"):
        await fetch(bench.client(None), good)
    with pytest.raises(UpstreamProblem, match="connect: "):
        await fetch(bench.client(bench.trust), Origin("https", "localhost", bench.port))
    assert bench.upstream.requests == 1


async def test_https_goes_through_the_proxys_tunnel(bench: Bench) -> None:
    """The proxy sees host, port and its own credentials, not the request; TLS is verified for the upstream's name."""
    client = bench.client(bench.trust, HTTPS_PROXY=f"http://user:pass@127.0.0.1:{bench.proxy_port}")
    assert await fetch(client, Origin("https", "up.test", 443)) == b"ok"
    assert bench.proxy.asked.startswith(b"CONNECT up.test:443 HTTP/1.1\r\n")
    assert b"proxy-authorization: Basic dXNlcjpwYXNz\r\n" in bench.proxy.asked
    assert b"sk-secret" not in bench.proxy.asked
    with pytest.raises(UpstreamProblem, match="connect: SSLCertVerificationError"):
        await fetch(client, Origin("https", "other.test", 443))


async def test_plain_http_is_tunnelled_too(bench: Bench) -> None:
    """So the proxy never has the provider's key in a request of its own."""
    bench.proxy.port = bench.plain_port
    client = bench.client(None, HTTP_PROXY=f"http://127.0.0.1:{bench.proxy_port}")
    assert await fetch(client, Origin("http", "up.test", 80)) == b"ok"
    assert b"sk-secret" not in bench.proxy.asked


@pytest.mark.parametrize("answer", [b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", b"nonsense\r\n\r\n", b""])
async def test_refused_tunnel_is_no_connection(bench: Bench, answer: bytes) -> None:
    """Whatever the proxy says instead, the route has failed before anything was sent."""
    bench.proxy.answer = answer
    client = bench.client(bench.trust, HTTPS_PROXY=f"http://127.0.0.1:{bench.proxy_port}")
    with pytest.raises(UpstreamProblem, match="connect: ProxyRefused"):
        await fetch(client, Origin("https", "up.test", 443))
    assert bench.upstream.requests == 0


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def test_silent_proxy_is_given_up_at_the_connect_time_out(bench: Bench) -> None:
    """The tunnel counts as connecting."""
    server = await asyncio.start_server(_say_nothing, "127.0.0.1", 0)
    bench.servers.append(server)
    client = bench.client(bench.trust, HTTPS_PROXY=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(UpstreamProblem, match=r"timeout: no connection in 0\.5 s"):
        await fetch(client, Origin("https", "up.test", 443))
    assert loop.time() - began < 1.0


async def test_connection_is_used_again(bench: Bench) -> None:
    """Ten calls one after the other take one connection."""
    client = bench.client(None)
    for _ in range(10):
        assert await fetch(client, Origin("http", "127.0.0.1", bench.plain_port)) == b"ok"
    assert (bench.upstream.connections, bench.upstream.requests, client.connections) == (1, 10, 1)


async def test_connection_that_was_closed_meanwhile_costs_no_request(bench: Bench) -> None:
    """A server that closes after each answer without a word: every call is answered all the same."""
    bench.upstream.farewell = True
    client = bench.client(None)
    for _ in range(10):
        assert await fetch(client, Origin("http", "127.0.0.1", bench.plain_port)) == b"ok"
    assert bench.upstream.requests == 10
