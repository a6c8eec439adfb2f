"""The default of a fresh clone: no configuration, no provider, the built-in model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from service import serving

EVALUATE = Path(__file__).parents[2] / "models" / "nano" / "evaluate.py"


def test_built_in_model_answers_with_sense(tmp_path: Path) -> None:
    """The product spec's question and twenty others, asked for `gpt-4o` as in its examples, in other words."""
    with serving(tmp_path, "[engine]\n") as service:
        done = subprocess.run(
            [sys.executable, str(EVALUATE), f"{service.url}/v1", service.key, "--model", "gpt-4o"],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout
        _, body, headers = service.chat({"max_tokens": 100})
        assert headers["x-techstone-served-by"] == "engine/techstone-nano"
        assert body["choices"][0]["finish_reason"] == "stop"
        print(done.stdout.splitlines()[-1], f"start to first words: {service.started_in:.2f} s")
