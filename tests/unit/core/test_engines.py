"""What engines tell of their load. The texts are theirs, shortened; from which version and where stands at each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.core.engines import ENGINES, Load, read_load, route

# vLLM, its first engine, read 2025-03: github.com/vllm-project/production-stack/issues/318. The numbers are ours.
VLLM_OLD = b"""\
# HELP process_open_fds Number of open file descriptors.
# TYPE process_open_fds gauge
process_open_fds 45.0
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{model_name="Qwen/Qwen2.5-Coder-32B-Instruct"} 4.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{model_name="Qwen/Qwen2.5-Coder-32B-Instruct"} 2.0
# HELP vllm:gpu_cache_usage_perc GPU KV-cache usage. 1 means 100 percent usage.
# TYPE vllm:gpu_cache_usage_perc gauge
vllm:gpu_cache_usage_perc{model_name="Qwen/Qwen2.5-Coder-32B-Instruct"} 0.5
# HELP vllm:gpu_prefix_cache_queries_total GPU prefix cache queries, in terms of number of queried blocks.
"""
# vLLM since 0.10, not recorded but written by hand: names as in vllm/v1/metrics/loggers.py, labels with one `engine`
# for each data-parallel rank as in github.com/vllm-project/vllm/pull/22227, with both gauges of the cache.
VLLM_NEW = b"""\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="/models/qwen3-8b"} 3.0
vllm:num_requests_running{engine="1",model_name="/models/qwen3-8b"} 1.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="/models/qwen3-8b"} 0.0
vllm:num_requests_waiting{engine="1",model_name="/models/qwen3-8b"} 5.0
vllm:num_requests_waiting_by_reason{engine="1",model_name="/models/qwen3-8b",reason="capacity"} 5.0
# TYPE vllm:gpu_cache_usage_perc gauge
vllm:gpu_cache_usage_perc{engine="0",model_name="/models/qwen3-8b"} 0.25
vllm:gpu_cache_usage_perc{engine="1",model_name="/models/qwen3-8b"} 0.75
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="/models/qwen3-8b"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="/models/qwen3-8b"} 0.75
"""
# SGLang's own example: docs.sglang.io/references/production_metrics.html, read 2026-11.
SGLANG = b"""\
# HELP sglang:token_usage The token usage
# TYPE sglang:token_usage gauge
sglang:token_usage{model_name="meta-llama/Llama-3.1-8B-Instruct"} 0.28
sglang:func_latency_seconds_bucket{le="+Inf",name="generate_request"} 14007.0
# HELP sglang:num_running_reqs The number of running requests
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name="meta-llama/Llama-3.1-8B-Instruct"} 162.0
# HELP sglang:num_queue_reqs The number of requests in the waiting queue
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{model_name="meta-llama/Llama-3.1-8B-Instruct"} 2826.0
"""
# Ray 2.60.0, recorded by us: one deployment with max_ongoing_requests=2, asked for five answers at once. Without ids.
RAY = b"""\
# HELP ray_serve_deployment_queued_queries The current number of queries to this deployment waiting to be assigned.
# TYPE ray_serve_deployment_queued_queries gauge
ray_serve_deployment_queued_queries{Component="core_worker",Version="2.60.0",application="slow",deployment="Slow",\
handle="jz75jigs",otel_scope_version=""} 3.0
ray_serve_replica_processing_queries{Component="core_worker",Version="2.60.0",application="slow",deployment="Slow",\
replica="cdtd7qkk"} 2.0
# HELP ray_serve_num_ongoing_http_requests The number of ongoing requests in this HTTP proxy.
# TYPE ray_serve_num_ongoing_http_requests gauge
ray_serve_num_ongoing_http_requests{Component="core_worker",Version="2.60.0",otel_scope_version=""} 5.0
"""
# The llama.cpp of xllamacpp, recorded by us: one slot, four requests. tests/system/test_replicas.py asks it itself.
LLAMA = b"""\
# HELP llamacpp:n_tokens_max Largest observed sequence length (prompt + generation)
# TYPE llamacpp:n_tokens_max counter
llamacpp:n_tokens_max 335
# HELP llamacpp:requests_processing Number of requests processing
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 1
# HELP llamacpp:requests_deferred Number of requests deferred
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 3
# HELP llamacpp:n_busy_slots_per_decode Average number of busy slots per llama_decode() call
"""


@pytest.mark.parametrize(
    ("kind", "text", "load"),
    [
        ("vllm", VLLM_OLD, Load(4, 2, 0.5)),
        ("vllm", VLLM_NEW, Load(4, 5, 0.75)),
        ("sglang", SGLANG, Load(162, 2826, 0.28)),
        ("ray-serve", RAY, Load(2, 3)),
        ("llama.cpp", LLAMA, Load(1, 3)),
        ("llama.cpp", LLAMA + b"llamacpp:kv_cache_usage_ratio 0.5\n", Load(1, 3, 0.5)),
        ("ollama", LLAMA, None),
        ("vllm", LLAMA, None),
    ],
)
def test_load_is_read_from_what_an_engine_tells(kind: str, text: bytes, load: Load | None) -> None:
    """Requests of all ranks together, the fullest cache; who waits at Ray's proxy is not running, too."""
    assert read_load({str(name): engine for name, engine in ENGINES.items()}[kind], text) == load


def test_ranks_that_share_their_requests_count_once() -> None:
    """SGLang tells each tensor-parallel rank, and with priorities each of them beside the whole."""
    text = b"""\
sglang:num_running_reqs{dp_rank="0",priority="",tp_rank="0"} 6.0
sglang:num_running_reqs{dp_rank="0",priority="",tp_rank="1"} 6.0
sglang:num_running_reqs{dp_rank="0",priority="1",tp_rank="0"} 4.0
sglang:num_running_reqs{dp_rank="1",priority="",tp_rank="0"} 2.0
"""
    assert read_load(ENGINES["sglang"], text) == Load(8, 0)


@pytest.mark.parametrize(
    "text", ["{} -1", "{} +Inf", "{} nan", "{}", "{} ", '{}{{a="b"}}', '{}{{a="b"', "{}_by_reason 7", "x{} 7", "# {} 7"]
)
def test_what_is_no_number_of_requests_is_left_out(text: str) -> None:
    """An engine that tells nonsense, or of something else, has told nothing."""
    assert read_load(ENGINES["vllm"], text.format("vllm:num_requests_running").encode()) is None


@given(st.binary(), st.sampled_from(sorted(ENGINES)))
def test_any_bytes_are_read(text: bytes, kind: str) -> None:
    """Of whatever a server answers there is a load or none, and never an error."""
    engine = {str(name): engine for name, engine in ENGINES.items()}[kind]
    for name in (*engine.running, *engine.waiting, *engine.cache):
        load = read_load(engine, b"\n" + name + text)
        assert load is None or (load.running >= 0 and load.waiting >= 0)


def test_engines_keep_conversations_and_others_are_weighted() -> None:
    """Where nobody says otherwise."""
    assert [route("vllm"), route("ollama"), route("openai"), route("engine")] == ["affinity"] * 2 + ["weighted"] * 2
