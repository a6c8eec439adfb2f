"""llama.cpp's own OpenAI server, from the wheel `xllamacpp`: continuous batching over a fixed number of slots.

Listens on the loopback only and answers only to the key of this start: other users of the machine can connect there.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import xllamacpp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from techstone.engine.options import EngineOptions

# prctl(2): the signal that the kernel sends when the parent dies.
_PR_SET_PDEATHSIG = 1
_PARENT = "TECHSTONE_PARENT"
# llama.cpp's batch for prompts; its compute buffers grow with it (measured: 512 instead of 2048 saves 60 MB).
_BATCH = 512
# Below this size of its file a model runs on one thread, and reads a prompt again sooner than it is found.
_SMALL = 64 * 1024 * 1024
# Requests at a time. The memory of their contexts is taken at the start: 13 MB each for techstone-nano, which answers
# eight of them faster than anybody reads; a gigabyte each for a model of billions.
_PARALLEL, _PARALLEL_SMALL = 4, 8
_GGUF = b"GGUF"
# llama.cpp keeps old prompts, by default in up to 8 GiB (measured: 1.1 GB after 240 prompts to an 8 M model).
_PROMPT_CACHE_MIB = 512
_QUIET = -1
_WATCH_SECONDS = 1.0


class EngineError(Exception):
    """The engine cannot serve: one line for the operator."""


def serve(options: EngineOptions) -> None:
    """Load the model and serve until SIGTERM or SIGINT; raise EngineError."""
    _follow_parent()
    _check_model(Path(options.model))
    stopping = {signal.SIGTERM, signal.SIGINT}
    # Blocked before llama.cpp starts its threads, so that the signal comes to `sigwait` and to nobody else.
    signal.pthread_sigmask(signal.SIG_BLOCK, stopping)
    with _silence():
        try:
            _alive = xllamacpp.Server(_parametrise(options))
        except (RuntimeError, ValueError) as error:
            raise EngineError(
                f"{options.model} cannot be served on port {options.port}: the file is damaged, llama.cpp does not "
                f"know its kind, or the port is taken; replace it, or correct engine.model ({error})"
            ) from error
    signal.sigwait(stopping)
    # At once, with the server alive: its destructor waits for every answer in progress, and for one that nobody reads
    # without end. Nothing here is worth saving.
    os._exit(0)


def _parametrise(options: EngineOptions) -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.model_alias = {options.alias}
    params.hostnames = [options.host]
    params.port = options.port
    params.api_keys = [options.api_key]
    params.n_parallel = options.parallel or (_PARALLEL_SMALL if _is_small(options.model) else _PARALLEL)
    params.n_ctx = options.context * params.n_parallel
    params.n_batch = params.n_ubatch = _BATCH
    params.n_predict = -1
    params.use_jinja = True
    params.warmup = False
    # A prompt and its answer that reach the end of the context end there: finish_reason "length", never for ever.
    params.ctx_shift = False
    # The last message of the assistant is history, as with OpenAI; llama.cpp would write it on.
    params.prefill_assistant = False
    params.ui = False
    params.endpoint_slots = False
    params.cache_ram_mib = 0 if _is_small(options.model) else _PROMPT_CACHE_MIB
    params.verbosity = _QUIET
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads or _choose_threads(options.model)
    return params


def _choose_threads(model: str) -> int:
    """Return how many threads are worth it.

    They wait for each other at every layer, which costs more than a small layer's work (measured on two busy cores:
    108 ms a token with two threads, 0.1 ms with one).
    """
    if _is_small(model):
        return 1
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _is_small(model: str) -> bool:
    return Path(model).stat().st_size < _SMALL


def _check_model(path: Path) -> None:
    """Raise EngineError for what is no model at all: llama.cpp's own message would be twenty lines."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise EngineError(f"{path}: {error.strerror}; correct engine.model in the configuration") from error
    if magic != _GGUF:
        raise EngineError(f"{path} is no GGUF file; correct engine.model in the configuration")


def _follow_parent() -> None:
    """End with the process that started this one, also when it is killed, and while a model loads: nothing is lost."""
    parent = os.environ.pop(_PARENT, None)
    if parent is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    else:
        threading.Thread(target=_watch_parent, args=(int(parent),), daemon=True).start()
    if os.getppid() != int(parent):
        sys.exit(0)


def _watch_parent(parent: int) -> None:
    """Do what prctl does, where there is none: an orphan gets another parent."""
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(0)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep llama.cpp's banner off the operator's terminal while it loads."""
    saved = os.dup(2)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(quiet)
