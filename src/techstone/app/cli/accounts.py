"""`techstone account`: who pays, on which plan."""

from __future__ import annotations

from typing import Any

import click

from techstone.app.cli.context import located, perform, printed, show, show_one
from techstone.control.accounts.records import NewAccount, PlanChange

_COLUMNS = ("id", "email", "plan", "credit", "suspended", "created_at")
_ALERTS = ("at", "account", "subject", "period", "percent", "spent", "limit")


@click.group()
def account() -> None:
    """Create, list, show and change accounts."""


@account.command()
@click.argument("account")
@located
@printed
def claim(account: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Make a one-time link by which you log in to the Console, as owner of an account and operator of the cloud."""
    made = perform(config, data, lambda operations: operations.claims.make(account))
    show_one(made, as_json=as_json)
    if not as_json:
        click.echo("Open this path below your base URL, within 7 days, once. Whoever has it runs the cloud.", err=True)


@account.command()
@click.argument("email")
@click.option("--plan", metavar="NAME", help="A plan of the configuration; pay-as-you-go if not given.")
@click.option("--credit", metavar="USD", default="0", help="Credit to begin with, up to 9 decimals.")
@click.option("--monthly-cap", metavar="USD", help="Most that a UTC month may cost; without one if not given.")
@located
@printed
def create(
    email: str,
    plan: str | None,
    config: str | None,
    data: str | None,
    *,
    as_json: bool,
    **terms: Any,  # noqa: ANN401 - click's, by name
) -> None:
    """Create an account."""
    wanted = NewAccount(email, plan, **terms)
    made = perform(config, data, lambda operations: operations.accounts.create(wanted))
    show_one(made, as_json=as_json)


@account.command(name="list")
@located
@printed
def list_accounts(config: str | None, data: str | None, *, as_json: bool) -> None:
    """List all accounts, oldest first."""
    show(perform(config, data, lambda operations: operations.accounts.list()), _COLUMNS, as_json=as_json)


@account.command(name="show")
@click.argument("account")
@located
@printed
def show_account(account: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Show one account, by email or id."""
    show_one(perform(config, data, lambda operations: operations.accounts.show(account)), as_json=as_json)


@account.command()
@click.argument("account")
@click.argument("plan")
@click.option("--rpm", type=int, metavar="N", help="Requests a minute, in place of the plan's.")
@click.option("--tpm", type=int, metavar="N", help="Tokens a minute, in place of the plan's.")
@click.option("--concurrent", type=int, metavar="N", help="Requests at a time, in place of the plan's.")
@click.option("--monthly-cap", metavar="USD", help="Most that a UTC month may cost; none: no cap.")
@located
@printed
def set_plan(
    account: str,
    plan: str,
    config: str | None,
    data: str | None,
    *,
    as_json: bool,
    **custom: Any,  # noqa: ANN401 - click's, by name
) -> None:
    """Put an account on another plan, from now on; numbers of its own last until the next change of plan."""
    change = PlanChange(plan, **custom)
    changed = perform(config, data, lambda operations: operations.accounts.set_plan(account, change))
    show_one(changed, as_json=as_json)


@account.command()
@click.argument("account")
@click.argument("usd", metavar="USD|none", required=False)
@click.option("--monthly-cap", metavar="USD", help="The amount by its name, as `account create` has it.")
@located
@printed
def set_cap(
    account: str, usd: str | None, monthly_cap: str | None, config: str | None, data: str | None, *, as_json: bool
) -> None:
    """Change the most that a UTC month may cost, and nothing else, from now on; none: no cap. It counts on any plan."""
    given = [amount for amount in (usd, monthly_cap) if amount is not None]
    if len(given) != 1:
        raise click.UsageError("set-cap takes an amount, once: USD, or none for no cap")
    changed = perform(config, data, lambda operations: operations.accounts.set_cap(account, given[0]))
    show_one(changed, as_json=as_json)


@account.command()
@click.argument("account", required=False)
@located
@printed
def alerts(account: str | None, config: str | None, data: str | None, *, as_json: bool) -> None:
    """List alerts at 80 % and 100 % of credit and caps, oldest first."""
    show(perform(config, data, lambda operations: operations.alerts.list(account)), _ALERTS, as_json=as_json)


@account.command()
@click.argument("account")
@click.argument("usd")
@located
@printed
def credit(account: str, usd: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Add credit to an account, in USD with up to 9 decimals."""
    changed = perform(config, data, lambda operations: operations.accounts.add_credit(account, usd))
    show_one(changed, as_json=as_json)


@account.command()
@click.argument("account")
@located
@printed
def suspend(account: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Refuse all requests of an account, with 403, until it is resumed."""
    show_one(perform(config, data, lambda operations: operations.accounts.suspend(account)), as_json=as_json)


@account.command()
@click.argument("account")
@located
@printed
def resume(account: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Serve a suspended account again."""
    changed = perform(config, data, lambda operations: operations.accounts.suspend(account, suspended=False))
    show_one(changed, as_json=as_json)


@account.command()
@click.argument("email")
@located
@printed
def reset_two_factor(email: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Remove the two-factor of someone who has lost phone and recovery codes, and end their sessions.

    See first that it is them who ask: from then on their password alone logs in.
    """
    show_one(perform(config, data, lambda operations: operations.people.reset_two_factor(email)), as_json=as_json)
