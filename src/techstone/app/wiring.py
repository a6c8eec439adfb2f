"""The composition root of the gateway process: every collaborator is made here, once, and handed to who needs it."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from techstone.adapters.upstreams.http import HttpUpstreams
from techstone.core.errors import UrlNotFound
from techstone.gateway.admission import Doorkeeper
from techstone.gateway.blotter import Blotter
from techstone.gateway.catalog import Catalog
from techstone.gateway.chat import ChatCompletions, Desk
from techstone.gateway.connections import Connections, Journalist, Trust
from techstone.gateway.directory import Directory, Route
from techstone.gateway.dispatch import Dispatch
from techstone.gateway.estimate import Estimates
from techstone.gateway.forward import Forward
from techstone.gateway.health import Health
from techstone.gateway.idempotency import Idempotency
from techstone.gateway.ports import Answers, ControlPlane, Journal, LimitStore, Opener, Repeats, Snapshots
from techstone.gateway.quota import Quota
from techstone.gateway.settlement import Settlement
from techstone.gateway.survey import Guests, Survey
from techstone.gateway.target import Keyring
from techstone.gateway.transcripts import Transcripts

if TYPE_CHECKING:
    import asyncio

    from techstone.gateway.exchange import Exchange

_GET = (b"GET", b"HEAD")


class Outside(msgspec.Struct):
    """What the gateway is given of the world: ports filled with adapters, and the environment."""

    snapshots: Snapshots
    limits: LimitStore
    journal: Journal
    answers: Answers
    journalist: Journalist
    render_metrics: Callable[[], bytes]
    environment: Mapping[str, str]
    control: ControlPlane
    trust: Trust
    vault: Opener | None = None
    report: Callable[[str], None] | None = None
    repeats: Repeats | None = None


class Gateway:
    """A wired gateway: its connections for the listener, and what the metrics look at."""

    def __init__(self, loop: asyncio.AbstractEventLoop, outside: Outside) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self.upstreams = HttpUpstreams(loop, outside.environment)
        keyring = Keyring(outside.environment, outside.vault, outside.report)
        # Weighted choice among routes, not a secret.
        self.dispatch = Dispatch(self.upstreams, loop.time, random.random, keyring)
        quota = Quota(outside.limits, time.monotonic)
        doorkeeper = Doorkeeper(outside.snapshots, outside.limits, quota, time.time)
        self.settlement = Settlement(loop.time, outside.limits, outside.journal)
        idempotency = Idempotency(outside.answers, outside.repeats)
        self.transcripts = Transcripts()
        desk = Desk(
            doorkeeper, outside.limits, self.dispatch, self.settlement, idempotency, self.transcripts, time.time
        )
        chat = ChatCompletions(desk)
        estimates = Estimates(doorkeeper, outside.limits)
        catalog = Catalog(outside.snapshots)
        survey = Survey(outside.limits, doorkeeper, quota, Guests(outside.snapshots, time.time))
        self.blotter = Blotter(outside.snapshots)
        health = Health(
            outside.snapshots,
            outside.journal,
            outside.limits,
            outside.render_metrics,
            lambda: self.connections.leaving,
        )
        forward = Forward(outside.control, quota, outside.snapshots)
        asked = _Asked(
            completions=Route((b"POST",), chat.create, check=doorkeeper.check_completion, scope="chat", json=True),
            estimate=Route(
                (b"POST",), estimates.create, check=doorkeeper.check_completion, scope="estimate", json=True
            ),
            models=Route(_GET, catalog.list, check=doorkeeper.check, scope="models"),
            model=Route(_GET, catalog.show, check=doorkeeper.check, scope="models"),
            limits=Route(_GET, survey.show, check=survey.check, scope="limits"),
        )
        directory = _list_endpoints(asked, health, forward)
        self.connections = Connections(
            loop,
            directory,
            outside.journalist,
            describe_limits=quota.describe,
            seed=os.urandom(8),
            trust=outside.trust,
            note_refusal=self.blotter.note,
        )
        # Where each of several processes on one port is asked by itself; it serves on while the API drains.
        self.probes = Connections(
            loop,
            Directory(_list_probes(health), {}, _refuse),
            outside.journalist,
            describe_limits=lambda _: b"",
            seed=os.urandom(8),
        )

    def start(self) -> None:
        """Begin to keep time: for the connections' deadlines, for streams that run."""
        self.connections.start()
        self.probes.start()
        self._tick()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(self.settlement.checkpoint(), self._tick)

    def close(self) -> None:
        """Give every connection up."""
        self.connections.stop()
        self.probes.stop()
        if self._timer is not None:
            self._timer.cancel()
        self.upstreams.close()


class _Asked(msgspec.Struct, frozen=True):
    """The endpoints that ask for a key."""

    completions: Route
    estimate: Route
    models: Route
    model: Route
    limits: Route


def _list_endpoints(asked: _Asked, health: Health, forward: Forward) -> Directory:
    """Return the API: every URL with and without /v1, since SDKs append to the base URL that they are given."""
    exact = {
        b"/v1/chat/completions": asked.completions,
        b"/chat/completions": asked.completions,
        b"/v1/estimate": asked.estimate,
        b"/estimate": asked.estimate,
        b"/v1/models": asked.models,
        b"/models": asked.models,
        b"/v1/limits": asked.limits,
        b"/limits": asked.limits,
        **_list_probes(health),
    }
    return Directory(exact, {b"/v1/models/": asked.model, b"/models/": asked.model}, forward.pass_on)


def _list_probes(health: Health) -> dict[bytes, Route]:
    """Return what load balancers and scrapers ask for."""
    return {
        b"/healthz": Route(_GET, health.live),
        b"/readyz": Route(_GET, health.ready),
        b"/metrics": Route(_GET, health.metrics),
    }


async def _refuse(exchange: Exchange) -> None:
    raise UrlNotFound(exchange.method.decode(), exchange.path.decode("latin-1"))
