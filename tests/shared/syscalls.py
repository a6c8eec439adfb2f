"""What a program did to files, as strace saw it, to be done again on a disk whose power can fail.

strace tells descriptors with their paths (`-y`) and every string in hexadecimal (`-xx`), so that no file's content can
look like the trace's own words. What is not traced here (renames, holes, mapped files) shows when the files that the
program left are compared with the ones that come of doing it again: whoever uses this does that first.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from power import FragileDisk

# `?`: not on every processor. lseek and write are how a SQLite without pwrite writes.
_TRACED = ("openat", "?open", "lseek", "write", "pwrite64", "ftruncate", "fsync", "fdatasync", "?unlink", "unlinkat")
# The longest write that is told whole.
_LONGEST = 1 << 20
# Failed calls, whose result is negative, are none.
_CALL = re.compile(r"(\w+)\((.*)\) += (\d+)(?:<(.*)>)?")


class Call(NamedTuple):
    """One system call: what it did, to which file; `place` is where it wrote, or the size that it cut to."""

    name: str
    path: Path
    place: int = 0
    data: bytes = b""


def trace(command: list[str], folder: Path, log: Path) -> list[Call]:
    """Run a command; return what it and its children changed in a folder, and what they synced."""
    strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-xx", "-s", str(_LONGEST), "-o", str(log)]
    subprocess.run([*strace, "-e", "trace=" + ",".join(_TRACED), *command], check=True)
    return read_trace(log.read_text(), folder)


def read_trace(text: str, folder: Path) -> list[Call]:
    """Return a trace's calls on a folder and the files in it, in the order in which they ended."""
    begun: dict[str, str] = {}
    places: dict[Path, int] = {}
    calls = []
    for line in text.splitlines():
        thread, _, told = line.partition(" ")
        told = told.lstrip()
        if told.endswith("<unfinished ...>"):
            begun[thread] = told.removesuffix("<unfinished ...>").rstrip()
            continue
        if told.startswith("<... "):
            told = begun.pop(thread) + told.partition(" resumed>")[2]
        found = _CALL.fullmatch(told)
        call = _read_call(found, places) if found else None
        if call is not None and folder in (call.path, call.path.parent):
            calls.append(call)
    return calls


def _read_call(found: re.Match[str], places: dict[Path, int]) -> Call | None:
    name, words, result = found[1], found[2].split(", "), int(found[3])
    match name:
        case "open" | "openat":
            return Call("create", _read_path(found[4])) if "O_CREAT" in found[2] else None
        case "unlink" | "unlinkat":
            return Call("remove", _read_path(words[name == "unlinkat"].strip('"')))
    path = _read_path(words[0].partition("<")[2].partition(">")[0])  # behind it may stand "(deleted)"
    match name:
        case "lseek":
            places[path] = result
            return None
        case "write" | "pwrite64":
            place = int(words[3]) if name == "pwrite64" else places.get(path, 0)
            if name == "write":
                places[path] = place + result
            return Call("write", path, place, _decode(words[1].strip('"'))[:result])
        case "ftruncate":
            return Call("truncate", path, int(words[1]))
    return Call("sync", path)


def _read_path(text: str) -> Path:
    """Return a file's path; pipes and sockets have names that are not in hexadecimal."""
    return Path(os.fsdecode(_decode(text))) if text.startswith("\\x") else Path(text)


def _decode(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


class Replay:
    """Does calls again, one by one, on a disk."""

    def __init__(self, disk: FragileDisk, folder: Path) -> None:
        self.disk = disk
        self._folder = folder
        self._numbers: dict[Path, int] = {}

    def do(self, call: Call) -> None:
        """Do the next call."""
        path = call.path
        match call.name:
            case "create" if path not in self._numbers:
                self._numbers[path] = self.disk.create(path)
            case "write":
                self.disk.write(self._numbers[path], call.data, call.place)
            case "truncate":
                self.disk.truncate(self._numbers[path], call.place)
            case "sync" if path == self._folder:
                self.disk.sync_folder(path)
            case "sync":
                self.disk.sync(self._numbers[path])
            case "remove":
                self.disk.remove(path)
                del self._numbers[path]
