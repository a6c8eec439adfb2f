"""Measures a running server that has nothing else to do: python speed.py BASE_URL KEY prints JSON.

Seconds to the first words of one stream, and tokens a second of one stream and of each of eight at a time, from the
first words of each to its last.
"""

from __future__ import annotations

import argparse
import json
import statistics
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from asking import Server
from questions import read_questions

STREAMS, _EACH = 8, 12
# A shorter answer says little about a rate.
_LEAST = 20


@dataclass(frozen=True)
class Speed:
    """What was measured. `first` in seconds, the rest in tokens a second of one stream."""

    first_median: float
    first_p95: float
    alone: float
    each_of_eight_median: float
    each_of_eight_least: float


def _measure(server: Server, texts: list[str]) -> tuple[list[float], list[float]]:
    """Return for each question the seconds to the first words, and the pace of those that are long enough."""
    firsts, paces = list[float](), list[float]()
    for text in texts:
        first, times = server.follow([("user", text)])
        firsts.append(first)
        if len(times) >= _LEAST:
            paces.append((len(times) - 1) / times[-1])
    return firsts, paces


def measure(server: Server) -> Speed:
    """Measure one after the other, then eight at a time."""
    texts = [question.text for question in read_questions() if not question.before]
    firsts, alone = _measure(server, texts[: STREAMS * _EACH : 2])
    with ThreadPoolExecutor(STREAMS) as pool:
        shares = [texts[at : STREAMS * _EACH : STREAMS] for at in range(STREAMS)]
        # Of all eight only what ran while the others did; each has as much to do.
        paces = [statistics.median(found) for _, found in pool.map(lambda share: _measure(server, share), shares)]
    cut = statistics.quantiles(firsts, n=20)
    return Speed(
        round(statistics.median(firsts), 4),
        round(cut[-1], 4),
        round(statistics.median(alone), 1),
        round(statistics.median(paces), 1),
        round(min(paces), 1),
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("key")
    arguments = parser.parse_args()
    print(json.dumps(asdict(measure(Server(arguments.url, arguments.key)))))


if __name__ == "__main__":
    main()
