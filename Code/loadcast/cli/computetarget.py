"""`loadcast computetarget`: where scripts can run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loadcast.cli.common import friendly
from loadcast.cli.projects import project_from_here_option
from loadcast.cli.usage import Group
from loadcast.secrets import shown

if TYPE_CHECKING:
    from rich.table import Table

    from loadcast.experiments.compute import ComputeTarget

_FIELD_OPTIONS = (
    click.option("--address", "-a", metavar="HOST", help="Host name or IP address by SSH, or URL of a service."),
    click.option("--username", "-u", metavar="USER", help="The user there."),
    click.option("--password", "-w", metavar="REFERENCE", help="Where the password is: env:NAME or file:PATH."),
    click.option("--private-key-file", metavar="FILE", help="A private key, in place of a password."),
    click.option("--ssh-port", type=int, metavar="PORT", help="Port of SSH.  [default: 22]"),
    click.option("--host-key", metavar="KEY", help="The host's public key as in known_hosts: 'ssh-ed25519 AAAA…'."),
    click.option("--base-docker-image", metavar="IMAGE", help="The image that containers start from."),
    click.option("--shared-volumes/--no-shared-volumes", default=None, help="Whether containers mount folders."),
    click.option("--native-shared-directory", metavar="FOLDER", help="A folder that all runs there share."),
    click.option("--python-location", metavar="PATH", help="Your own interpreter there; else one is made."),
    click.option("--spark-submit-location", metavar="PATH", help="spark-submit there, in place of PySpark's own."),
    click.option("--yarn-deploy-mode", type=click.Choice(["client", "cluster"]), help="Where Spark's driver runs."),
    click.option("--master", metavar="URL", help="Spark master, for type spark: spark://HOST:PORT, k8s://URL."),
    click.option("--folder", metavar="PATH", help="Where a service keeps files: /Volumes/CATALOG/SCHEMA/VOLUME/…"),
    click.option("--token", metavar="REFERENCE", help="Where a service's token is: env:NAME or file:PATH."),
    click.option("--cluster-id", metavar="ID", help="A cluster of the service that is there already."),
    click.option("--spark-version", metavar="NAME", help="Else the runtime of each run's own cluster."),
    click.option("--node-type", metavar="NAME", help="The machines of that cluster."),
    click.option("--workers", type=int, metavar="N", help="How many beside the driver's.  [default: 1]"),
    click.option("--workspace", metavar="NAME", help="Workspace of synapse or amlcompute."),
    click.option("--spark-pool", metavar="NAME", help="Spark pool of a synapse workspace."),
    click.option("--subscription-id", metavar="ID", help="Subscription of an amlcompute workspace."),
    click.option("--resource-group", metavar="NAME", help="Resource group of an amlcompute workspace."),
    click.option("--compute-name", metavar="NAME", help="Cluster of an amlcompute workspace; made if it is not there."),
    click.option("--storage", metavar="URL", help="Container that a managed service shares with this machine."),
    click.option("--vm-size", metavar="SIZE", help="Size of an amlcompute cluster's nodes, such as STANDARD_DS3_V2."),
    click.option("--min-nodes", type=int, metavar="NUMBER", help="Nodes that it keeps.  [default: 0]"),
    click.option("--max-nodes", type=int, metavar="NUMBER", help="Nodes that it has at most.  [default: 1]"),
    click.option("--vm-priority", type=click.Choice(["dedicated", "lowpriority"]), help="Kind of its nodes."),
    click.option("--idle-seconds-before-scaledown", type=int, metavar="S", help="After it, a node is let go."),
    click.option(
        "--login", type=click.Choice(["default", "servicePrincipal", "user", "managedIdentity"]), help="Login there."
    ),
    click.option("--tenant-id", metavar="ID", help="Tenant of a login of Microsoft Entra."),
    click.option("--client-id", metavar="ID", help="A service principal, or a managed identity."),
    click.option("--client-secret", metavar="REFERENCE", help="Where a principal's secret is: env:NAME, file:PATH."),
    click.option("--key-vault", metavar="NAME", help="Key Vault that scripts' secrets are read from."),
    click.option("--key-vault-linked-service", metavar="NAME", help="Linked service of synapse that opens it."),
)
#: The fields of the file that are not spelled as pydantic's camel case of the option.
_SNAKE = ("ssh_port", "private_key_file")


def _field_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_FIELD_OPTIONS):
        command = option(command)
    return command


@click.group(cls=Group)
def computetarget() -> None:
    """Compute targets: machines and clusters where scripts can run, described in aml_config/NAME.compute.

    Each command works on the working folder's project, has a --help and shows an error's traceback with --debug.

    \b
    Examples:
      loadcast computetarget attach localdocker --name mydocker
      loadcast computetarget attach remotedocker --name dockerdsvm --address 10.0.0.4 \\
          --username me --private-key-file ~/.ssh/id_ed25519
      loadcast computetarget list
    """


@computetarget.command()
@click.argument("kind", metavar="[TYPE]", required=False)
@click.option("--type", "-t", "named_kind", metavar="TYPE", help="The type, where it does not stand first.")
@click.option("--name", "-n", required=True, metavar="NAME", help="What the target is called.")
@_field_options
@click.option("--no-check", is_flag=True, help="Do not try to reach it.")
@project_from_here_option
@friendly
def attach(kind: str | None, named_kind: str | None, name: str, no_check: bool, project: Path, **options: Any) -> None:
    """Write aml_config/NAME.compute and NAME.runconfig for a new target.

    TYPE is local, localdocker, remotedocker, remote, cluster, spark, databricks, synapse or amlcompute.
    Docs/EXPERIMENTS.md says which fields each has. A secret is never given itself, only where it is.
    """
    from loadcast.experiments.attaching import attach as attach_target

    if kind and named_kind and kind != named_kind:
        raise click.UsageError("The type stands there twice, each time another.")
    fields = {"type": kind or named_kind, **{_field(option): value for option, value in options.items()}}
    attached = attach_target(project, name, fields, check=not no_check)
    click.echo(f"{name} is attached: {_named(attached.files)}.")
    if attached.facts:
        _print(_table(attached.facts.items()))
    if attached.advice:
        click.echo(f"loadcast: {attached.advice}", err=True)


@computetarget.command(name="list")
@project_from_here_option
@friendly
def list_(project: Path) -> None:
    """Show all targets of the project."""
    from rich.table import Table
    from rich.text import Text

    from loadcast.errors import ConfigError
    from loadcast.experiments.compute import list_compute

    listed = list_compute(project)
    if not listed:
        click.echo("There are no compute targets. Attach one: loadcast computetarget attach TYPE --name NAME")
        return
    table = Table("name", "type", "where", "Python", title="Compute targets in aml_config")
    for entry in listed:
        target = entry.target
        if target is None:
            table.add_row(Text(shown(entry.name)), "", Text("cannot be used"), "")
            continue
        where, python = _where(target), target.python_location or ""
        table.add_row(entry.name, target.type, Text(where, overflow="fold"), Text(python, overflow="fold"))
    _print(table)
    problems = [str(entry.problem) for entry in listed if entry.problem is not None]
    if problems:
        raise ConfigError(*(line for problem in problems for line in problem.splitlines()))


@computetarget.command()
@click.argument("name")
@project_from_here_option
@friendly
def show(name: str, project: Path) -> None:
    """Show the fields of the target NAME, and the run configurations that name it."""
    from loadcast.experiments.compute import read_compute
    from loadcast.experiments.runconfig import list_runconfigs

    fields = read_compute(project, name).document()
    configs = [config for config, content in list_runconfigs(project).items() if content.target == name]
    _print(_table([*fields.items(), ("run configurations", ", ".join(configs) or "none")], name))


@computetarget.command(name="test")
@click.argument("name")
@project_from_here_option
@friendly
def test_it(name: str, project: Path) -> None:
    """Reach the target NAME, and show what it has."""
    from loadcast.experiments.compute import read_compute
    from loadcast.experiments.connections import check_target

    _print(_table(check_target(read_compute(project, name), name, project).items(), name))


@computetarget.command()
@click.argument("name")
@project_from_here_option
@friendly
def detach(name: str, project: Path) -> None:
    """Forget the target NAME: remove its file, and its run configuration. The machine stays as it is."""
    from loadcast.experiments.attaching import detach as detach_target

    detached = detach_target(project, name)
    click.echo(f"{name} is detached. Removed: {_named(detached.files)}.")
    if detached.named_by:
        click.echo(f"Run configurations that still name it: {', '.join(detached.named_by)}.")


def _where(target: ComputeTarget) -> str:
    """Where a target is, as far as its fields say."""
    return target.address or target.master or target.workspace or "this machine"


def _field(option: str) -> str:
    """The field of the file that an option stands for."""
    from pydantic.alias_generators import to_camel

    return option if option in _SNAKE else to_camel(option)


def _named(files: Iterable[Path]) -> str:
    return ", ".join(str(file) for file in files)


def _table(rows: Iterable[tuple[str, object]], title: str | None = None) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, show_header=False)
    for name, value in rows:
        # A public key has the form of a secret one.
        text = str(value) if name == "hostKey" else shown(value)
        table.add_row(Text(name), Text(text, overflow="fold"))
    return table


def _print(table: Table) -> None:
    from rich.console import Console

    Console().print(table)
