"""`techstone serve`, `gateway`, `control`: the processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import click
import msgspec

from techstone.app import config as configuration
from techstone.app import place
from techstone.app.cli.context import located

if TYPE_CHECKING:
    from collections.abc import Callable

_F = TypeVar("_F", bound="Callable[..., object]")


_insecure = click.option("--insecure-http", is_flag=True, help="Serve plain HTTP to other machines all the same.")


def _listening(function: _F) -> _F:
    """Add what says where to listen."""
    for option in (
        click.option("--host", metavar="H", help="Address to listen on (else the configuration's)."),
        click.option("--port", type=int, metavar="P", help="Port (else the configuration's)."),
        _insecure,
    ):
        function = option(function)
    return function


def _locate(config: str | None, data: str | None, **overrides: str | int | None) -> place.Place:
    """Return the place, its [server] changed by what stands on the command line."""
    found = place.find(config, data)
    changes = {name: value for name, value in overrides.items() if value is not None}
    server = msgspec.structs.replace(found.config.server, **changes)
    changed = msgspec.structs.replace(found.config, server=server)
    configuration.check(changed)
    return msgspec.structs.replace(found, config=changed)


@click.command()
@_listening
@click.option("--workers", type=int, metavar="N", help="Gateway processes (else the configuration's).")
@located
def serve(
    config: str | None,
    data: str | None,
    host: str | None,
    port: int | None,
    workers: int | None,
    *,
    insecure_http: bool,
) -> int:
    """Serve everything on this machine: gateway, control plane and engine."""
    from techstone.app import serve as service  # noqa: PLC0415 - each command loads its own

    return service.run(_locate(config, data, host=host, port=port, workers=workers), insecure_http=insecure_http)


@click.command()
@_listening
@click.option("--worker", type=click.IntRange(1, 256), default=1, hidden=True, help="Which of several on one folder.")
@located
def gateway(
    config: str | None, data: str | None, host: str | None, port: int | None, worker: int, *, insecure_http: bool
) -> int:
    """Serve the API alone: the data plane of a scaled deployment, beside a `techstone control`."""
    from techstone.app import gateway as process  # noqa: PLC0415 - each command loads its own

    found = msgspec.structs.replace(_locate(config, data, host=host, port=port), worker=worker)
    return process.run(found, insecure_http=insecure_http)


@click.command()
@_insecure
@located
def control(config: str | None, data: str | None, *, insecure_http: bool) -> int:
    """Serve the control plane alone: it owns the database and publishes to the gateways."""
    from techstone.app import control as process  # noqa: PLC0415 - each command loads its own

    return process.run(place.find(config, data), insecure_http=insecure_http)
