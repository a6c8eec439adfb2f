"""The control process: opens the database, publishes the snapshot, serves pages and commands on two Unix sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import uvicorn
import uvloop

from techstone import __version__
from techstone.adapters.internal import answers
from techstone.adapters.mail import Outbox, Smtp
from techstone.adapters.passwords import Argon2Hasher, read_common
from techstone.adapters.printing import PdfPrinter
from techstone.adapters.storage.target import Target
from techstone.app import child, offer
from techstone.app.config import ConfigError, read_cents
from techstone.app.database import await_store, patiently
from techstone.app.planes import Doorway, open_port, read_doorway
from techstone.app.rooms import compose_means, open_vault
from techstone.app.sections import MailSection, OidcEntry, PaymentsSection
from techstone.control.asgi import build_internal, build_public, build_seam
from techstone.control.billing.alerts import tell
from techstone.control.bootstrap import FirstKey, bootstrap
from techstone.control.catalog.records import Catalog
from techstone.control.console.pages import Pages
from techstone.control.console.reader import Reader
from techstone.control.console.shell import Shell
from techstone.control.console.site import route_console
from techstone.control.gate import Gate
from techstone.control.identity.factors import Factors
from techstone.control.identity.federation import Federation
from techstone.control.identity.foreigners import Foreigners
from techstone.control.identity.letters import Letters
from techstone.control.identity.links import Links
from techstone.control.identity.members import Members
from techstone.control.identity.passwords import Passwords
from techstone.control.identity.ports import Terms
from techstone.control.identity.seals import Seals
from techstone.control.identity.service import Identity
from techstone.control.invoicing.records import Party
from techstone.control.ledger.audit import Audit
from techstone.control.pages.documentation import Documentation
from techstone.control.pages.openapi import Reference
from techstone.control.pages.site import Site
from techstone.control.payments.api import route_events
from techstone.control.payments.records import Offer
from techstone.control.ports import StoreError
from techstone.control.publish import Publisher
from techstone.control.services import Services

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from litestar import Router
    from litestar.types import ASGIApp

    from techstone.adapters.vault import Vault
    from techstone.app.place import Place
    from techstone.control.billing.records import Alert
    from techstone.control.identity.ports import Mailer, Provider
    from techstone.control.payments.ports import Payments

PUBLIC_URL = "TECHSTONE_PUBLIC_URL"
# Who a first start belongs to, until there is a Console in which an owner signs up.
_OWNER = "owner@localhost"
# Paid for afterwards: the operator's own account needs no credit to use the operator's own keys of providers.
_OWNER_PLAN = "enterprise"


class ControlOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the process needs. `poll` and `heartbeat` of the snapshot stream are in seconds.

    `database` is the SQLite file, in the data folder; `server` is where the database is instead, if it is not None.
    `owner` is who the first start makes an account for, on `plan` (None: the first of the catalog).
    """

    database: Path
    server: Target | None = None
    public_socket: str
    internal_socket: str
    public_url: str
    catalog: Catalog
    outbox: Path
    oidc: tuple[OidcEntry, ...] = ()
    mail: MailSection = MailSection()
    switches: dict[str, bool] = {}
    private_providers: bool = False
    seller: Party | None = None
    payments: PaymentsSection = PaymentsSection()
    doorway: Doorway | None = None
    owner: str = _OWNER
    plan: str | None = None
    poll: float = 0.2
    heartbeat: float = 5.0


def run(place: Place, *, insecure_http: bool) -> int:
    """Serve until a signal; return the exit status; raise ConfigError."""
    child.follow_parent()
    child.give_way()
    place.prepare()
    server = place.config.server
    options = ControlOptions(
        database=place.database,
        server=place.find_server(),
        public_socket=place.public_socket,
        internal_socket=place.internal_socket,
        public_url=os.environ.get(PUBLIC_URL) or server.public_url or f"http://{server.host}:{server.port}",
        catalog=offer.compose(place.config, os.environ, offer.locate_engine(place.config)),
        outbox=place.data / "outbox",
        oidc=place.config.oidc,
        mail=place.config.mail,
        switches={"sign_up": place.config.console.sign_up},
        private_providers=place.config.console.private_providers,
        seller=None
        if place.config.billing.seller is None
        else msgspec.convert(place.config.billing.seller, Party, from_attributes=True),
        payments=place.config.payments,
        doorway=read_doorway(place.config.control, insecure_http=insecure_http),
        plan=_OWNER_PLAN,
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(options, lambda first: _report(options, first)))
    except StoreError as error:
        raise ConfigError(str(error)) from error
    return 0


def _report(options: ControlOptions, first: FirstKey | None) -> None:
    if child.report_ready(child.News(first.key, first.claim) if first else child.News()):
        return
    door = options.doorway
    where = "its data folder" if door is None else f"{door.host}:{door.port}"
    lines = [f"TechStone control plane is serving: gateways reach it by {where}."]
    if first is not None:
        lines.append(f"Claim the Console, once, within 7 days: {options.public_url}{first.claim}")
        lines.append(f"Your first API key, shown only now: {first.key}")
    print("\n".join(lines), flush=True)  # noqa: T201 - a command's output


async def serve(options: ControlOptions, ready: Callable[[FirstKey | None], None]) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called once both sockets answer.

    Raise ConfigError where the sockets are taken or TECHSTONE_SECRET_KEY is no key, before a first key is made that
    nobody would see; StoreError.
    """
    vault = open_vault(options.database.parent)
    with (
        _bind(options.internal_socket) as internal,
        _bind(options.public_socket) as public,
        contextlib.nullcontext() if options.doorway is None else open_port(options.doorway) as door,
    ):
        store = await await_store(options.database, options.server, _complain)
        try:
            services = Services(
                store,
                options.catalog,
                means=compose_means(vault, private=options.private_providers),
                switches=options.switches,
            )
            await patiently(services.follow, _complain)
            if options.seller is not None:
                services.invoices.open(options.seller)
            processor = _choose_processor(options)
            if processor is not None:
                services.top_ups.open(processor, _read_offer(options.payments), _complain)
            view_secret = await patiently(services.make_view_secret, _complain)
            publisher = Publisher(
                store,
                services.catalog,
                poll=options.poll,
                heartbeat=options.heartbeat,
                report=_complain,
                view_secret=view_secret,
            )
            first = await patiently(lambda: bootstrap(services, options.owner, options.plan), _complain)
            await patiently(services.prices.note_configured, _complain)
            await patiently(publisher.load, _complain)
            seals = Seals(vault, services.now)
            identity = _compose_identity(services, vault, seals)
            site = await _compose_site(options.public_url, services, identity)
            audit = Audit(services.ledger, _complain)
            services.health.checked = lambda: audit.checked
            letters = Letters(_choose_mailer(options), options.public_url)
            links = Links(store.identity, identity, services.accounts, letters, services.now, secrets.token_bytes)
            members = Members(store.identity, links, services.now)
            pages = Pages(Shell(options.public_url, services.switches.is_on), services, identity, view_secret)
            console = _compose_console(options, pages, members, links, seals)
            pages_of_all = build_public(site, console, services, members, publisher)
            servers = [_Server(build_internal(services, publisher), internal), _Server(pages_of_all, public)]
            if options.doorway is not None and door is not None:
                gate = Gate(options.doorway.token, build_seam(services, publisher), pages_of_all)
                servers.append(_Server(gate, door, options.doorway))
            shown = None if options.doorway is None else options.doorway.certificate
            await _run(
                servers,
                [
                    *([] if shown is None else [shown.follow(_complain)]),
                    publisher.run(),
                    services.alerts.run(_Crier()),
                    audit.run(),
                    identity.run(),
                    services.invoices.run(_complain),
                    services.reports.run(),
                    services.transcripts.run(),
                    services.health.run(),
                ],
                publisher,
                lambda: ready(first),
            )
        finally:
            await store.close()


async def _compose_site(public_url: str, services: Services, identity: Identity) -> Site:
    """Return the documentation, which tells anew what is on offer whenever that changes."""
    models = await services.catalog.list_models()
    reference = Reference(public_url, __version__, [model.name for model in models])
    documentation = Documentation(public_url, models, services.catalog.catalog.plans)
    site = Site(documentation, reference, Reader(identity, services).look)

    def renew() -> None:
        catalog = services.catalog
        site.renew(Documentation(public_url, catalog.show_models(), catalog.catalog.plans))

    services.catalog.heard.append(renew)
    return site


def _compose_identity(services: Services, vault: Vault, seals: Seals) -> Identity:
    passwords = Passwords(Argon2Hasher(), read_common())
    factors = Factors(services.store.credentials, vault, seals, services.now, secrets.token_bytes)
    return Identity(services.store.identity, passwords, factors, seals, services.now, secrets.token_bytes)


def _compose_console(
    options: ControlOptions, pages: Pages, members: Members, links: Links, seals: Seals
) -> list[Router]:
    """Return the Console's routes."""
    services, store = pages.services, pages.services.store.identity
    providers = Federation(_connect_providers(options.oidc), seals, secrets.token_bytes, options.public_url)
    foreigners = Foreigners(store, services.store.credentials, services.accounts, services.now, secrets.token_bytes)
    console = route_console(pages, members, links, providers, foreigners, PdfPrinter())
    processor = services.top_ups.processor
    return console if processor is None else [*console, route_events(services.top_ups, processor)]


def _connect_providers(entries: tuple[OidcEntry, ...]) -> list[Provider]:
    if not entries:
        return []
    from techstone.adapters.oidc import OidcProvider  # noqa: PLC0415 - 0.5 s, only for who uses it

    return [
        OidcProvider(
            Terms(entry.name, entry.slug, entry.issuer, entry.allowed_domains, entry.create),
            entry.client_id,
            os.environ.get(entry.client_secret_env, ""),
        )
        for entry in entries
    ]


def _choose_processor(options: ControlOptions) -> Payments | None:
    """Return what collects money, None where nothing does; raise ConfigError for a secret that is not there."""
    payments = options.payments
    if payments.stripe_key_env is None or payments.stripe_webhook_secret_env is None:
        return None
    key, secret = map(_read_secret, (payments.stripe_key_env, payments.stripe_webhook_secret_env))
    # Half a second and 40 MB, which only those pay who take payments.
    from techstone.adapters.payments import StripePayments  # noqa: PLC0415 - see above

    return StripePayments(key, secret, options.public_url, payments.stripe_api_base)


def _read_secret(name: str) -> str:
    secret = os.environ.get(name, "").strip()
    if not secret:
        raise ConfigError(f"payments: the environment variable {name} is not set")
    return secret


def _read_offer(payments: PaymentsSection) -> Offer:
    return Offer(
        tuple(read_cents("payments.amounts", usd) for usd in payments.amounts),
        read_cents("payments.minimum", payments.minimum),
        read_cents("payments.maximum", payments.maximum),
    )


def _choose_mailer(options: ControlOptions) -> Mailer:
    mail = options.mail
    if mail.smtp is None:
        return Outbox(options.outbox, mail.sender)
    return Smtp(mail.smtp, mail.sender, os.environ.get(mail.password_env) if mail.password_env else None)


class _Crier:
    """Tells alerts on the operator's terminal. Implements `Notifier`."""

    async def notify(self, alert: Alert, email: str) -> None:
        """Tell it in one line."""
        _complain(f"alert: {tell(alert, email)}")


async def _run(
    servers: list[_Server],
    beside: list[Coroutine[Any, Any, None]],
    publisher: Publisher,
    ready: Callable[[], None],
) -> None:
    """Serve, publish and do what else is endless until a signal; what ends by itself ends the process.

    Without the publisher a revoked key would stay in force, behind heartbeats that say that all is well.
    """
    endless = [asyncio.create_task(work) for work in beside]
    work = [*endless, *(asyncio.create_task(server.serve()) for server in servers)]
    up: asyncio.Task[Any] = asyncio.create_task(_await_all([server.up for server in servers]))
    await asyncio.wait([up, *work], return_when=asyncio.FIRST_COMPLETED)
    signalled = asyncio.create_task(_hear_signals().wait())
    if up.done():
        ready()
    awaited: list[asyncio.Task[Any]] = [signalled, *work]
    ended, _ = await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
    publisher.close()
    for server in servers:
        server.should_exit = True
    for task in endless:
        task.cancel()
    await asyncio.wait(work)
    signalled.cancel()
    up.cancel()
    for task in ended:
        task.result()


async def _await_all(events: list[asyncio.Event]) -> None:
    for event in events:
        await event.wait()


class _Server(uvicorn.Server):
    """One application on one listening socket; with a doorway's certificates on its port."""

    def __init__(self, application: ASGIApp, listening: socket.socket, doorway: Doorway | None = None) -> None:
        # A socket that is detached here is closed by the server.
        self._listening = None if doorway is None else listening
        super().__init__(
            uvicorn.Config(
                application,
                fd=listening.detach() if doorway is None else None,
                # What a header claims of the client's address is read where the pages read it, behind the gate.
                proxy_headers=False,
                loop="none",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=2,
            )
        )
        self.up = asyncio.Event()
        self.config.load()
        if doorway is not None and doorway.certificate is not None:
            self.config.ssl = doorway.certificate.context

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the process: two servers live in it."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        if self._listening is None:
            await super().startup(sockets)
        else:
            try:
                await super().startup([self._listening])
            except OSError as error:
                host, port = self._listening.getsockname()[:2]
                raise ConfigError(f"control.listen: cannot listen on {host}:{port}: {error.strerror}") from error
        self.up.set()


def _bind(path: str) -> socket.socket:
    """Return a listening Unix socket of mode 0600; one that a dead process left is replaced. Raise ConfigError."""
    if answers(path):
        raise ConfigError(f"another control process listens on {path}")
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            Path(path).unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        sock.bind(path)
    except OSError as error:
        raise ConfigError(f"cannot listen on {path}: {error.strerror or error}") from error
    finally:
        os.umask(mask)
    sock.listen(512)
    return sock


def _hear_signals() -> asyncio.Event:
    """Return what SIGTERM and SIGINT set from now on: one that comes while `ready` is told is heard too."""
    loop = asyncio.get_running_loop()
    heard = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, heard.set)
    return heard


def _complain(line: str) -> None:
    print(f"control: {line}", file=sys.stderr, flush=True)  # noqa: T201 - the operator's terminal
