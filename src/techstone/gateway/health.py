"""/healthz: the process lives. /readyz: it can serve, and if not, why. /metrics: the counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.gateway.exchange import Exchange
    from techstone.gateway.ports import Journal, LimitStore, Snapshots

# Asked by kubelets and scrapers past the proxy that speaks TLS to clients; no key belongs into such a request.
PROBES = frozenset({b"/healthz", b"/readyz", b"/metrics"})

_ENCODER = msgspec.json.Encoder()


class Health:
    """The endpoints for load balancers and scrapers. `render` gives the metrics in Prometheus text format."""

    def __init__(
        self,
        snapshots: Snapshots,
        journal: Journal,
        limits: LimitStore,
        render: Callable[[], bytes],
        draining: Callable[[], bool],
    ) -> None:
        self._snapshots = snapshots
        self._limits = limits
        self._journal = journal
        self._render = render
        self._draining = draining

    async def live(self, exchange: Exchange) -> None:
        """Answer that the process lives."""
        exchange.send_json(200, b'{"status":"ok"}')

    async def ready(self, exchange: Exchange) -> None:
        """Answer whether requests can be served: 200, or 503 with the reason.

        A stale snapshot serves, until it expires, and so do limits that are kept by a part of each plan; both are told.
        """
        view = self._snapshots.view
        state: dict[str, object] = {"status": "ready", "problem": self._snapshots.problem}
        if self._snapshots.expired:
            state["status"] = "unconfirmed"
        if self._journal.problem is not None:
            state = {"status": "unwritable", "problem": self._journal.problem}
        if self._limits.problem is not None:
            state = {"status": "starting", "problem": self._limits.problem}
        if self._limits.degraded:
            state["limits"] = "degraded"
        if view is not None:
            state["revision"] = view.snapshot.revision
        if view is None or self._draining():
            state["status"] = "draining" if self._draining() else "starting"
        exchange.send_json(200 if state["status"] == "ready" else 503, _ENCODER.encode(state))

    async def metrics(self, exchange: Exchange) -> None:
        """Answer with the counts."""
        body = self._render()
        exchange.start(200, [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")], len(body))
        exchange.send_part(body if exchange.method != b"HEAD" else b"", len(body))
        exchange.finish(chunked=False)
