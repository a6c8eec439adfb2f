"""The commands by name, and the one place where a failure becomes one line on stderr and a non-zero status."""

from __future__ import annotations

import sys

import click

from techstone import __version__
from techstone.app.cli.accounts import account
from techstone.app.cli.audit import audit
from techstone.app.cli.backup import backup, restore
from techstone.app.cli.codes import code
from techstone.app.cli.inspection import db, doctor
from techstone.app.cli.journal import journal
from techstone.app.cli.keys import key
from techstone.app.cli.ledger import ledger, usage
from techstone.app.cli.models import model
from techstone.app.cli.prices import price
from techstone.app.cli.projects import project
from techstone.app.cli.providers import provider
from techstone.app.cli.serving import control, gateway, serve
from techstone.app.config import ConfigError
from techstone.core.errors import ApiError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="techstone")
def techstone() -> None:
    """TechStone AI Cloud: one API for every model, in OpenAI's format."""


_COMMANDS = (
    serve, gateway, control, account, key, project, provider, model, price, code, usage, ledger, journal, audit, doctor,
    db, backup, restore,
)  # fmt: skip
for command in _COMMANDS:
    techstone.add_command(command)


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; return the exit status."""
    try:
        return int(techstone.main(arguments, standalone_mode=False, prog_name="techstone") or 0)
    except (click.ClickException, click.Abort, ConfigError, ApiError) as error:
        return _tell(error)


def _tell(error: Exception) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message())
        return 2
    if isinstance(error, click.UsageError):
        usage = error.ctx.command_path if error.ctx else "techstone"
        return _fail(f"{error.format_message()} (see `{usage} --help`)", 2)
    if isinstance(error, click.ClickException):
        return _fail(error.format_message(), error.exit_code)
    if isinstance(error, click.Abort):
        return _fail("interrupted", 130)
    return _fail(error.message if isinstance(error, ApiError) else str(error), 1)


def _fail(line: str, status: int) -> int:
    print(f"techstone: {line}", file=sys.stderr)  # noqa: T201 - the command's answer
    return status
