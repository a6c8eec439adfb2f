"""`make bench`: our gateway beside nginx, and LiteLLM where LITELLM_VENV points to one. One table, one file.

The server under test has one core, load and upstream the other. CPU time is what the kernel accounts to the server's
whole process tree, control plane and supervisor included. Ratios are to nginx in the same round; figures are the median
of the rounds. Timings never decide whether a test passes.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from limits import compare_limits
from load import CONNECTIONS, Figures, hold_idle_streams, measure, pace, sustain
from seed import Shape, fill
from servers import SEARCH, Server, fixed_upstream, floor, litellm, seeded, sse_upstream, techstone
from visit import EMAIL, PASSWORD, Person, clicking, find_pages, log_in, tell_pages, time_page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

RESULTS = Path(__file__).parent / "results"
BOOKS = Path(__file__).parents[1] / "build" / "books"
IDLE_STREAMS = 1000
PARTS = ("small", "stream", "steady", "limits", "weight", "console")
PAGE_TIMES, SLOW = 15, 0.2
PEOPLE, CLICK_SECONDS = 50, 3.0
TURNS, TURN_SECONDS = 3, 15
STEADY_SECONDS = 60
_WIDTHS = (18, 10, 12, 9, 9, 9, 8, 6)
_COLUMNS = ("server", "requests/s", "CPU µs/req", "p50 ms", "p99 ms", "RSS MB", "ratio", "bad")


def main() -> None:
    """Run all rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--only", choices=PARTS, help="a part; its figures are not kept")
    parser.add_argument("--books", type=Path, default=BOOKS, help="a folder of bench/seed.py's; made if there is none")
    arguments = parser.parse_args()
    missing = [name for name in ("nginx", "wrk", "taskset", "redis-server") if not shutil.which(name, path=SEARCH)]
    if missing:
        raise SystemExit(
            f"bench: missing {' '.join(missing)}; on Debian: apt-get install nginx wrk util-linux redis-server"
        )
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("bench: two cores are needed, one for the server under test and one for the load")
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    runs = f"{CONNECTIONS} connections · median of {arguments.rounds} rounds of {arguments.seconds} s"
    lines = [f"{when} · {platform.machine()} · Python {platform.python_version()} · {runs}"]
    print(lines[0])
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        for line in _measure(Path(name), cores, arguments):
            print(line, flush=True)
            lines.append(line)
    if not arguments.only:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{time.strftime('%Y-%m-%d')}.txt").write_text("\n".join(lines) + "\n")


def _measure(folder: Path, cores: list[int], arguments: argparse.Namespace) -> Iterator[str]:
    if arguments.only in {None, "small"}:
        yield from ("", "Small chat request, not streamed")
        yield from compare(folder, cores, arguments, stream=False)
    if arguments.only in {None, "stream"}:
        yield from ("", "Stream of 100 chunks, one every 2 ms")
        yield from compare(folder, cores, arguments, stream=True)
    if arguments.only in {None, "steady"}:
        yield ""
        yield from endure(folder, cores)
    if arguments.only in {None, "limits"}:
        yield from compare_limits(folder, cores, arguments.rounds, arguments.seconds)
    if arguments.only in {None, "weight"}:
        yield ""
        yield from weigh(folder, cores)
    if arguments.only in {None, "console"}:
        yield ""
        yield from visit(folder, cores, arguments.books)


def compare(folder: Path, cores: list[int], arguments: argparse.Namespace, *, stream: bool) -> Iterator[str]:
    """Yield the lines of one table."""
    found: dict[str, list[Figures]] = {}
    for number in range(arguments.rounds):
        base = folder / f"{number}-{stream}"
        with (sse_upstream if stream else fixed_upstream)(base / "upstream", cores[1]) as upstream:
            for server in _contenders(base, cores[0], upstream.port, stream=stream):
                with server as running:
                    figures = measure(running, base, cores[1], arguments.seconds, stream=stream)
                    found.setdefault(running.name, []).append(figures)
    yield "  ".join(f"{name:>{width}}" for name, width in zip(_COLUMNS, _WIDTHS, strict=True))
    floors = next(iter(found.values()))
    for name, rounds in found.items():
        ratios = [ours.cpu / nginx.cpu for ours, nginx in zip(rounds, floors, strict=True)]
        cells = (
            name,
            f"{_median(rounds, 'rate'):,.0f}",
            f"{_median(rounds, 'cpu'):,.1f}",
            f"{_median(rounds, 'p50') / 1000:.2f}",
            f"{_median(rounds, 'p99') / 1000:.2f}",
            f"{_median(rounds, 'resident') / 1e6:.0f}",
            f"{statistics.median(ratios):.2f}",
            str(sum(figures.bad for figures in rounds)),
        )
        yield "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
        if name == "TechStone":
            yield f"{'':>18}  ratios of the rounds: {', '.join(f'{ratio:.2f}' for ratio in ratios)}"


def _contenders(base: Path, core: int, upstream: int, *, stream: bool) -> Iterator[AbstractContextManager[Server]]:
    yield floor(base / "nginx", core, upstream, stream=stream)
    yield techstone(base / "techstone", core, upstream)
    venv = os.environ.get("LITELLM_VENV")
    if venv:
        yield litellm(base / "litellm", core, upstream, f"{venv}/bin/litellm")


def endure(folder: Path, cores: list[int]) -> Iterator[str]:
    """Yield whether the ledger keeps up for a minute, on the one core that serves."""
    with (
        fixed_upstream(folder / "steady-upstream", cores[1]) as upstream,
        techstone(folder / "steady", cores[0], upstream.port) as server,
    ):
        figures, lag, booked = sustain(server, folder, cores[1], STEADY_SECONDS)
        yield f"{STEADY_SECONDS} s at a steady {figures.rate:,.0f} requests/s, all on one core, bad {figures.bad}:"
        yield f"  CPU {figures.cpu:.1f} µs/req, p50 {figures.p50 / 1000:.2f} ms, p99 {figures.p99 / 1000:.2f} ms"
        yield f"  the ledger's lag at most {lag:.2f} s, {booked:,} requests booked"


def weigh(folder: Path, cores: list[int]) -> Iterator[str]:
    """Yield what the gateway weighs: its start, itself, a stream that says nothing."""
    with sse_upstream(folder / "idle", cores[1]) as upstream:
        with techstone(folder / "weigh", cores[0], upstream.port, engine=True) as server:
            yield f"start to first 200 on one core, engine included: {server.notes['start']:.2f} s"
            gateway, everything = server.resident(largest=True) / 1e6, server.resident() / 1e6
            yield f"gateway at idle: {gateway:.0f} MB; all processes: {everything:.0f} MB"
        with techstone(folder / "idle-streams", cores[0], upstream.port) as server:
            each = hold_idle_streams(server, IDLE_STREAMS)
            yield f"each of {IDLE_STREAMS} idle streams: {each / 1024:.1f} KB"


def visit(folder: Path, cores: list[int], books: Path) -> Iterator[str]:
    """Yield how long each page of the Console takes on large books, and what 50 people in it do to the API's p99."""
    path = books / "techstone.db"
    if not path.exists():
        yield f"making books of 10,000,000 requests in {books}, once"
        books.mkdir(mode=0o700, parents=True, exist_ok=True)
        fill(path, Shape(10_000_000, 10_000, 10, int(time.time())))
    both = ",".join(map(str, cores[:2]))
    with (
        fixed_upstream(folder / "console-upstream", cores[1]) as upstream,
        seeded(folder / "console", both, upstream.port, books, "acct_0") as server,
    ):
        person = Person(server)
        person.send(server.claim, email=EMAIL, password=PASSWORD)
        person = log_in(server)
        pages = find_pages(person)
        times = {kind: time_page(person, page, PAGE_TIMES) for kind, page in pages.items()}
        slow = sum(statistics.median(seconds) > SLOW for seconds in times.values())
        size = path.stat().st_size / 1e9
        yield f"Console on {size:.1f} GB of books: {len(pages)} kinds of pages, {slow} above {SLOW * 1000:.0f} ms"
        yield f"{'p50 ms':>8}  {'max ms':>8}  page"
        yield from tell_pages(times)
        yield from crowd(server, folder, cores, list(pages.values()))


def crowd(server: Server, folder: Path, cores: list[int], pages: list[str]) -> Iterator[str]:
    """Yield the API's latency at a steady rate without and with people in the Console, in turns."""
    alone, amid, clicks, bad = [], [], 0, 0
    for _ in range(TURNS):
        alone.append(pace(server, folder, cores[1], TURN_SECONDS))
        with clicking(server, pages, PEOPLE, CLICK_SECONDS) as people:
            amid.append(pace(server, folder, cores[1], TURN_SECONDS))
        clicks += sum(len(person.seconds) for person in people)
        bad += sum(person.bad for person in people)
    p99, p99_amid = (statistics.median(one.p99 for one in found) / 1000 for found in (alone, amid))
    p50, p50_amid = (statistics.median(one.p50 for one in found) / 1000 for found in (alone, amid))
    turns = f"API at {alone[0].rate:,.0f} requests/s, {TURNS} turns of {TURN_SECONDS} s"
    yield f"{turns}: p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    yield f"  while {PEOPLE} people click ({clicks:,} pages, {bad} bad): p50 {p50_amid:.2f} ms, p99 {p99_amid:.2f} ms"
    yield f"  p99 changes by {(p99_amid / p99 - 1) * 100:+.0f} %"


def _median(rounds: list[Figures], name: str) -> float:
    return float(statistics.median(getattr(figures, name) for figures in rounds))


if __name__ == "__main__":
    main()
