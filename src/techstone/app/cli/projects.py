"""`techstone project`: what an account's keys are for."""

from __future__ import annotations

import click

from techstone.app.cli.context import located, perform, printed, show, show_one
from techstone.control.projects.records import NewProject, ProjectChange

_COLUMNS = ("id", "account", "name", "archived", "keys", "spent_this_month", "kept_days", "created_at")


@click.group()
def project() -> None:
    """Create, list, rename and archive projects; keep prompts and answers of their keys."""


@project.command()
@click.argument("name")
@click.option("--account", required=True, metavar="EMAIL", help="Whose it is: email or id.")
@located
@printed
def create(name: str, account: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Create a project; keys are put into it by `key create --project` and `key set --project`."""
    wanted = NewProject(account, name)
    show_one(perform(config, data, lambda operations: operations.projects.create(wanted)), as_json=as_json)


@project.command(name="list")
@click.option("--account", metavar="EMAIL", help="Only this account's: email or id.")
@located
@printed
def list_projects(account: str | None, config: str | None, data: str | None, *, as_json: bool) -> None:
    """List projects with what they cost in this UTC month, oldest first."""
    show(perform(config, data, lambda operations: operations.projects.list(account)), _COLUMNS, as_json=as_json)


@project.command()
@click.argument("project")
@click.argument("name")
@located
@printed
def rename(project: str, name: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Give a project, by its id, another name."""
    change = ProjectChange(name=name)
    show_one(perform(config, data, lambda operations: operations.projects.change(project, change)), as_json=as_json)


@project.command()
@click.argument("project")
@located
@printed
def archive(project: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Archive a project, by its id: it takes no more keys; those that it has go on working."""
    change = ProjectChange(archived=True)
    show_one(perform(config, data, lambda operations: operations.projects.change(project, change)), as_json=as_json)


@project.command()
@click.argument("project")
@located
@printed
def restore(project: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Take an archived project back."""
    change = ProjectChange(archived=False)
    show_one(perform(config, data, lambda operations: operations.projects.change(project, change)), as_json=as_json)


@project.command()
@click.argument("project")
@click.argument("days")
@located
@printed
def keep(project: str, days: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Keep prompts and answers of a project's keys for so many DAYS, sealed; `off` for none from now on."""
    if days != "off" and not (days.isascii() and days.isdigit()):
        raise click.BadParameter("expected a number of days, or off", param_hint="DAYS")
    change = ProjectChange(kept_days=None if days == "off" else int(days))
    show_one(perform(config, data, lambda operations: operations.projects.change(project, change)), as_json=as_json)
