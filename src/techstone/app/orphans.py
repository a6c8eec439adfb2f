"""Journals of gateways that are no more: `workers` was lowered, and what the last ones served is booked all the same.

Each is read by a command of its own, as an operator's would be: what lies on the disk is not read in the process that
serves, and a damaged journal stops nothing. However lately they were heard (the last life ended seconds ago): these
folders are the gateways' own and no copies, so their locks tell whether they run.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from techstone.app.place import Place


class _Told(msgspec.Struct):
    """What `techstone journal ship` tells of it (`adapters.journal.orphan.Shipped`)."""

    booked: int


def list_folders(place: Place) -> list[Path]:
    """Return the folders of workers that there were and are not any more, by number."""
    workers = place.config.server.workers
    found = {int(path.name[7:]): path for path in place.data.glob("worker-*") if path.name[7:].isdecimal()}
    return [folder for number, folder in sorted(found.items()) if number > workers and (folder / "journal").is_dir()]


async def book(place: Place, where: tuple[str, ...], say: Callable[[str], None]) -> None:
    """Book what is left in them, one after the other; tell what was, and what could not be. `where` are options."""
    for folder in list_folders(place):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "techstone", "journal", "ship", str(folder), "--force", *where, "--json"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        told, complained = await process.communicate()
        if process.returncode:
            reason = complained.decode(errors="replace").strip().removeprefix("Error: ")
            say(f"{folder.name}: its usage is not booked: {reason}")
            say(f"Once that is mended: techstone journal ship {folder}")
            continue
        if complained:
            say(f"{folder.name}: {complained.decode(errors='replace').strip()}")
        if booked := msgspec.json.decode(told, type=_Told).booked:
            say(f"{folder.name}, which is no more, had usage that was not booked: {booked:,} records, booked now")
