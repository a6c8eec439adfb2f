"""What each engine tells of itself: where its health is asked, and by which names its load is read.

The names were read in the engines' own source and documents in 2026-11; a name that an engine does not have yet, or any
more, is not an error. Prometheus' text format is read here and not by prometheus-client: that takes 17 ms for the
100 KB of a vLLM, in which the requests of a gateway would wait, and this 0.05 ms, since it looks for few names.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from techstone.core.snapshot import Routing

# More series than this of one name no engine has: one for each data-parallel rank and each model.
_SERIES = 1024
_LABEL = re.compile(rb'([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"')
# Ranks that work on the same requests: each may tell them, and they are still the same.
_SHARED = frozenset((b"tp_rank", b"pp_rank", b"moe_ep_rank", b"attn_tp_rank"))


class Load(msgspec.Struct, frozen=True):
    """What an engine says: requests that it works on, that wait, and how full its KV cache is, 0 to 1."""

    running: int
    waiting: int
    cache: float | None = None


class Engine(msgspec.Struct, frozen=True):
    """How an engine is asked. Paths are from the address without its `/v1`, or (`rooted`) from the root.

    Of several names for one thing the first that is there counts. `nested`: those that wait are among the running.
    `apart`: its metrics are at a port of their own. `pace`: they are read at every so many checks.
    """

    health: str
    running: tuple[bytes, ...] = ()
    waiting: tuple[bytes, ...] = ()
    cache: tuple[bytes, ...] = ()
    nested: bool = False
    rooted: bool = False
    apart: bool = False
    pace: int = 1


ENGINES: dict[str, Engine] = {
    # vllm/v1/metrics/loggers.py; vllm/entrypoints/serve/instrumentator/health.py: 503 once the engine is dead. The
    # cache's gauge was gpu_cache_usage_perc before 0.10.
    "vllm": Engine(
        "/health",
        (b"vllm:num_requests_running",),
        (b"vllm:num_requests_waiting",),
        (b"vllm:kv_cache_usage_perc", b"vllm:gpu_cache_usage_perc"),
    ),
    # docs.sglang.io/docs/references/production_metrics; needs --enable-metrics.
    "sglang": Engine(
        "/health",
        (b"sglang:num_running_reqs",),
        (b"sglang:num_queue_reqs",),
        (b"sglang:token_usage",),
    ),
    # docs.ray.io/en/latest/serve/monitoring.html; --metrics-export-port. The proxy's requests include those that wait
    # (2.60: 5, of which 3 waited). Told anew every 10 s, in 560 KB. Names of a vLLM in it have underscores for colons.
    "ray-serve": Engine(
        "/-/healthz",
        (b"ray_serve_num_ongoing_http_requests",),
        (b"ray_serve_deployment_queued_queries",),
        (b"ray_vllm_kv_cache_usage_perc", b"ray_vllm_gpu_cache_usage_perc", b"ray_vllm:kv_cache_usage_perc"),
        nested=True,
        rooted=True,
        apart=True,
        pace=5,
    ),
    # llama.cpp, tools/server/README.md; needs --metrics. kv_cache_usage_ratio went in 2025 (llama.cpp#14363 and after).
    "llama.cpp": Engine(
        "/health",
        (b"llamacpp:requests_processing",),
        (b"llamacpp:requests_deferred",),
        (b"llamacpp:kv_cache_usage_ratio",),
    ),
    # github.com/ollama/ollama/blob/main/docs/api.md: it tells no load, so that our own count is all there is.
    "ollama": Engine("/api/version"),
}


def route(kind: str) -> Routing:
    """Return how replicas of a kind are chosen from, if nobody says otherwise."""
    return "affinity" if kind in ENGINES else "weighted"


def read_load(engine: Engine, text: bytes) -> Load | None:
    """Return the load that metrics in Prometheus' text format tell; None where they tell none."""
    running, waiting = _sum(engine.running, text), _sum(engine.waiting, text)
    if running is None and waiting is None:
        return None
    working, queued = int(running or 0), int(waiting or 0)
    if engine.nested:
        working = max(0, working - queued)
    full = [value for name in engine.cache for value, _ in _find(name, text)]
    return Load(working, queued, max(full) if full else None)


def _sum(names: tuple[bytes, ...], text: bytes) -> float | None:
    """Return the sum over models and data-parallel ranks; ranks that share their requests count once."""
    for name in names:
        found: dict[tuple[tuple[bytes, bytes], ...], float] = {}
        for value, labels in _find(name, text):
            # SGLang's --enable-priority-scheduling tells each priority beside the whole, whose priority is "".
            if any(label == b"priority" and told for label, told in labels):
                continue
            group = tuple(label for label in labels if label[0] not in _SHARED)
            found[group] = max(value, found.get(group, 0.0))
        if found:
            return sum(found.values())
    return None


def _find(name: bytes, text: bytes) -> Iterator[tuple[float, list[tuple[bytes, bytes]]]]:
    """Yield value and labels of each sample of that very name; what is no number of requests is left out."""
    at = text.find(name)
    for _ in range(_SERIES):
        if at < 0:
            return
        after = at + len(name)
        if (at == 0 or text[at - 1 : at] == b"\n") and text[after : after + 1] in (b"{", b" ", b"\t"):
            end = text.find(b"\n", after)
            labels, _, rest = text[after : end if end >= 0 else len(text)].rpartition(b"}")
            try:
                value = float(rest.split()[0])
            except (ValueError, IndexError):
                value = math.nan
            if 0 <= value < math.inf:
                yield value, _LABEL.findall(labels)
        at = text.find(name, after)
