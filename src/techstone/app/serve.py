"""`techstone serve`: the gateway, the control plane and the engine as children of one supervisor, and the first words.

The listening socket is opened here and inherited, so that a port in use is told at once, a gateway that is started anew
loses no connection, and several gateways share one port. Each child gets the secrets that it needs and no others.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import signal
import socket
import sys
from typing import TYPE_CHECKING

from techstone.adapters.vault import VARIABLE as VAULT_KEY
from techstone.app import gateway, offer, orphans, presets
from techstone.app.config import ConfigError
from techstone.app.planes import read_doorway
from techstone.app.shared import read_address
from techstone.app.supervisor import Child, Program, StartError
from techstone.engine.options import BUILT_IN, HEALTH_PATH, EngineOptions, command, name_model
from techstone.gateway.target import WITHHELD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from techstone.app.child import News
    from techstone.app.place import Place
    from techstone.app.sections import EngineSection
    from techstone.control.catalog.records import Catalog

PUBLIC_URL = "TECHSTONE_PUBLIC_URL"
# Where PostgreSQL's own clients look for a password, and asyncpg with them.
_LIBPQ_PASSWORD = "PGPASSWORD"  # noqa: S105 - the name of the variable
# The product spec's own question.
_EXAMPLE = '{"model": "%s", "stream": true, "messages": [{"role": "user", "content": "What is the Token economy?"}]}'
_INSECURE = "--insecure-http"
# The gateway has its own drain limit; this much more for the last bytes and the journal.
_DRAIN_MARGIN = 2.0
_STOP_SECONDS = 5.0
# The API does not wait for the engine for ever: a large model loads while everything else serves already.
_ENGINE_PATIENCE = 20.0


def say(line: str) -> None:
    """Tell the operator."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - a command's output


def run(place: Place, *, insecure_http: bool) -> int:
    """Serve until a signal; return the exit status; raise ConfigError."""
    server = place.config.server
    gateway.check_binding(server, insecure_http=insecure_http)
    if place.config.control.addresses:
        raise ConfigError(
            "control.addresses: for `techstone gateway`; `techstone serve` has a control plane of its own"
        )
    read_doorway(place.config.control, insecure_http=insecure_http)
    read_address(place.config.data, os.environ, insecure_http=insecure_http)
    for line in offer.missing_secrets(place.config, os.environ):
        raise ConfigError(line)
    if VAULT_KEY in os.environ:
        from techstone.app.rooms import open_vault  # noqa: PLC0415 - else for the control process alone

        open_vault(place.data)
    catalog = offer.compose(place.config, os.environ, offer.locate_engine(place.config))
    place.prepare()
    with _only_one(place), gateway.open_socket(server) as sock:
        return asyncio.run(_Service(place, sock, catalog, insecure_http=insecure_http).run())


class _Lock:
    """Holds a file for as long as this process lives, however it ends."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._number = -1

    def __enter__(self) -> None:
        path = self._place.run / "serve.lock"
        self._number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._number)
            raise ConfigError(
                f"data folder {self._place.data}: another `techstone serve` runs on it; stop that, or choose another "
                "folder with --data"
            ) from error

    def __exit__(self, *_: object) -> None:
        os.close(self._number)


_only_one = _Lock


class _Service:
    """One run of all processes."""

    def __init__(self, place: Place, sock: socket.socket, catalog: Catalog, *, insecure_http: bool) -> None:
        self._place = place
        self._catalog = catalog
        self._sock = sock
        self._insecure_http = insecure_http
        self._engine_options = _choose_engine(place.config.engine)
        self._scheme = "https" if place.config.server.tls_cert else "http"

    @property
    def url(self) -> str:
        """The address for people, without a path."""
        configured = self._place.config.server.public_url
        if configured:
            return configured.rstrip("/")
        host, port = self._sock.getsockname()[:2]
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - what was bound, not bound here
        return f"{self._scheme}://{shown}:{port}"

    @property
    def _where(self) -> tuple[str, ...]:
        """The options of a command on this installation."""
        file = self._place.file
        return (*(("--config", str(file)) if file else ()), "--data", str(self._place.data))

    async def run(self) -> int:
        """Start everything, say how to use it, wait for a signal, stop in order."""
        loop = asyncio.get_running_loop()
        signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, signals.put_nowait, number)
        children = {program.name: Child(program, say) for program in self._list_programs()}
        gateways = [child for name, child in children.items() if name.startswith("gateway")]
        for child in children.values():
            child.start()
        stopped = asyncio.create_task(signals.get())
        started = asyncio.create_task(self._welcome(children))
        left = asyncio.create_task(self._book_orphans(children["control"]))
        await asyncio.wait({stopped, started}, return_when=asyncio.FIRST_COMPLETED)
        status = 0
        if started.done() and not started.cancelled() and isinstance(started.exception(), StartError):
            say(f"techstone: {started.exception()} could not be started; its message stands above")
            status = 1
        else:
            await stopped
        started.cancel()
        left.cancel()
        again = asyncio.create_task(_pass_on(signals, gateways))
        drain = self._place.config.server.drain
        await asyncio.gather(*(child.stop(drain + _DRAIN_MARGIN) for child in gateways))
        await asyncio.gather(*(child.stop(_STOP_SECONDS) for child in children.values() if child not in gateways))
        for task in (again, stopped, started):
            task.cancel()
        await asyncio.gather(again, stopped, started, left, return_exceptions=True)
        return status

    def _list_programs(self) -> list[Program]:
        place = self._place
        base = (sys.executable, "-m", "techstone")
        where = self._where
        common = {**os.environ, PUBLIC_URL: self.url}
        programs = []
        if self._engine_options is not None:
            words, extra = command(self._engine_options)
            common[offer.ENGINE_URL_ENV] = f"http://127.0.0.1:{self._engine_options.port}/v1"
            environment = {**self._without_secrets(common), **extra}
            probe = _probe(self._engine_options.port)
            programs.append(Program("engine", tuple(words), environment, probe=probe, vital=False))
        insecure = (_INSECURE,) if self._insecure_http else ()
        programs.append(Program("control", (*base, "control", *where, *insecure), self._masked(common)))
        withheld = self._control_secrets()
        keyed = {
            **{name: value for name, value in common.items() if name not in withheld},
            gateway.LISTEN_FD: str(self._sock.fileno()),
        }
        if self._engine_options is not None:
            keyed[offer.ENGINE_KEY_ENV] = self._engine_options.api_key
        flags = ("--host", place.config.server.host, *insecure)
        workers = place.config.server.workers
        for number in range(1, workers + 1):
            name, which = ("gateway", ()) if workers == 1 else (f"gateway-{number}", ("--worker", str(number)))
            programs.append(Program(name, (*base, "gateway", *where, *flags, *which), keyed, (self._sock.fileno(),)))
        return programs

    def _secret_names(self) -> set[str]:
        names = {preset.api_key_env for preset in presets.PROVIDERS}
        for entry in self._place.config.providers:
            found = (entry.api_key_env, *(offer.find_secret(value) for value in entry.headers.values()))
            names |= {name for name in found if name}
        names |= {name for name in (self._place.config.data.limits_password_env,) if name}
        return names | self._control_secrets()

    def _control_secrets(self) -> set[str]:
        """Return the names of what only the control plane may know."""
        config = self._place.config
        payments = config.payments
        names = (
            _LIBPQ_PASSWORD,
            config.data.database_password_env,
            config.mail.password_env,
            payments.stripe_key_env,
            payments.stripe_webhook_secret_env,
            config.control.token_env,
            *(entry.client_secret_env for entry in config.oidc),
        )
        return {name for name in names if name}

    def _without_secrets(self, environment: Mapping[str, str]) -> dict[str, str]:
        names = self._secret_names() | {VAULT_KEY}
        return {name: value for name, value in environment.items() if name not in names}

    def _masked(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the environment in which what only gateways use is known to be there, but not what it is."""
        names = self._secret_names() - self._control_secrets()
        return {name: WITHHELD if name in names and value else value for name, value in environment.items()}

    async def _book_orphans(self, control: Child) -> None:
        await control.ready
        await orphans.book(self._place, self._where, say)

    async def _welcome(self, children: dict[str, Child]) -> None:
        """Wait until everything serves, and say how to use it."""
        news = await children["control"].ready
        await asyncio.gather(*(child.ready for name, child in children.items() if name.startswith("gateway")))
        engine = children.get("engine")
        if engine is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ENGINE_PATIENCE):
                    await engine.settled.wait()
            if not engine.ready.done():
                say("The engine is not ready; its models answer as soon as it is.")
        print("\n".join(self._words(news)), flush=True)  # noqa: T201 - a command's output

    def _words(self, news: News) -> list[str]:
        url, first_key = self.url, news.first_key
        lines = [f"TechStone AI Cloud is serving. Base URL: {url}/v1   Console: {url}/console   Docs: {url}/docs"]
        model = self._catalog.models[0].name
        if self._engine_options is not None and {provider.kind for provider in self._catalog.providers} == {"engine"}:
            lines.append(
                f"No provider is configured: every model, {model} included, is answered by "
                f"{self._engine_options.alias} on this machine. To change that: techstone.example.toml"
            )
        if first_key is not None:
            lines += [
                "",
                f"Claim the Console, once, within 7 days: {url}{news.claim}",
                f"Your first API key, shown only now: {first_key}",
                "",
                f"curl -N {url}/v1/chat/completions \\",
                f'  -H "Authorization: Bearer {first_key}" \\',
                '  -H "Content-Type: application/json" \\',
                f"  -d '{_EXAMPLE % model}'",
                "",
            ]
        return lines


def _choose_engine(section: EngineSection) -> EngineOptions | None:
    """Return how to run the engine, on a free port of the loopback and with a key of this start."""
    if not section.enabled:
        return None
    model = section.model or str(BUILT_IN)
    if not os.path.isfile(model):  # noqa: PTH113 - the path may be relative to where the operator is, as is
        raise ConfigError(f"engine.model: there is no file {model}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return EngineOptions(
        model=model,
        port=port,
        alias=name_model(model),
        parallel=section.parallel,
        context=section.context,
        threads=section.threads,
        api_key=secrets.token_urlsafe(32),
    )


def _probe(port: int) -> Callable[[], asyncio.Future[None]]:
    """Return what waits until the engine has loaded its model."""

    async def wait() -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    writer.write(b"GET %b HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n" % HEALTH_PATH.encode())
                    if b" 200 " in await reader.readline():
                        return
                finally:
                    writer.close()
            await asyncio.sleep(0.05)

    return lambda: asyncio.ensure_future(wait())


async def _pass_on(signals: asyncio.Queue[signal.Signals], gateways: list[Child]) -> None:
    """Hand further signals to the gateways: the second one ends them at once."""
    while True:
        await signals.get()
        for child in gateways:
            child.signal(signal.SIGTERM)
