"""Asks the servers of engines how they are, once a second each, and how busy; beside the requests, which wait for none.

Each server has a course of its own, so that one that hangs delays no other. What it answers is bounded and read as
`core.engines` says; its key goes to its own address alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.adapters.errand import Errand
from techstone.core.engines import ENGINES, Engine, read_load
from techstone.core.sealing import Unsealable
from techstone.core.snapshot import Timeouts
from techstone.gateway.ports import Call, Origin, UpstreamProblem

if TYPE_CHECKING:
    from techstone.adapters.upstreams.http import HttpUpstreams
    from techstone.gateway.dispatch import Dispatch
    from techstone.gateway.ports import Snapshots
    from techstone.gateway.servers import Server

PACE_SECONDS = 1.0
_TIMEOUTS = Timeouts(connect=1.0, first_byte=2.0, between_bytes=1.0, total=3.0)
# Ray 2.60 told 560 KB with one deployment, a vLLM with four ranks 150.
_LARGEST = 4 * 1024 * 1024
_ANSWER_LIMIT = 64 * 1024
_REQUEST_ID = b"check"
# A load that was told once would keep requests away for as long as metrics do not answer, though the engine is well.
_MISSES = 3


class HealthChecks:
    """Follows the snapshot: every server of an engine that is a provider now is checked."""

    def __init__(self, upstreams: HttpUpstreams, snapshots: Snapshots, dispatch: Dispatch) -> None:
        self._upstreams = upstreams
        self._snapshots = snapshots
        self._dispatch = dispatch
        self._courses: dict[Server, Errand] = {}
        self._following = Errand(self._follow, PACE_SECONDS)

    def start(self) -> None:
        """Begin."""
        self._following.start()

    def stop(self) -> None:
        """End."""
        self._following.stop()
        for course in self._courses.values():
            course.stop()
        self._courses.clear()

    async def _follow(self) -> bool:
        """Begin with servers that are new, and end with those that are gone."""
        view = self._snapshots.view
        if view is None:
            return False
        servers = self._dispatch.servers
        servers.prune(view)
        wanted: set[Server] = set()
        for provider in view.providers.values():
            if provider.kind in ENGINES:
                try:
                    wanted.update(servers.find(view, provider.name))
                except Unsealable:
                    continue  # told already; its requests are left out, too
        for server in self._courses.keys() - wanted:
            self._courses.pop(server).stop()
        for server in wanted - self._courses.keys():
            course = self._courses[server] = Errand(Check(self._upstreams, self._dispatch, server).run, PACE_SECONDS)
            course.start()
        return False


class Check:
    """The check of one server."""

    def __init__(self, upstreams: HttpUpstreams, dispatch: Dispatch, server: Server) -> None:
        self._upstreams = upstreams
        self._dispatch = dispatch
        self._server = server
        provider, target = server.target.provider, server.target
        self._engine: Engine = ENGINES[provider.kind]
        health = target.compose_check(self._engine.health, rooted=self._engine.rooted) + _REQUEST_ID
        self._health = Call(target.origin, health, b"", _TIMEOUTS)
        self._metrics: Call | None = None
        if provider.metrics_port is not None:
            origin = Origin(target.origin.scheme, target.origin.host, provider.metrics_port)
            host = f"[{origin.host}]" if ":" in origin.host else origin.host
            head = f"GET /metrics HTTP/1.1\r\nhost: {host}:{origin.port}\r\nuser-agent: techstone"
            self._metrics = Call(origin, head.encode("latin-1"), b"", _TIMEOUTS)
        elif self._engine.running and not self._engine.apart:
            self._metrics = Call(
                target.origin, target.compose_check("/metrics", rooted=False) + _REQUEST_ID, b"", _TIMEOUTS
            )
        self._rounds = 0
        self._missed = 0
        self._answered = 0

    async def run(self) -> bool:
        """Ask once."""
        server = self._server
        answered, self._answered = self._answered, server.answered
        reads = self._upstreams.count_reads(server.target.origin)
        try:
            await self._ask_health()
        except UpstreamProblem as problem:
            # A busy llama.cpp has no thread left for a check while it answers requests, the long ones, too: what shows
            # that is not their end but that their bytes come. A refusal is one all the same.
            alive = server.answered != answered or self._upstreams.count_reads(server.target.origin) != reads
            server.health.fail(alive=problem.kind == "timeout" and alive)
            if server.health.state == "down":
                server.hear(None)
            return False
        if server.health.succeed():
            self._dispatch.hasten(server)
        if self._metrics is not None and self._rounds % self._engine.pace == 0:
            await self._read_load(self._metrics)
        self._rounds += 1
        return False

    async def _ask_health(self) -> None:
        status, _ = await self._ask(self._health, _ANSWER_LIMIT)
        if status >= 300:
            raise UpstreamProblem("status", str(status))

    async def _read_load(self, metrics: Call) -> None:
        """Hear how busy it is; who misses one answer is as busy as before, who misses more is not known to be."""
        try:
            status, text = await self._ask(metrics, _LARGEST)
        except UpstreamProblem:
            self._missed += 1
            if self._missed >= _MISSES:
                self._server.hear(None)
            return
        self._missed = 0
        self._server.hear(read_load(self._engine, text) if status == 200 else None)

    async def _ask(self, call: Call, limit: int) -> tuple[int, bytes]:
        answer = await self._upstreams.open(call)
        try:
            return answer.status, await answer.read(limit)
        except BaseException:
            answer.close()
            raise
