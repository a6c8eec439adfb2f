"""`techstone usage` and `techstone ledger`: what was used and what it cost, and whether the books are in order."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import TYPE_CHECKING, cast

import click

from techstone.app.cli.context import located, perform, printed, show, show_one
from techstone.control.ledger.records import RatingSpan

if TYPE_CHECKING:
    from techstone.control.ledger.records import Grouping

_SPAN = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SUMS = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "cost")
_REQUESTS = ("request_id", "account", "model", "state", "prompt_tokens", "completion_tokens", "cost", "at")


@click.command()
@click.option("--account", metavar="EMAIL", help="Of this account only (email or id).")
@click.option("--since", metavar="SPAN", default="24h", help="From so long ago on: 45s, 15m, 24h, 30d, 2w.")
@click.option(
    "--by",
    type=click.Choice(("model", "key", "project", "account", "day", "hour")),
    default="model",
    help="What to sum by.",
)
@click.option("--project", metavar="ID", help="Of this project's keys only; none: of the keys that belong to none.")
@click.option("--requests", "each", is_flag=True, help="One record per request in place of sums.")
@located
@printed
def usage(
    account: str | None,
    since: str,
    by: str,
    project: str | None,
    config: str | None,
    data: str | None,
    *,
    each: bool,
    as_json: bool,
) -> None:
    """Show what was used and what it cost; sums are of whole hours."""
    found = _SPAN.fullmatch(since)
    if found is None:
        raise click.BadParameter("expected a span such as 45s, 15m, 24h, 30d or 2w", param_hint="--since")
    start = int(time.time()) - int(found[1]) * _SECONDS[found[2]]
    if project is not None and (each or account is None):
        raise click.UsageError("--project needs --account, and sums")
    if each:
        rows = perform(config, data, lambda operations: operations.ledger.list_requests(account, start))
        show(rows, _REQUESTS, as_json=as_json)
        return
    grouping = cast("Grouping", by)
    sums = perform(config, data, lambda operations: operations.ledger.sum_usage(account, start, grouping, project))
    show(sums, ("group", *_SUMS), as_json=as_json)


@click.group()
def ledger() -> None:
    """Look after the ledger."""


@ledger.command()
@located
@printed
def check(config: str | None, data: str | None, *, as_json: bool) -> int:
    """Check every invariant of the ledger; exit status 1 if one does not hold."""
    violations = perform(config, data, lambda operations: operations.ledger.check())
    if violations or as_json:
        show(violations, ("rule", "where", "expected", "found"), as_json=as_json)
    else:
        click.echo("The ledger is in order.")
    return 1 if violations else 0


@ledger.command()
@click.option("--since", metavar="TIME", required=True, help="From this time on, such as 2026-11-01T00:00Z.")
@click.option("--until", metavar="TIME", help="Up to this time; now if not given.")
@click.option("--model", metavar="NAME", help="Of this model only.")
@click.option("--dry-run", is_flag=True, help="Say what it would come to, and change nothing.")
@located
@printed
def rerate(
    since: str,
    until: str | None,
    model: str | None,
    config: str | None,
    data: str | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Give the requests of a period the cost of the prices in force then, as they are known now.

    The differences are refunded or charged, but prepaid accounts are charged nothing more ("spared"); doing it twice
    changes nothing more.
    """
    end = int(time.time()) if until is None else _read_time("--until", until)
    span = RatingSpan(_read_time("--since", since), end, model, dry_run)
    show_one(perform(config, data, lambda operations: operations.ledger.rerate(span)), as_json=as_json)


def _read_time(option: str, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise click.BadParameter("expected a time with its zone, such as 2026-11-01T00:00Z", param_hint=option)
    return int(moment.timestamp())
