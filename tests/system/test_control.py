"""The control process on its own: a real process, its sockets, and a gateway's follower on the other side."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from haste import within

from techstone.adapters.internal import InternalClient, answers
from techstone.adapters.snapshots import SnapshotFollower
from techstone.adapters.storage.sqlite import open_store
from techstone.control.accounts.records import NewAccount
from techstone.control.catalog.records import Catalog
from techstone.control.keys.records import NewKey
from techstone.control.services import Services
from techstone.core import keys
from techstone.core.snapshot import Model, Plan, Provider, Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

CATALOG = Catalog(
    (Plan("pro", 500, 2_000_000, 50, "postpaid"),),
    (Model("m<1>", (Route("up", "x"),), context_window=4096),),
    (Provider("up", "openai", "https://up.example/v1"),),
)
ANN = "ann@example.com"
# What the supervisor starts, without the configuration file: the options come as JSON.
PROGRAM = """
import asyncio, os, signal, sys
from pathlib import Path
import msgspec
from techstone.app.control import ControlOptions, serve
def ready(first):
    print("ready", first.key if first else "-", flush=True)
    if os.path.exists(options.database.with_name("stop")):
        os.kill(os.getpid(), signal.SIGTERM)
options = msgspec.json.decode(sys.argv[1], type=ControlOptions, dec_hook=lambda kind, value: kind(value))
asyncio.run(serve(options, ready))
"""


class Control:
    """One control process on a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.internal = str(folder / "i")
        self.public = str(folder / "p")
        self.first = ""
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start and wait until it is ready."""
        options = {
            "database": str(self.folder / "t.db"),
            "public_socket": self.public,
            "internal_socket": self.internal,
            "public_url": "https://api.example",
            "catalog": CATALOG,
            "outbox": str(self.folder / "outbox"),
        }
        command = [sys.executable, "-c", PROGRAM, msgspec.json.encode(options).decode()]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline().split()
        assert line[:1] == ["ready"], self.end()
        self.first = line[1]

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; return the exit status and what was said on stderr."""
        assert self.process is not None
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err

    def get(self, path: str, method: str = "GET", *, public: bool = True) -> tuple[int, str, dict[str, str]]:
        """Return status, body and headers."""
        connection = http.client.HTTPConnection("control", timeout=5)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self.public if public else self.internal)
        connection.request(method, path)
        answer = connection.getresponse()
        try:
            return answer.status, answer.read().decode(), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()


@contextlib.contextmanager
def running() -> Iterator[Control]:
    # A folder of a short name: the path of a Unix socket is at most 107 bytes.
    with tempfile.TemporaryDirectory() as folder:
        control = Control(Path(folder))
        control.start()
        yield control
        if control.process is not None and control.process.poll() is None:
            assert control.end() == (0, "")


@pytest.fixture(scope="module")
def control() -> Iterator[Control]:
    """Serve the tests that leave the process alone (a start takes a second)."""
    with running() as shared:
        yield shared


@pytest.fixture
def mortal() -> Iterator[Control]:
    """Serve a test that stops it."""
    with running() as own:
        yield own


@contextlib.asynccontextmanager
async def following(control: Control) -> AsyncIterator[SnapshotFollower]:
    follower = SnapshotFollower(control.internal, control.folder / "copy")
    follower.load()
    task = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(true: Callable[[], object], seconds: float) -> float:
    """Wait until something is true; return how long it took."""
    began = time.monotonic()
    async with asyncio.timeout(within(seconds)):
        while not true():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.001)
    return time.monotonic() - began


def lacks(follower: SnapshotFollower, key: str) -> bool:
    return not knows(follower, key)


def knows(follower: SnapshotFollower, key: str) -> bool:
    return follower.view is not None and keys.digest(key) in follower.view.principals


async def test_key_is_in_force_and_revoked_at_once(control: Control) -> None:
    """A client of the internal API makes keys and revokes them; the gateway's view follows within a second."""
    operations = InternalClient(control.internal)
    await operations.accounts.create(NewAccount(ANN))
    made_in, gone_in = [], []
    async with following(control) as follower:
        await until(lambda: knows(follower, control.first), 5)
        for _ in range(20):
            made = await operations.keys.create(NewKey(ANN))
            made_in.append(await until(partial(knows, follower, made.key), 1.0))
            began = time.monotonic()
            await operations.keys.revoke(made.id)
            await until(partial(lacks, follower, made.key), 1.0)
            gone_in.append(time.monotonic() - began)
        assert follower.problem is None
    print(f"revocation, from the command to the view: median {statistics.median(gone_in) * 1000:.1f} ms, ", end="")
    print(f"at most {max(gone_in) * 1000:.1f} ms; created: median {statistics.median(made_in) * 1000:.1f} ms")


async def test_change_past_control_is_followed(control: Control) -> None:
    """Another process writes into the database itself; in force within a second all the same."""
    store = await open_store(control.folder / "t.db")
    rooms = Services(store, CATALOG)
    taken = []
    async with following(control) as follower:
        await until(lambda: knows(follower, control.first), 5)
        for _ in range(5):
            made = await rooms.keys.create(NewKey("owner@localhost"))
            await until(partial(knows, follower, made.key), 1.0)
            await rooms.keys.revoke(made.key)
            taken.append(await until(partial(lacks, follower, made.key), 1.0))
    await store.close()
    print(f"revocation past control: median {statistics.median(taken) * 1000:.0f} ms, ", end="")
    print(f"at most {max(taken) * 1000:.0f} ms")


async def test_killed_control_is_not_missed(mortal: Control) -> None:
    """The view stays and the problem is told; a gateway that starts meanwhile has the copy; a restart catches up."""
    operations = InternalClient(mortal.internal)
    async with following(mortal) as follower:
        await until(lambda: knows(follower, mortal.first), 5)
        await until((mortal.folder / "copy").exists, 5)
        mortal.end(signal.SIGKILL)
        await until(lambda: follower.problem is not None, 2)
        assert knows(follower, mortal.first)
        async with following(mortal) as late:
            assert knows(late, mortal.first)
            await until(lambda: "cannot be reached" in (late.problem or ""), 2)
            await asyncio.to_thread(mortal.start)
            await until(lambda: late.problem is None and follower.problem is None, 2)
        made = await operations.keys.create(NewKey("owner@localhost"))
        await until(lambda: knows(follower, made.key), 1.0)


async def test_stop_does_not_wait_for_followers(mortal: Control) -> None:
    """SIGTERM with a stream open: status 0, quickly; also SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        async with following(mortal) as follower:
            await until(follower.followed.is_set, 5)
            began = time.monotonic()
            assert await asyncio.to_thread(mortal.end, number) == (0, "")
            assert time.monotonic() - began < within(2.0)
        await asyncio.to_thread(mortal.start)


def test_stop_is_heard_from_the_first_moment(mortal: Control) -> None:
    """SIGTERM at the very moment that it says to be ready ends it as later: in order, with status 0."""
    mortal.end()
    (mortal.folder / "stop").touch()
    mortal.start()
    assert mortal.process is not None
    assert mortal.process.communicate(timeout=60)[1] == ""
    assert mortal.process.returncode == 0


def test_first_key_is_told_once(mortal: Control) -> None:
    """The first start tells it, a later one does not; it is stored nowhere."""
    assert keys.well_formed(mortal.first)
    first = mortal.first
    assert mortal.end() == (0, "")
    for path in mortal.folder.iterdir():
        assert path.is_socket() or first.encode() not in path.read_bytes()
    mortal.start()
    assert mortal.first == "-"


def test_everything_is_the_owners_alone(control: Control) -> None:
    """Sockets and database have mode 0600, whatever the umask."""
    modes = {path.name: path.stat().st_mode & 0o777 for path in control.folder.iterdir()}
    assert {"i", "p", "t.db"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_second_control_does_not_take_the_sockets(control: Control) -> None:
    """It says so and ends; the first one serves on."""
    second = Control(control.folder)
    with pytest.raises(AssertionError, match="another control process listens on"):
        second.start()
    assert answers(control.internal)
    assert control.get("/docs")[0] == 200


def test_pages_say_what_this_is_and_how_to_call_it(control: Control) -> None:
    """/ leads to the Console. The documentation has this service's address and offer, escaped; nobody frames it."""
    status, _, headers = control.get("/")
    assert (status, headers["location"]) == (302, "/console")
    for path, parts in (
        ("/docs", ("https://api.example", "/v1/chat/completions", "/docs/quickstart")),
        ("/docs/models", ("m&lt;1&gt;", "4,096")),
    ):
        status, page, headers = control.get(path)
        assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert [part for part in parts if part not in page] == []
        assert "default-src 'none'; script-src 'self';" in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    assert control.get("/docs", "HEAD")[:2] == (200, "")


@pytest.mark.parametrize(
    ("path", "kind", "part"),
    [
        ("/docs/errors.md", "text/markdown; charset=utf-8", "rate_limit_exceeded"),
        ("/docs/search.json", "application/json", "rate_limit_exceeded"),
        ("/docs/reference", "text/html; charset=utf-8", "swagger-ui-bundle.js"),
        ("/docs/assets/docs.css", "text/css; charset=utf-8", "--lapis"),
        ("/openapi.json", "application/json", '"openapi":"3.1.0"'),
        ("/llms.txt", "text/plain; charset=utf-8", "https://api.example/docs/errors.md"),
    ],
)
def test_documentation_is_there_in_every_form(control: Control, path: str, kind: str, part: str) -> None:
    """For people, for the search in their browser, for tools and for models."""
    status, text, headers = control.get(path)
    assert (status, headers["content-type"]) == (200, kind)
    assert part in text


def test_unknown_page_is_the_one_error(control: Control) -> None:
    """JSON in the API's form, with the headers of a page; the internal API is not there, nor the pages on the other."""
    for path in (
        "/nope",
        "/docs/nope",
        "/docs/nope.md",
        "/docs/assets/nope.css",
        "/internal/keys",
        "/internal/snapshot",
        "/internal/doctor",
        "/schema",
    ):
        status, body, headers = control.get(path)
        assert (status, msgspec.json.decode(body)["error"]["code"]) == (404, "unknown_url")
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    assert control.get("/", "POST")[0] == 405
    assert control.get("/", public=False)[0] == 404


async def test_two_commands_at_a_time_get_through(control: Control) -> None:
    """A long writer holds the database for a while: commands wait for it instead of failing."""
    operations = InternalClient(control.internal)
    with contextlib.closing(sqlite3.connect(control.folder / "t.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.gather(*(operations.accounts.create(NewAccount(f"a{n}@example.com")) for n in range(8)))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        other.execute("COMMIT")
    assert len({account.id for account in await waiting}) == 8


def test_control_stays_small(control: Control) -> None:
    """Resident memory at idle, for the record: at most 150 MB."""
    assert control.process is not None
    pages = int(Path(f"/proc/{control.process.pid}/statm").read_text().split()[1])
    megabytes = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    print(f"control at idle: {megabytes:.0f} MB")
    assert megabytes < 150
