"""The gateway process: wires, listens, serves, and drains on a signal."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import os
import secrets
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

import uvloop

from techstone import __version__
from techstone.adapters.confirmation import Bounds
from techstone.adapters.errand import Line
from techstone.adapters.journal.segments import JournalDamaged, JournalInUse, Lock, recover
from techstone.adapters.journal.shipping import Shipping
from techstone.adapters.journal.writer import JournalWriter
from techstone.adapters.limits.admissions import Admissions
from techstone.adapters.limits.link import Link, Times
from techstone.adapters.limits.memory import MemoryLimits
from techstone.adapters.limits.roster import Roster
from techstone.adapters.reports import Watch, describe_servers, measure_memory, report
from techstone.adapters.snapshot_copy import SnapshotCopy
from techstone.adapters.snapshots import SnapshotFollower
from techstone.adapters.telemetry.log import Log
from techstone.adapters.telemetry.meter import Telemetry
from techstone.adapters.transcripts import ship
from techstone.adapters.upstreams.health_checks import HealthChecks
from techstone.adapters.vault import Vault
from techstone.app import child
from techstone.app.certificates import Certificate, load_server
from techstone.app.config import ConfigError, is_loopback, read_metrics
from techstone.app.listener import Listener, bind
from techstone.app.planes import open_ways
from techstone.app.shared import SharedLimits, read_address
from techstone.app.wiring import Gateway, Outside
from techstone.gateway.connections import Trust
from techstone.gateway.front import LAST_CALL_SECONDS
from techstone.wire.report import GatewayState, LimitState, SnapshotState

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.adapters.limits.redis import RedisLimits
    from techstone.adapters.limits.repeats import RedisRepeats
    from techstone.app.place import Place
    from techstone.app.sections import ServerSection
    from techstone.core.view import View
    from techstone.gateway.connections import Connections
    from techstone.gateway.ports import ControlPlane, StoredAnswer

LISTEN_FD = "TECHSTONE_LISTEN_FD"
# A gateway whose control plane is down serves by the snapshot on disk, after having waited so long.
_CONTROL_PATIENCE = 5.0
# So often that passes in silence where our supervisor starts the control plane, too, and it is just not there: the very
# first start compiles everything, which takes a slow machine 10 s and more. The first word comes after 20 s.
_STARTING = 4
_GARBAGE = 20_000
_MEGABYTE = 1024 * 1024
# The last bytes of an answer get so long to leave after the last request is done.
_FLUSH_SECONDS = 0.05


class InsecureBinding(ConfigError):
    """The address can be reached by other machines, and what they send would travel in clear."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"server.host: {host} can be reached by other machines, and API keys would travel in clear. Give "
            "server.tls_cert and server.tls_key, or server.trusted_proxies that speak https to clients, or start with "
            "--insecure-http"
        )


def check_binding(server: ServerSection, *, insecure_http: bool) -> None:
    """Raise InsecureBinding where keys would travel in clear over a network."""
    if not (server.tls_cert or server.trusted_proxies or insecure_http or is_loopback(server.host)):
        raise InsecureBinding(server.host)


def read_trust(server: ServerSection, *, insecure_http: bool) -> Trust:
    """Return whose word on client and scheme is believed, and whether plain HTTP is refused."""
    proxies = tuple(ipaddress.ip_network(proxy) for proxy in server.trusted_proxies)
    tls = server.tls_cert is not None
    # Where only the proxy makes the address safe, what comes past it in clear is refused.
    behind = bool(proxies) and not is_loopback(server.host)
    return Trust(proxies, https_only=(tls or behind) and not insecure_http, tls=tls)


def open_socket(server: ServerSection) -> socket.socket:
    """Return the listening socket, the parent's where there is one; raise ConfigError."""
    inherited = os.environ.pop(LISTEN_FD, None)
    if inherited is not None:
        return socket.socket(fileno=int(inherited))
    try:
        return bind(server.host, server.port)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {server.host}:{server.port}: {error.strerror or error}. Choose another with --port"
        ) from error


def open_metrics(server: ServerSection, worker: int) -> socket.socket | None:
    """Return the listening socket of this worker's own metrics, None where it has none; raise ConfigError."""
    address = read_metrics(server, worker)
    if address is None:
        return None
    try:
        return bind(*address)
    except OSError as error:
        raise ConfigError(
            f"server.metrics: cannot listen on {address[0]}:{address[1]}: {error.strerror or error}"
        ) from error


def run(place: Place, *, insecure_http: bool) -> int:
    """Serve until a signal; return the exit status."""
    server = place.config.server
    check_binding(server, insecure_http=insecure_http)
    if server.workers > 1 and LISTEN_FD not in os.environ:
        raise ConfigError(
            f"server.workers: {server.workers} gateways of one data folder are for `techstone serve`; for gateways "
            "apart run `techstone gateway` once for each, with a data folder (--data) and a port (--port) of its own"
        )
    child.follow_parent()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(place, insecure_http=insecure_http))
    return 0


async def _run(place: Place, *, insecure_http: bool) -> None:
    server = place.config.server
    certificate = _read_certificate(server)
    loop = asyncio.get_running_loop()
    log = Log(sys.stderr.fileno())
    ways = open_ways(loop, place, insecure_http=insecure_http)
    section = place.config.control
    bounds = Bounds(section.serve_without_database, section.serve_without_control)
    follower = SnapshotFollower(ways.seam, SnapshotCopy(place.snapshot), bounds)
    telemetry = Telemetry(loop, follower, log)
    sock = open_socket(server)
    probed = open_metrics(server, place.worker)
    books = Books(loop, place, follower, ways.seam, insecure_http=insecure_http)
    outside = Outside(
        snapshots=follower,
        limits=books.limits,
        journal=books.writer,
        answers=books.writer.answers,
        journalist=telemetry,
        render_metrics=telemetry.render,
        environment=os.environ,
        control=ways.pages,
        trust=read_trust(server, insecure_http=insecure_http),
        vault=Vault(place.data, os.environ),
        report=_complain,
        repeats=books.repeats,
    )
    gateway = Gateway(loop, outside)
    telemetry.watch(gateway.connections, gateway.dispatch, books.gauge)
    listener = Listener(gateway.connections, sock, None if certificate is None else certificate.context)
    probes = None if probed is None else Listener(gateway.probes, probed, None)
    stopping = Stopping(loop)
    follower.load()
    following = [loop.create_task(follower.run())]
    following += (
        loop.create_task(shown.follow(_complain)) for shown in (certificate, ways.certificate) if shown is not None
    )
    gateway.start()
    books.start()
    looking = Looking(gateway, telemetry, books, follower)
    line = Line(ways.seam)
    checks = HealthChecks(gateway.upstreams, follower, gateway.dispatch)
    errands = (report(line, looking.look, gateway.blotter), ship(line, gateway.transcripts), checks)
    try:
        if probes is not None:
            await probes.start()
        await _await_control(follower, stopping)
        await listener.start()
        if not child.report_ready(child.News()):
            host, port = sock.getsockname()[:2]
            print(f"TechStone gateway is serving on {host}, port {port}.", flush=True)  # noqa: T201 - a command's output
        for errand in errands:
            errand.start()
        await serve(listener, gateway.connections, server.drain, stopping)
    finally:
        gateway.connections.stop()
        if probes is not None:
            await probes.stop()
        for errand in errands:
            errand.stop()
        await books.close()
        gateway.close()
        telemetry.close()
        log.close()
        for task in following:
            task.cancel()
        ways.close()
        await asyncio.gather(*following, return_exceptions=True)


def _read_certificate(server: ServerSection) -> Certificate | None:
    if server.tls_cert is None or server.tls_key is None:
        return None
    try:
        return load_server(server.tls_cert, server.tls_key)
    except OSError as error:
        raise ConfigError(f"server.tls_cert, server.tls_key: {error}") from error


class Books:
    """The gateway's limits and its journal: what it must remember; raise ConfigError for a journal that is no use."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        place: Place,
        follower: SnapshotFollower,
        control: ControlPlane,
        *,
        insecure_http: bool,
    ) -> None:
        place.prepare()
        self._loop = loop
        self._control = control
        self._started = False
        try:
            self._lock = Lock(place.journal)
            recovered = recover(place.journal, lambda: secrets.token_hex(8))
            if recovered.torn:
                _complain(f"journal: a crash left {recovered.torn:,} bytes of an unfinished record; they are cut off")
            self._admissions = Admissions(place.admissions)
            self._shared: SharedLimits | None = None
            self.repeats: RedisRepeats | None = None
            address = read_address(place.config.data, os.environ, insecure_http=insecure_http)
            last = recovered.last
            self.writer = JournalWriter(loop, place.journal, recovered)
            # What the writer appends first gets the next numbers.
            found = [*recovered.records, *enumerate(self.writer.lost, last + 1)]
            self.limits: MemoryLimits | RedisLimits
            if address is None:
                self.limits = MemoryLimits(time.monotonic, time.time, self._admissions)
                self.limits.recover(found)
            else:
                roster = Roster(place.roster, _complain, place.config.server.workers)
                times = Times(patience=place.config.data.limits_patience)
                link = Link(address, self.writer.journal, _complain, roster, times)
                self._shared = SharedLimits(link, self.writer.journal, control)
                self.limits = self._shared.limits
                self.limits.recover(recovered.records)
                self.writer.recorded = self.limits.record
                self.writer.booked = self.limits.shipped
                self.repeats = self._shared.share(self.writer.answers, place.config.data.limits_answers * _MEGABYTE)
                self.writer.answered = self._hear_answer
        except (JournalDamaged, JournalInUse) as error:
            raise ConfigError(str(error)) from error
        except OSError as error:
            raise ConfigError(f"journal {place.journal}: {error.strerror or error}") from error
        follower.heard = self._hear
        self._shipping: Shipping | None = None
        self._timer: asyncio.TimerHandle | None = None

    def _hear(self, view: View) -> None:
        """Anchor the limits, and only then ship: what the ledger had before is what the last life left."""
        applied = view.snapshot.applied.get(self.writer.journal, 0)
        if isinstance(self.limits, MemoryLimits):
            self.limits.anchor(view, self.writer.journal)
        self.writer.shipped(applied)
        if self._shipping is None and self._started:
            self._shipping = Shipping(self.writer, self._control, time.time, _complain)
            self._shipping.start()

    def _hear_answer(self, answer: StoredAnswer, stored: bool) -> None:  # noqa: FBT001 - the journal's one callback
        assert self.repeats is not None  # noqa: S101 - set where this is
        if stored:
            self.repeats.keep(answer)
        else:
            self.repeats.release(answer.account, answer.key)

    def start(self) -> None:
        """Begin to renew what is held, and to ship once the control plane is heard."""
        self._started = True
        if self._shared is not None:
            self._shared.start()
        self._sweep()

    @property
    def kind(self) -> str:
        """Where the limits are."""
        return "memory" if self._shared is None else "Redis"

    def gauge(self) -> list[tuple[str, str, float]]:
        """Return what the metrics show."""
        writer = self.writer
        lag = writer.lag(time.time())
        return [
            ("techstone_requests_admitted", "Requests that hold a slot now.", self.limits.running),
            (
                "techstone_limits_degraded",
                "1: limits are kept by a part of each plan, see /readyz.",
                self.limits.degraded,
            ),
            (
                "techstone_limits_gateways",
                "Gateways that share the limits.",
                self._shared.link.gateways if self._shared else 1,
            ),
            ("techstone_journal_records", "Records written since the start.", writer.written),
            ("techstone_journal_waiting_bytes", "Of the journal, not booked yet.", writer.spooled),
            ("techstone_journal_lag_seconds", "Age of the oldest record that is not booked yet.", lag),
            ("techstone_journal_unwritable", "1: nothing new is admitted, see /readyz.", writer.problem is not None),
        ]

    def _sweep(self) -> None:
        self._timer = self._loop.call_later(self.limits.sweep(), self._sweep)
        if self.repeats is not None:
            self.repeats.sweep()
        self.writer.answers.retire(int(time.time() * 1000))

    async def close(self) -> None:
        """Write what waits, ship it while the control plane is still there, and let go."""
        if self._timer is not None:
            self._timer.cancel()
        self.writer.close()
        if self._shared is not None:
            await self._shared.close()
        if self._shipping is not None:
            await self._shipping.finish()
        self._admissions.close()
        self._lock.release()


class Looking:
    """Sees the gateway's state as a whole, once a report."""

    def __init__(self, gateway: Gateway, telemetry: Telemetry, books: Books, follower: SnapshotFollower) -> None:
        self._gateway = gateway
        self._telemetry = telemetry
        self._books = books
        self._follower = follower
        self._started = time.time()
        self._watch = Watch()

    def look(self) -> GatewayState:
        """Return it."""
        gateway, follower = self._gateway, self._follower
        now = gateway.dispatch.clock()
        view = follower.view
        return GatewayState(
            self._books.writer.journal,
            __version__,
            self._started,
            gateway.connections.working,
            len(gateway.connections.fronts),
            measure_memory(),
            self._watch.describe(gateway.dispatch.breakers, self._telemetry.sum_first_bytes(), now),
            self._books.writer.report(time.time()),
            LimitState(self._books.kind, self._books.limits.degraded, self._books.limits.problem),
            SnapshotState(
                -1 if view is None else view.snapshot.revision,
                now - follower.heard_at if follower.heard_at else now,
                follower.problem,
            ),
            describe_servers(server for servers in gateway.dispatch.servers.all.values() for server in servers),
        )


def _complain(line: str) -> None:
    print(f"gateway: {line}", file=sys.stderr, flush=True)  # noqa: T201 - the operator's terminal


class Stopping:
    """What SIGTERM and SIGINT ask for: to stop, and at the second one to stop at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.asked = asyncio.Event()
        self.at_once = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._hear)

    def _hear(self) -> None:
        if self.asked.is_set():
            self.at_once.set()
        self.asked.set()


async def _await_control(follower: SnapshotFollower, stopping: Stopping) -> None:
    """Wait until the control plane was heard: the snapshot on disk may be of another time, and knows no credit.

    Clients that come meanwhile wait in the socket's queue, in place of being refused. Without a snapshot on disk there
    is nothing to serve by, however long it takes.
    """
    waits = [asyncio.ensure_future(event.wait()) for event in (follower.followed, stopping.asked)]
    told = None
    silent = _STARTING if child.is_awaited() else 0
    while True:
        done, _ = await asyncio.wait(waits, timeout=_CONTROL_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if done or follower.view is not None:
            break
        silent = silent - 1 if follower.absent else 0
        # Nothing is served that could tell it otherwise: /readyz is not there yet.
        if follower.problem != told and silent <= 0:
            told = follower.problem
            _complain(f"waits for the control plane before it serves: {told}")
    for wait in waits:
        wait.cancel()


async def serve(listener: Listener, connections: Connections, drain: float, stopping: Stopping) -> None:
    """Serve until asked to stop, then drain for so many seconds."""
    # What exists now lives as long as the process: never walk it again when looking for garbage.
    gc.collect()
    gc.freeze()
    # What a request makes is freed by its reference counts; looking for cycles every 700 objects cost 1 µs a request.
    gc.set_threshold(_GARBAGE, 20, 100)
    await stopping.asked.wait()
    connections.leave()
    await listener.stop()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(min(LAST_CALL_SECONDS, drain)):
            await _wait_until(lambda: not connections.fronts, stopping.at_once)
    connections.drain()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, drain - LAST_CALL_SECONDS)):
            await _wait_until(lambda: not connections.engaged, stopping.at_once)
    connections.stop()
    if not stopping.at_once.is_set():
        await asyncio.sleep(_FLUSH_SECONDS)


async def _wait_until(done: Callable[[], bool], at_once: asyncio.Event) -> None:
    while not done() and not at_once.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(at_once.wait(), 0.05)
