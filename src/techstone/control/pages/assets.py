"""What pages are made with beside their text: style, script, fonts. Each by an address that changes when it does."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import Path

import msgspec

FOLDER = Path(__file__).parent / "assets"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".woff2": "font/woff2"}
_COMPRESSED = frozenset((".css", ".js"))


class Asset(msgspec.Struct, frozen=True):
    """A file: its media type, its bytes as they are and by gzip (b"" where that would gain nothing)."""

    media_type: str
    data: bytes
    gzipped: bytes


@cache
def read(name: str) -> Asset | None:
    """Return a file by its path below the folder; None where there is none of ours."""
    path = (FOLDER / name).resolve()
    if not path.is_relative_to(FOLDER) or path.suffix not in _TYPES or not path.is_file():
        return None
    data = path.read_bytes()
    return Asset(_TYPES[path.suffix], data, gzip.compress(data, mtime=0) if path.suffix in _COMPRESSED else b"")


@cache
def locate(name: str) -> str:
    """Return the address of a file; raise KeyError where there is none."""
    found = read(name)
    if found is None:
        raise KeyError(name)
    return f"/docs/assets/{name}?v={hashlib.sha256(found.data).hexdigest()[:12]}"
