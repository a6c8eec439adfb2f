"""Writes the model card: `README.md` from `card.txt`, and its picture, `curve.svg`."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluate import TRIES, Result
from questions import read_questions
from speed import Speed

HERE = Path(__file__).parent
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 640, 260, 44, 30
_MOST = 8.0


@dataclass(frozen=True)
class Measured:
    """Paces, seconds from start to first answer, bytes of the engine and of the file, seconds of the training."""

    paces: Speed
    started: float
    engine: int
    file: int
    training: float

    @property
    def missed(self) -> list[str]:
        """Return what is worse than it may be, on two cores: people wait for it, or have no room for it."""
        bounds = (
            ("first words within 150 ms", self.paces.first_p95 <= 0.15),
            ("50 tokens/s of each of eight streams", self.paces.each_of_eight_least >= 50),
            ("start to first answer in 3 s", self.started <= 3),
            ("an engine of 200 MB", self.engine <= 200e6),
            ("a file of 16 MB", self.file <= 16e6),
            ("training in 90 minutes", self.training <= 90 * 60),
        )
        return [told for told, held in bounds if not held]


def write(run: dict[str, Any], found: Result, measured: Measured) -> None:
    """Write both."""
    (HERE / "curve.svg").write_text(draw(run["curve"], run["steps"]), "utf-8")
    text = (HERE / "card.txt").read_text("utf-8").format(**_describe(run, found, measured))
    (HERE / "README.md").write_text(text, "utf-8")


def draw(curve: list[dict[str, float]], steps: int) -> str:
    """Return the picture: loss of the codes by step, of what is learned from and of questions that were kept back."""
    across, up = _WIDTH - _LEFT - 12, _HEIGHT - _BOTTOM - 12

    def place(step: float, loss: float) -> str:
        return f"{_LEFT + across * step / steps:.1f},{12 + up * (1 - min(loss, _MOST) / _MOST):.1f}"

    def line(name: str) -> str:
        return " ".join(place(point["step"], point[name]) for point in curve if name in point)

    rules = "".join(
        f'<path d="M{_LEFT} {12 + up * (1 - loss / _MOST):.1f}H{_WIDTH - 12}" stroke="#8884" stroke-width="1"/>'
        f'<text x="{_LEFT - 8}" y="{16 + up * (1 - loss / _MOST):.1f}" text-anchor="end">{loss}</text>'
        for loss in range(0, int(_MOST) + 1, 2)
    )
    marks = "".join(
        f'<text x="{_LEFT + across * part / 4:.1f}" y="{_HEIGHT - 10}" text-anchor="middle">'
        f"{steps * part // 4:,}</text>"
        for part in range(5)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'aria-label="Loss by training step" font-family="system-ui, sans-serif" font-size="12" fill="#777">'
        f"{rules}{marks}"
        f'<polyline points="{line("loss")}" fill="none" stroke="#3b6fd4" stroke-width="2"/>'
        f'<polyline points="{line("held")}" fill="none" stroke="#d4803b" stroke-width="2" stroke-dasharray="5 4"/>'
        f'<text x="{_WIDTH - 20}" y="28" text-anchor="end" fill="#3b6fd4">learned from</text>'
        f'<text x="{_WIDTH - 20}" y="44" text-anchor="end" fill="#d4803b">kept back</text>'
        "</svg>\n"
    )


def _describe(run: dict[str, Any], found: Result, measured: Measured) -> dict[str, str]:
    (right, asked), (told, foreign) = found.share(outside=False), found.share(outside=True)
    rows = "\n".join(f"| {topic} | {good} of {count} |" for topic, (good, count) in found.topics.items())
    found_last = [point["found"] for point in run["curve"] if "found" in point][-1]
    paces = measured.paces
    return {
        "parameters": f"{run['parameters']:,}",
        "millions": f"{run['parameters'] / 1e6:.1f}",
        "file": f"{measured.file / 1e6:.1f} MB",
        "intents": f"{run['intents']:,}",
        "questions": f"{run['questions']:,}",
        "training": f"{run['steps']:,} steps of {run['batch']} dialogues, seed {run['seed']}, "
        f"{run['seconds'] / 60:.0f} minutes on {_name_device(run['device'])}, {run['memory'] / 1e9:.1f} GB of memory",
        "found": f"{found_last:.0%}",
        "inside": f"{right} of {asked} ({right / asked:.0%})",
        "outside": f"{told} of {foreign} ({told / foreign:.0%})",
        "circles": f"{found.circles} of {asked + foreign}",
        "spec": ", ".join(f"{count} of {TRIES} at temperature {at}" for at, count in found.spec.items()),
        "total": f"{len(read_questions())}",
        "rows": rows,
        "first": f"{paces.first_median * 1000:.0f} ms, 95 of 100 within {paces.first_p95 * 1000:.0f} ms",
        "alone": f"{paces.alone:.0f} tokens/s",
        "eight": f"{paces.each_of_eight_median:.0f} tokens/s each, the slowest {paces.each_of_eight_least:.0f}",
        "started": f"{measured.started:.1f} s",
        "engine": f"{measured.engine / 1e6:.0f} MB",
        "machine": f"{os.cpu_count()} cores, {_name_processor()}",
    }


def _name_device(device: str) -> str:
    return "a GPU" if device == "cuda" else f"{os.cpu_count()} cores without a GPU"


def _name_processor() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()
