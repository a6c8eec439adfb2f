"""What pages are made with beside text: style, script, fonts, mark. Each by an address that changes when it does."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import msgspec

FOLDER = Path(__file__).parent / "assets"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".woff2": "font/woff2"}


class Asset(msgspec.Struct, frozen=True):
    """A file: its media type and its bytes, as they are: the gateway passes no compressed answer on."""

    media_type: str
    data: bytes


@cache
def read(name: str) -> Asset | None:
    """Return a file by its path below the folder; None where there is none of ours."""
    path = (FOLDER / name).resolve()
    if not path.is_relative_to(FOLDER) or path.suffix not in _TYPES or not path.is_file():
        return None
    return Asset(_TYPES[path.suffix], path.read_bytes())


@cache
def locate(name: str) -> str:
    """Return the address of a file; raise KeyError where there is none."""
    found = read(name)
    if found is None:
        raise KeyError(name)
    return f"/docs/assets/{name}?v={hashlib.sha256(found.data).hexdigest()[:12]}"
