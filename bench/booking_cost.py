"""What the ledger's bookings cost: PostgreSQL beside SQLite, both durable, by the size of a batch. Prints JSON.

    PYTHONPATH=tests/shared .venv/bin/python bench/booking_cost.py [--seconds 3]

A record is one settled request; accounts and models are many, so that rollups spread as they do in life. CPU of this
process is the control plane's part, CPU of PostgreSQL's processes the server's. WAL is what a replica has to be sent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from postgres import Server
from usage import make_record

from techstone.adapters.storage import postgres, sqlite
from techstone.core.frames import HEAD_SIZE
from techstone.core.usage import UsageRecord, encode

if TYPE_CHECKING:
    from techstone.adapters.storage.store import SqlStore

BATCHES = (1, 100, 1000)
_WHERE = "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"
_ACCOUNTS, _MODELS = 1000, 20
_JOURNAL = "a" * 16
_TICKS = os.sysconf("SC_CLK_TCK")


def make_usage(number: int) -> UsageRecord:
    """Return the record of a request as they are in life: ids of the usual length, of one of many accounts."""
    account = number * 7919 % _ACCOUNTS
    return msgspec.structs.replace(
        make_record(number, tokens=50 + number % 500, at=1_764_000_000_000 + number),
        id=f"req_{number:020x}",
        account=f"acct_{account:020x}",
        key=f"key_{account:020x}",
        model=f"model-{number % _MODELS}",
        upstream_model=f"model-{number % _MODELS}",
    )


def _read_cpu(parent: int) -> float:
    """Return CPU seconds of a process, of its children that live and of those that it has waited for."""
    total = 0
    pids = [parent, *map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())]
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, fields[11:15]))
    return total / _TICKS


async def book(store: SqlStore, size: int, seconds: float, first: int, server: int | None = None) -> dict[str, float]:
    """Book batches of a size for so long; return the figures of a record. `server`: the database's process."""
    number, began, own = first, time.monotonic(), time.process_time()
    before = _read_cpu(server) if server else 0.0
    while time.monotonic() - began < seconds:
        await store.ledger.apply(_JOURNAL, number, [make_usage(one) for one in range(number, number + size)])
        number += size
    took, done = time.monotonic() - began, number - first
    spent = _read_cpu(server) - before if server else 0.0
    return {
        "batch": size,
        "records": done,
        "records_a_second": round(done / took),
        "milliseconds_a_batch": round(took / done * size * 1000, 2),
        "control_cpu_micros": round((time.process_time() - own) / done * 1e6, 1),
        "server_cpu_micros": round(spent / done * 1e6, 1),
    }


async def measure_sqlite(folder: Path, seconds: float) -> dict[str, object]:
    """Return SQLite's figures: its server is this process."""
    store, rows, first = await sqlite.open_store(folder / "t.db"), [], 1
    empty = (folder / "t.db").stat().st_size
    for size in BATCHES:
        rows.append(await book(store, size, seconds, first))
        first += int(rows[-1]["records"])
    await store.close()
    return {"rows": rows, "bytes_a_record": round(((folder / "t.db").stat().st_size - empty) / (first - 1))}


async def measure_postgres(folder: Path, seconds: float) -> dict[str, object]:
    """Return PostgreSQL's figures, over a Unix socket and as durable as it comes."""
    server = Server(inside=folder)
    server.start()
    try:
        name = await server.create_migrated()
        store = await postgres.open_store(server.target(name))
        watching = await server.connect(name)
        process = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
        rows, first = [], 1
        empty = int(await watching.fetchval("SELECT pg_database_size(current_database())"))
        for size in BATCHES:
            before = await watching.fetchval(_WHERE)
            row = await book(store, size, seconds, first, process)
            first += int(row["records"])
            row["wal_bytes"] = round(float(await watching.fetchval(_WHERE) - before) / row["records"])
            rows.append(row)
        full = int(await watching.fetchval("SELECT pg_database_size(current_database())"))
        version = str(await watching.fetchval("SHOW server_version"))
        await watching.close()
        await store.close()
    finally:
        server.remove()
    return {"server": version, "rows": rows, "bytes_a_record": round((full - empty) / (first - 1))}


def main() -> None:
    """Print the figures of both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    seconds = parser.parse_args().seconds
    found: dict[str, object] = {"journal_bytes_a_record": len(encode(make_usage(1))) + HEAD_SIZE}
    with tempfile.TemporaryDirectory(prefix="booking-") as name:
        found["sqlite"] = asyncio.run(measure_sqlite(Path(name), seconds))
        Path(name).chmod(0o755)  # PostgreSQL runs as somebody else where this runs as root
        found["postgres"] = asyncio.run(measure_postgres(Path(name), seconds))
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
