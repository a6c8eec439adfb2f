"""Makes, checks and restores backups of an installation's database."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from techstone import __version__
from techstone.adapters import backup_file
from techstone.adapters.internal import answers
from techstone.adapters.vault import Vault
from techstone.control.acts import Actor, act_as, acting
from techstone.core.backup import BackupError, Head, Manifest, Packer, Rows, Table, Unpacker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from techstone.adapters.storage.backup import Source, Target
    from techstone.app.place import Place


class Restored(msgspec.Struct, frozen=True):
    """What was restored; `aside` is where the old database is now; `opens`: what is sealed can be opened here."""

    manifest: Manifest
    aside: str | None
    opens: bool


async def make(place: Place, file: Path | None, stdout: BinaryIO) -> Manifest:
    """Write a backup to a file (its whole path), or to stdout; raise BackupError, StoreError, ConfigError."""
    async with _open_source(place, place.data if file is None else file.parent) as source:
        if file is None:
            return await _write(source, stdout, _name_key(place))
        with _naming(file), backup_file.writing(file) as out:
            return await _write(source, out, _name_key(place))


async def _write(source: Source, out: BinaryIO, secret: str | None) -> Manifest:
    moment = source.moment
    packer = Packer(Head(schema=moment.schema, made_at=moment.at, made_by=__version__, database=source.kind))
    _put(out, packer.begin())
    for layout in moment.layouts:
        _put(out, packer.open(layout.table))
        async for rows in source.read(layout):
            _put(out, packer.add(rows))
    manifest, rest = packer.finish(moment.facts, secret)
    _put(out, rest, last=True)
    return manifest


def _put(out: BinaryIO, data: bytes, *, last: bool = False) -> None:
    """Write; what fails here is the backup's, not the database's."""
    try:
        out.write(data)
        if last:
            out.flush()
    except OSError as error:
        raise BackupError(error.strerror or str(error)) from error


def check(file: Path) -> Manifest:
    """Read a backup whole; return its manifest, which holds; raise BackupError."""
    with _naming(file):
        unpacker = Unpacker()
        for _ in backup_file.read(file, unpacker):
            pass
        return unpacker.end()


async def restore(place: Place, file: Path, *, replace: bool) -> Restored:
    """Put a backup in place of the database, or raise BackupError, StoreError, ConfigError, and change nothing."""
    if answers(place.internal_socket):
        raise BackupError(f"the service runs on {place.data}: stop it first")
    manifest = check(file)
    act_as(Actor("command line"))
    told = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(manifest.head.made_at))
    with acting("backup.restore", file.name, made_at=told, revision=manifest.facts.revision), _naming(file):
        async with _open_target(place, manifest.head.schema, replace=replace) as target:
            again = await _load(file, target)
            if again != manifest:
                raise BackupError("it was changed meanwhile")
            aside = await target.finish(manifest, int(time.time()))
    return Restored(manifest, aside, manifest.secret in {None, _name_key(place)})


async def _load(file: Path, target: Target) -> Manifest:
    unpacker = Unpacker()
    for said in backup_file.read(file, unpacker):
        if isinstance(said, Table):
            await target.open(said)
        elif isinstance(said, Rows):
            await target.add(said.rows)
    return unpacker.end()


def _open_source(place: Place, folder: Path) -> AbstractAsyncContextManager[Source]:
    server = place.find_server()
    if server is None:
        from techstone.adapters.storage import sqlite_backup  # noqa: PLC0415 - the other one's libraries are not loaded

        return sqlite_backup.open_source(place.database, folder)
    from techstone.adapters.storage import postgres_backup  # noqa: PLC0415 - the same

    return postgres_backup.open_source(server)


def _open_target(place: Place, schema: str, *, replace: bool) -> AbstractAsyncContextManager[Target]:
    server = place.find_server()
    if server is None:
        from techstone.adapters.storage import sqlite_backup  # noqa: PLC0415 - the same

        place.prepare()
        return sqlite_backup.open_target(place.database, schema, replace=replace)
    from techstone.adapters.storage import postgres_backup  # noqa: PLC0415 - the same

    return postgres_backup.open_target(server, schema, replace=replace)


def _name_key(place: Place) -> str | None:
    return Vault(place.data, os.environ).name_key()


@contextlib.contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Name the file in what is wrong with it."""
    try:
        yield
    except BackupError as error:
        said = str(error)
        raise BackupError(said if said.startswith(str(file)) else f"{file}: {said}") from error
