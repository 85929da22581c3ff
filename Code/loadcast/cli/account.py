"""`loadcast account`: whose manifests, images and services they are."""

from __future__ import annotations

from pathlib import Path

import click

from loadcast.cli.answers import answer, output_option
from loadcast.cli.common import friendly
from loadcast.cli.projects import project_option
from loadcast.cli.usage import Group


@click.group(cls=Group)
def account() -> None:
    """Accounts that keep manifests, images and services apart; folders of the project.

    Without any, all belongs to the account `default`.
    """


@account.group()
def modelmanagement() -> None:
    """Make an account, or use another."""


@modelmanagement.command()
@click.option("--name", "-n", required=True, metavar="NAME", help="What it is called.")
@click.option("--resource-group", "-g", "group", default="", metavar="NAME", help="A label.")
@click.option("--location", "-l", default="", metavar="REGION", help="A label.")
@click.option("--sku-name", "-s", default="", metavar="NAME", help="A label; nothing is rented.")
@click.option("--sku-instances", "-i", type=click.IntRange(1), default=1, help="A label; nothing is rented.")
@output_option
@project_option
@friendly
def create(name: str, output: str, project: Path, **options: object) -> None:
    """Make an account. The first one is used at once.

    \b
    Example:
      loadcast account modelmanagement create --location eastus2 -n demoacc -g demorg --sku-instances 4 --sku-name S3
    """
    from loadcast.registry.settings import create_account

    sku = f"{options['sku_name']} × {options['sku_instances']}" if options["sku_name"] else ""
    labels = {"group": options["group"], "location": options["location"], "sku": sku}
    made = create_account(project, name, labels)
    said = f"The account {name} is there. Use it: loadcast account modelmanagement set -n {name}"
    answer(output, name, made.document(), lambda: click.echo(said))


@modelmanagement.command(name="set")
@click.option("--name", "-n", required=True, metavar="NAME", help="Which one.")
@click.option("--resource-group", "-g", "group", metavar="NAME", help="Its group, to be sure.")
@output_option
@project_option
@friendly
def set_it(name: str, group: str | None, output: str, project: Path) -> None:
    """Use an account from now on."""
    from loadcast.registry.settings import use_account

    known = use_account(project, name, group)
    answer(output, name, known.document(), lambda: click.echo(f"The account {name} is in use."))
