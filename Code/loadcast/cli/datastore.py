"""`loadcast datastore`: names for containers."""

from __future__ import annotations

import click

from loadcast.cli.common import friendly
from loadcast.cli.usage import Group
from loadcast.secrets import shown


@click.group(cls=Group)
def datastore() -> None:
    """Give containers names: datastore://NAME/PATH then stands wherever a URL does.

    Names, URLs and references to keys are kept in aml_config/datastores.json, or the file that $LOADCAST_DATASTORES
    names; no secret is. Each command has a --help and shows an error's traceback with --debug.

    \b
    Example:
      export LOGS_KEY=...
      loadcast datastore register logs wasbs://data@account.blob.core.windows.net --key env:LOGS_KEY
    and in the configuration: "dataFile": "datastore://logs/2016/06/*/*/request.csv"
    """


@datastore.command()
@click.argument("name")
@click.argument("url")
@click.option(
    "--key",
    metavar="REFERENCE",
    help="env:NAME or file:PATH, which hold an account key, a SAS or a connection string.  "
    "[default: Azure's credential chain, else anonymous]",
)
@friendly
def register(name: str, url: str, key: str | None) -> None:
    """Let NAME stand for the container, or the path in one, at URL; an older meaning is replaced."""
    from loadcast.storage.datastores import load_datastores, register_datastore

    before = register_datastore(name, url, key)
    click.echo(f"datastore://{name} is {load_datastores()[name].url}" + (f" (was {before.url})" if before else ""))


@datastore.command("list")
@friendly
def list_() -> None:
    """Show all datastores, with the references to their keys."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from loadcast.storage.datastores import datastores_file, load_datastores

    stores = load_datastores()
    if not stores:
        click.echo(f"{shown(datastores_file())} has no datastores. Add one: loadcast datastore register NAME URL")
        return
    table = Table("name", "URL", "key", box=SIMPLE_HEAD)
    for name, store in sorted(stores.items()):
        table.add_row(Text(name), Text(store.url, overflow="fold"), Text(store.key or "", overflow="fold"))
    Console().print(table)


@datastore.command()
@click.argument("name")
@friendly
def remove(name: str) -> None:
    """Forget NAME. The container stays as it is."""
    from loadcast.storage.datastores import remove_datastore

    remove_datastore(name)
    click.echo(f"datastore://{name} is forgotten.")
