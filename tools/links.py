"""Finds dead links: every relative link in a Markdown file of ours must lead to a file, and to its heading."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*$", re.MULTILINE)


def list_files() -> list[Path]:
    """Return the Markdown files that belong to the repository, new ones included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603 - fixed words
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).exists()]


def find_anchors(text: str) -> set[str]:
    """Return the anchors that the headings of a text get."""
    headings = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(text))
    return {heading.strip().replace(" ", "-") for heading in headings}


def check(file: Path) -> list[str]:
    """Return a line for each dead link of a file."""
    found = []
    for target in _LINK.findall(_CODE.sub("", file.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue  # other hosts are not ours to keep alive, and a check must not need the network
        path, _, anchor = target.partition("#")
        other = (file.parent / path).resolve() if path else file
        if not other.exists():
            found.append(f"{file.relative_to(ROOT)}: {target} leads nowhere")
        elif anchor and other.suffix == ".md" and anchor not in find_anchors(other.read_text("utf-8")):
            found.append(f"{file.relative_to(ROOT)}: {target} has no such heading")
    return found


def main() -> int:
    """Check all; the exit status is 1 if a link is dead."""
    dead = [line for file in list_files() for line in check(file)]
    print("\n".join(dead), end="\n" if dead else "")  # noqa: T201 - a command's output
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main())
