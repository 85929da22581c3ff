"""`loadcast manifest`: all that a service is made of, kept whole."""

from __future__ import annotations

from pathlib import Path

import click

from loadcast.cli.answers import answer, output_option, show_table
from loadcast.cli.common import friendly
from loadcast.cli.projects import project_option
from loadcast.cli.usage import Group


@click.group(cls=Group)
def manifest() -> None:
    """Say what a service is made of: its script, its models, its packages.

    \b
    Example:
      loadcast manifest create -n forecast -f Code/webservice.py -r python -i forecast:1
    """


@manifest.command()
@click.option("--manifest-name", "--name", "-n", "name", required=True, metavar="NAME", help="What it is called.")
@click.option("-f", "script", required=True, metavar="FILE", help="The script; it takes what `loadcast serve` takes.")
@click.option("-r", "runtime", default="python", show_default=True, type=click.Choice(["python", "spark-py"]))
@click.option("-c", "conda", metavar="FILE", help="A conda file; all that it asks of pip has to be in the lock.")
@click.option("-p", "lock", metavar="FILE", help="Packages with their hashes, in place of the service's own lock.")
@click.option(
    "-i", "models", multiple=True, required=True, metavar="ID", help="A registered model, or a part; repeatable."
)
@click.option("-d", "files", multiple=True, metavar="FILE", help="A file that the script needs; repeatable.")
@click.option("-s", "schema", metavar="FILE", help="A schema file, kept beside the script.")
@output_option
@project_option
@friendly
def create(name: str, script: str, runtime: str, output: str, project: Path, **options: object) -> None:
    """Put together what a service is made of.

    Everything is copied: the script, its files, the model, the locked packages' names, and loadcast as it is now.
    The models are one whole bundle, or its parts, each once; they are loaded as the service loads them.
    Runtimes python and spark-py are the same here: the service needs no Spark.

    \b
    Example:
      loadcast manifest create -n forecast -f webservice.py -r spark-py \\
          -c ../Config/conda_dependencies_webservice.yml -i forecast:1
    """
    from loadcast.registry.manifests import Asked, create_manifest

    files = [*options["files"], *filter(None, [options["schema"]])]  # type: ignore[misc]
    models, conda, lock = options["models"], options["conda"], options["lock"]
    asked = Asked(name, script, models, runtime, files, conda, lock)  # type: ignore[arg-type]
    made = create_manifest(project, asked)

    def text() -> None:
        click.echo("Successfully created manifest.")
        click.echo(f"Id: {made.id}")
        click.echo(f"Next: loadcast image create -n NAME --manifest-id {made.id}")

    answer(output, made.id, {"id": made.id, **made.document()}, text)


@manifest.command(name="list")
@output_option
@project_option
@friendly
def list_them(output: str, project: Path) -> None:
    """List all manifests of the account."""
    from loadcast.registry.manifests import list_manifests

    known = list_manifests(project)

    def text() -> None:
        rows = [(item.id, item.script, ", ".join(item.models), f"{item.created:%Y-%m-%d %H:%M:%S}") for item in known]
        show_table("Manifests", ("id", "script", "models", "created (UTC)"), rows)

    answer(output, "\n".join(item.id for item in known), [{"id": item.id, **item.document()} for item in known], text)
