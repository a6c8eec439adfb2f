"""The database on a PostgreSQL server: for any number of control planes, on any number of machines.

What SQLite's one writer gives is had here by one lock: a change that is noted takes it before anything else, so that
of these one runs at a time and what it reads stays true in it. They would wait for each other in any case: the audit
log is a chain, and the revision has no gaps. Readers wait for nobody, and booking has a lock of its own
(`postgres_booking`).

Where the server cannot be reached, each call says so at once and by itself; the next one finds the server again.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from techstone.adapters.storage import audit, migrate, postgres_booking
from techstone.adapters.storage.database import number_of
from techstone.adapters.storage.postgres_booking import CHANGES
from techstone.adapters.storage.store import bring_up
from techstone.control import acts
from techstone.control.ports import StoreAway, StoreError, StoreFacts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from techstone.adapters.storage.store import SqlStore
    from techstone.adapters.storage.target import Target
    from techstone.control.ledger.records import Rating, Run

# Told by a trigger of the table `revision`, when the transaction that raised it commits (migration 0001).
CHANNEL = "techstone"

_CONNECT_SECONDS = 5.0
# A statement that takes longer is of a server that hangs; what may take minutes has a connection of its own.
_STATEMENT_SECONDS = 10.0
# A flow may end without a word: a firewall forgets it, a machine is gone. Who waits for an answer of minutes, or for
# news, asks the other side's system by itself, and gives up after so long; Linux alone would after some 15 minutes.
_SILENT_SECONDS = 30
# What a connection asks of the server. Waiting for another's lock ends as SQLite's does; and a control plane that is
# stopped within a transaction does not hold up the others for ever.
_SETTINGS = {
    "application_name": "techstone",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "15s",
}
_POOL, _POOL_MORE = 5, 15
# How long after a lost connection the next one is tried for news.
_PAUSE = 1.0

_NO_HASTE = text("SET LOCAL lock_timeout = 0")
_NO_HURRY = text("SET LOCAL idle_in_transaction_session_timeout = 0")
# Twice as long as a gateway may take nothing (`control/publish`), which is then its own end and not the database's.
_LASTING = text("SET LOCAL idle_in_transaction_session_timeout = '60s'")
_QUEUE = text(f"SELECT pg_advisory_xact_lock({CHANGES})")
# A transaction gets a number with the first row that it writes, and not before.
_WROTE = text("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")
_DURABLE = text(
    "SELECT current_setting('synchronous_commit') <> 'off' AND current_setting('fsync') = 'on' "
    "AND current_setting('full_page_writes') = 'on'"
)
_SIZE = text("SELECT pg_database_size(current_database())")

# What a server or the way to it does, rather than a statement: https://www.postgresql.org/docs/current/errcodes-appendix.html
# Connection exceptions, no resources, operator intervention (a shutdown, a start), and another's lock.
_AWAY = ("08", "53", "57", "55P03")
_FAILURES = (
    DBAPIError,
    PoolTimeout,
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


async def open_store(target: Target, *, migrating: bool = True) -> SqlStore:
    """Return the store of a server's database, brought to the newest schema; raise StoreError, StoreAway.

    Without `migrating` only an empty one is: on another, control planes of an older version may run.
    """
    database = PostgresDatabase(target)
    if not migrating:
        try:
            await database.require_newest()
        except StoreError:
            await database.close()
            raise
    return await bring_up(database)


class PostgresDatabase:
    """A database of a server. Implements `Database`."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._ssl = None if target.ssl == "disable" else _secure(target)
        pool = {"pool_size": _POOL, "max_overflow": _POOL_MORE, "pool_timeout": _STATEMENT_SECONDS}
        self._engine = _open_engine(lambda: self._connect(_STATEMENT_SECONDS), pool_pre_ping=True, **pool)
        self._writing = self._engine.execution_options(isolation_level="READ COMMITTED")
        self._reading = _read_only(self._engine)
        # Rarely used, and without a time by which an answer must come: never one that was lost since the last time.
        self._lasting = _open_engine(lambda: self._connect(None), poolclass=NullPool)
        self._patient = _read_only(self._lasting)
        self._news = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None

    async def _connect(self, seconds: float | None) -> asyncpg.Connection:
        """Return a connection whose statements take so long at most."""
        target = self.target
        connection = await asyncpg.connect(
            host=target.host,
            port=target.port,
            user=target.user,
            database=target.name,
            password=target.password,
            ssl=self._ssl or False,
            timeout=_CONNECT_SECONDS,
            command_timeout=seconds,
            server_settings=_SETTINGS,
        )
        _watch(connection)
        # Of a server or role that answers before its disk does: what is acknowledged here must outlive it.
        await connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
        return connection

    @contextlib.asynccontextmanager
    async def change(self, *, noted: bool = True) -> AsyncIterator[AsyncConnection]:
        """Begin a writing transaction: commits at the end, rolls back on any error."""
        with self._telling():
            async with self._writing.connect() as connection:
                if noted:
                    await connection.execute(_QUEUE)
                yield connection
                if noted and await connection.scalar(_WROTE):
                    await audit.append(connection, *acts.current())
                await connection.commit()

    @contextlib.asynccontextmanager
    async def look(self, *, patient: bool = False, lasting: bool = False) -> AsyncIterator[AsyncConnection]:
        """Begin a reading transaction: everything in it is of one moment."""
        with self._telling():
            async with (self._patient if patient else self._reading).connect() as connection:
                if lasting:
                    await connection.execute(_LASTING)
                yield connection

    async def note(self) -> None:
        """Append the current act to the audit log by itself."""
        async with self.change(noted=False) as connection:
            await connection.execute(_QUEUE)
            await audit.append(connection, *acts.current())

    async def apply(self, journal: str, run: Run, now: int) -> int:
        """Book what is new of a run of a journal's records; return the number of the last one booked."""
        async with self._drive() as driver:
            return await postgres_booking.apply(driver, journal, run, now)

    async def rerate(self, ratings: Sequence[Rating], now: int) -> None:
        """Give settled requests other costs, with all that follows."""
        async with self._drive() as driver:
            await postgres_booking.rerate(driver, ratings, now)

    @contextlib.asynccontextmanager
    async def _drive(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection of the driver's own; one that failed is not used again."""
        with self._telling():
            async with self._engine.connect() as connection:
                driver = (await connection.get_raw_connection()).driver_connection
                assert isinstance(driver, asyncpg.Connection)  # noqa: S101 - tells mypy which driver it is
                try:
                    yield driver
                except BaseException:
                    await connection.invalidate()
                    raise

    async def read_revision(self) -> int:
        """Return the newest revision."""
        async with self.look() as connection:
            return await number_of(connection)

    async def wait(self, longest: float) -> None:
        """Return when the server tells of a change, after `longest` seconds in any case."""
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest):
                await self._news.wait()
        self._news.clear()

    async def _listen(self) -> None:
        """Hear of changes, for ever; while that fails, whoever waits asks from time to time."""
        while True:
            with contextlib.suppress(*_FAILURES):
                await self._follow()
            await asyncio.sleep(_PAUSE)

    async def _follow(self) -> None:
        connection = await self._connect(_STATEMENT_SECONDS)
        try:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(CHANNEL, lambda *_: self._news.set())
            self._news.set()  # of what was told while nobody listened
            await lost.wait()
        finally:
            connection.terminate()

    async def read_facts(self) -> StoreFacts:
        """Return what `doctor` tells."""
        async with self.look() as connection:
            schema = await connection.run_sync(migrate.read_version)
            durable = bool(await connection.scalar(_DURABLE))
            size = int(await connection.scalar(_SIZE) or 0)
        return StoreFacts("postgresql", self.target.address, schema or "none", durable, size)

    async def require_newest(self) -> None:
        """Raise StoreError where there is another schema than the newest one."""
        async with self.look() as connection:
            found = await connection.run_sync(migrate.read_version)
        if found is not None and found < migrate.NEWEST:
            raise StoreError(
                f"database {self.target.address}: it has schema {found}, and this version works with "
                f"{migrate.NEWEST}; `techstone db upgrade` brings it there, for every control plane"
            )

    async def upgrade(self) -> None:
        """Bring it to the newest schema; of any number of processes that begin at once one does."""
        async with self.work() as connection:
            await connection.run_sync(migrate.upgrade)

    @contextlib.asynccontextmanager
    async def work(self) -> AsyncIterator[AsyncConnection]:
        """Begin a writing transaction that may take as long as the largest table takes; no change runs beside it."""
        with self._telling():
            async with self._lasting.connect() as connection:
                # Another process may be at it for as long; and between two statements a file may have to be read.
                await connection.execute(_NO_HASTE)
                await connection.execute(_NO_HURRY)
                await connection.execute(_QUEUE)
                yield connection
                await connection.commit()

    async def close(self) -> None:
        """Give everything up."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
        for engine in (self._engine, self._lasting):
            await engine.dispose()

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Tell what fails in one line for the operator; what must be unique and is not, is for the room to tell."""
        try:
            yield
        except IntegrityError:
            raise
        except _FAILURES as error:
            cause = _find_cause(error)
            kind = StoreAway if _is_away(cause) else StoreError
            raise kind(f"database {self.target.address}: {_tell(cause)}") from error


def _open_engine(connect: Callable[[], Awaitable[asyncpg.Connection]], **pool: Any) -> AsyncEngine:  # noqa: ANN401 - create_async_engine's own
    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, **pool)

    @event.listens_for(engine.sync_engine, "before_cursor_execute", retval=True)
    def clean(_: object, __: object, statement: str, parameters: Any, *___: object) -> tuple[str, Any]:  # noqa: ANN401 - SQLAlchemy's own
        return statement, _clean(parameters)

    return engine


def _watch(connection: asyncpg.Connection) -> None:
    """Have the system find out whether the other side is there still."""
    # The driver has no option for it, and no other way to its socket.
    flow = connection._transport.get_extra_info("socket")  # noqa: SLF001
    if flow.family == socket.AF_UNIX:
        return
    flow.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, seconds in (("TCP_KEEPIDLE", _SILENT_SECONDS // 2), ("TCP_KEEPINTVL", _SILENT_SECONDS // 2)):
        if hasattr(socket, name):  # other systems have other names
            flow.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # Of what was sent, and with the above (tcp(7)) also of a connection on which nothing is.
        flow.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENT_SECONDS * 1000)


def _read_only(engine: AsyncEngine) -> AsyncEngine:
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _clean(values: Any) -> Any:  # noqa: ANN401 - one row's parameters, or many rows'
    """Return the parameters without NUL, which PostgreSQL's text cannot hold: it is shown as what cannot be shown."""
    if isinstance(values, str):
        return values.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in values else values
    if isinstance(values, (list, tuple)):
        return type(values)(map(_clean, values))
    return values


def _secure(target: Target) -> ssl.SSLContext:
    """Return how the server is known; raise StoreError: who waited for a file would wait for ever."""
    try:
        context = ssl.create_default_context(cafile=target.ssl_root)
    except OSError as error:
        raise StoreError(f"sslrootcert={target.ssl_root}: {error.strerror or error}") from error
    if target.ssl == "require":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _find_cause(error: BaseException) -> BaseException:
    """Return the driver's own error, which SQLAlchemy wraps twice."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error


def _is_away(cause: BaseException) -> bool:
    if isinstance(cause, asyncpg.PostgresError):
        return str(cause.sqlstate or "").startswith(_AWAY)
    # A certificate that is not good stays so, and a server without TLS, and what the driver cannot do at all (an
    # authentication that it does not know): whoever waited would wait for ever.
    if isinstance(cause, asyncpg.InterfaceError):
        return "closed" in str(cause)
    return not isinstance(cause, ssl.SSLError) and "rejected SSL upgrade" not in str(cause)


def _tell(cause: BaseException) -> str:
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return next(iter(str(cause).splitlines()), "") or type(cause).__name__
