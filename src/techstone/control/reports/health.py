"""How the installation is: gateways by their reports, the database, the ledger's checks, the audit log.

What takes long (the file's soundness, the whole chain of the audit log) is looked at in the background once an hour, so
that who looks at the page waits for nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import msgspec

from techstone.control.audit.records import EntryShown, Soundness
from techstone.control.ports import StoreError, StoreFacts
from techstone.control.reports import judgement
from techstone.control.reports.records import Condition, Finding, Newest, ReplicaHealth, RouteHealth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from techstone.control.ports import Checked
    from techstone.control.reports.records import Heard, State
    from techstone.control.reports.service import Reports
    from techstone.wire.report import ReplicaState

_PAUSE = 3600.0
_HERE = "Control plane"


class Facts(Protocol):
    """The store, as far as its health is known."""

    async def read_revision(self) -> int:
        """Return the newest revision."""

    async def read_facts(self) -> StoreFacts:
        """Return its size and schema, and whether it is sound."""


class Chain(Protocol):
    """The audit log."""

    async def list(self, filters: None = None, before: None = None, limit: int = ...) -> tuple[EntryShown, ...]:
        """Return the newest entries."""

    async def check(self) -> Soundness:
        """Follow the whole."""


class _Looked(msgspec.Struct, frozen=True):
    """What the background saw: when, the store, and the chain."""

    at: float
    store: StoreFacts | None = None
    chain: Soundness | None = None
    problem: str | None = None


class Health:
    """Looks. `clock` is in unix seconds; `checked` gives the last check of the ledger."""

    def __init__(self, reports: Reports, store: Facts, chain: Chain, clock: Callable[[], float]) -> None:
        self._reports = reports
        self._store = store
        self._chain = chain
        self._clock = clock
        self._looked: _Looked | None = None
        self._newest = Newest(-1, 0.0)
        self.checked: Callable[[], Checked | None] = lambda: None

    async def run(self, pause: float = _PAUSE) -> None:
        """Look at what takes long, every so many seconds, until cancelled."""
        while True:
            await self.look_closely()
            await asyncio.sleep(pause)

    async def look_closely(self) -> None:
        """Look at what takes long, now."""
        try:
            store, chain = await self._store.read_facts(), await self._chain.check()
            self._looked = _Looked(self._clock(), store, chain)
        except StoreError as error:
            self._looked = _Looked(self._clock(), problem=str(error))

    async def look(self) -> Condition:
        """Return how everything is now."""
        now = self._clock()
        try:
            newest = await self._store.read_revision()
            entries = await self._chain.list(limit=1)
        except StoreError as error:
            return Condition((Finding(_HERE, "Database", "danger", str(error)),), (), "danger")
        if newest != self._newest.revision:
            self._newest = Newest(newest, now)
        heard = self._reports.gateways()
        found = [finding for one in heard for finding in judgement.judge_gateway(one, self._newest, now)]
        if not heard:
            found.append(Finding("Gateways", "Report", *self._judge_silence()))
        found.append(Finding(_HERE, "Database", *self._judge_database(now)))
        found.append(Finding(_HERE, "Ledger", *judgement.judge_check(self.checked(), now)))
        found.append(Finding(_HERE, "Audit log", *self._judge_chain(entries[0] if entries else None)))
        routes = tuple(_judge_routes(heard))
        replicas = tuple(_judge_replicas(heard))
        states: list[State] = [
            *(one.state for one in found),
            *(one.state for one in routes),
            *(one.state for one in replicas),
        ]
        return Condition(tuple(found), routes, judgement.worst(iter(states)), replicas)

    def _judge_silence(self) -> tuple[State, str]:
        """Say what it means that no gateway reports: of several control planes they report to the one they prefer."""
        store = self._looked.store if self._looked is not None else None
        if store is not None and store.kind == "postgresql":
            return (
                "idle",
                "None reports to this control plane. Another one on this database knows those that prefer it.",
            )
        text = "None has reported since the control plane's start. Requests are served by gateways alone."
        return "danger", text

    def _judge_database(self, now: float) -> tuple[State, str]:
        looked = self._looked
        if looked is None:
            return "idle", "Not looked at yet since the start."
        ago = judgement.span(now - looked.at)
        if looked.store is None:
            return "danger", f"It could not be read {ago} ago: {looked.problem}"
        store = looked.store
        told = f"{store.kind}, schema {store.schema}, {store.size / 1e6:,.1f} MB, looked at {ago} ago"
        return ("good", f"Sound: {told}.") if store.durable else ("danger", f"Damaged, or not durable: {told}.")

    def _judge_chain(self, newest: EntryShown | None) -> tuple[State, str]:
        if newest is None:
            return "good", "No entry yet."
        told = f"{newest.number:,} entries, head {newest.digest[:16]}"
        chain = self._looked.chain if self._looked is not None else None
        if chain is None:
            return "idle", f"{told}; its chain was not followed yet since the start."
        if chain.broken is not None:
            return "danger", f"{told}. The chain breaks at entry {chain.broken:,}: somebody has changed it."
        return "good", f"{told}. The chain is whole up to entry {chain.entries:,}."


def _judge_routes(heard: tuple[Heard, ...]) -> Iterator[RouteHealth]:
    for one in heard:
        for route in sorted(one.state.routes, key=lambda route: (route.model, route.provider, route.upstream_model)):
            yield RouteHealth(one.state.id[:8], route, judgement.judge_route(route))


def _judge_replicas(heard: tuple[Heard, ...]) -> Iterator[ReplicaHealth]:
    for one in heard:
        for replica in sorted(one.state.replicas, key=lambda replica: (replica.provider, replica.replica)):
            yield ReplicaHealth(one.state.id[:8], replica, judgement.judge_replica(replica))


def list_findings(condition: Condition) -> tuple[Finding, ...]:
    """Return all as findings, routes too, for who reads lines."""
    routes = tuple(
        Finding(
            f"Gateway {one.gateway}",
            f"route {one.route.model} via {one.route.provider}/{one.route.upstream_model}"
            + (f", replica {one.route.replica}" if one.route.replica else ""),
            one.state,
            f"breaker {one.route.breaker}"
            + (f", last error {judgement.span(one.route.error_age)} ago: {one.route.error}" if one.route.error else ""),
        )
        for one in condition.routes
    )
    replicas = tuple(
        Finding(
            f"Gateway {one.gateway}",
            f"replica {one.replica.replica or 1} of {one.replica.provider}, {one.replica.address}",
            one.state,
            _describe_replica(one.replica),
        )
        for one in condition.replicas
    )
    return (*condition.findings, *routes, *replicas)


def _describe_replica(replica: ReplicaState) -> str:
    told = f"{replica.health or 'not checked'}, {replica.in_flight:,} in flight"
    if replica.running is not None:
        told += f"; it tells {replica.running:,} running, {replica.waiting or 0:,} waiting"
    return told + (f", cache {replica.cache:.0%} full" if replica.cache is not None else "")
