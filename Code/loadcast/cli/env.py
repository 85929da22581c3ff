"""`loadcast env`: where services run unless told otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from loadcast.cli.answers import answer, output_option, show_fields
from loadcast.cli.common import friendly
from loadcast.cli.projects import project_option
from loadcast.cli.usage import Group

if TYPE_CHECKING:
    from loadcast.registry.settings import ServiceEnvironment


@click.group(cls=Group)
def env() -> None:
    """Environments of services: this machine, its containers, or a cluster of Kubernetes.

    Without any, services run on this machine. An environment is a setting of the project; nothing is rented.

    \b
    Example:
      loadcast env setup -n demo --target docker
    """


@env.command()
@click.option("--name", "-n", required=True, metavar="NAME", help="What it is called.")
@click.option("--resource-group", "-g", "group", metavar="NAME", help="A label.  [default: NAMErg]")
@click.option("--location", "-l", default="", metavar="REGION", help="A label.")
@click.option("--cluster", "-c", is_flag=True, help="Services on Kubernetes, by kubectl; the same as --target k8s.")
@click.option("--target", type=click.Choice(["local", "docker", "k8s"]), help="Where services run.  [default: local]")
@click.option("--agent-count", "-z", "agents", type=click.IntRange(1, 1000), default=2, help="Replicas on k8s.")
@click.option("--namespace", default="default", metavar="NAME", help="On k8s.")
@click.option("--base-image", metavar="IMAGE", help="What images start from: a Debian with Python 3.11 to 3.13.")
@click.option("--yes", "-y", is_flag=True, help="There is nothing to be asked; taken as the documented command has it.")
@output_option
@project_option
@friendly
def setup(
    name: str,
    group: str | None,
    cluster: bool,
    target: str | None,
    base_image: str | None,
    yes: bool,  # nothing is asked in any case
    **options: object,
) -> None:
    """Say where services run. The first environment is used at once.

    \b
    Examples:
      loadcast env setup -n demo --location eastus2
      loadcast env setup -c -n demo --location eastus2 --cluster -z 5 --yes
    """
    from loadcast.registry.settings import DEFAULT_BASE_IMAGE, setup_environment

    if cluster and target not in (None, "k8s"):
        raise click.UsageError(f"Found both --cluster and --target {target}, wanted one of them.")
    output, project = str(options.pop("output")), options.pop("project")
    fields = {
        **options,
        "group": group or f"{name}rg",
        "target": "k8s" if cluster else target or "local",
        "base_image": base_image or DEFAULT_BASE_IMAGE,
    }
    made = setup_environment(project, name, fields)  # type: ignore[arg-type]
    _answer(
        output, made, f"The environment {made.name} is set up: {made.target}. Use it: loadcast env set -n {made.name}"
    )


@env.command()
@click.option("--name", "-n", metavar="NAME", help="Which one.  [default: the one in use]")
@click.option("--resource-group", "-g", "group", metavar="NAME", help="Its group, to be sure.")
@output_option
@project_option
@friendly
def show(name: str | None, group: str | None, output: str, project: Path) -> None:
    """Show an environment, the one in use unless named."""
    from loadcast.registry.settings import current_environment, find_environment

    known = find_environment(project, name, group) if name else current_environment(project)
    rows = [("name", known.name), ("group", known.group), ("location", known.location), ("target", known.target)]
    rows += [("base image", known.base_image)]
    if known.target == "k8s":
        rows += [("replicas", str(known.agents)), ("namespace", known.namespace)]
    answer(output, known.name, known.document(), lambda: show_fields(rows))


@env.command(name="set")
@click.option("--name", "-n", required=True, metavar="NAME", help="Which one.")
@click.option("--resource-group", "-g", "group", metavar="NAME", help="Its group, to be sure.")
@output_option
@project_option
@friendly
def set_it(name: str, group: str | None, output: str, project: Path) -> None:
    """Use an environment from now on."""
    from loadcast.registry.settings import use_environment

    known = use_environment(project, name, group)
    _answer(output, known, f"The environment {known.name} is in use: {known.target}.")


def _answer(output: str, environment: ServiceEnvironment, said: str) -> None:
    answer(output, environment.name, environment.document(), lambda: click.echo(said))
