"""`loadcast model`: trained models by name and version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loadcast.cli.answers import answer, output_option, show_fields, show_table, tag_words
from loadcast.cli.common import friendly
from loadcast.cli.projects import project_option
from loadcast.cli.usage import Group
from loadcast.secrets import shown

if TYPE_CHECKING:
    from loadcast.registry.models import ModelVersion

_model_option = click.option(
    "--model",
    "--model-id",
    "-m",
    "-i",
    "model",
    required=True,
    metavar="ID",
    help="NAME:VERSION, NAME@ALIAS, or NAME: its champion, else its newest version.",
)


@click.group(cls=Group)
def model() -> None:
    """Register trained models, look them up, and say which one services are made from.

    The extra `history` has to be installed: names and versions are in MLflow's registry, in the project's database.

    \b
    Example:
      loadcast model register -m output/demo -n forecast -t demo
    """


@model.command()
@click.option("--model", "-m", "path", required=True, metavar="PATH", help="What `loadcast serve` takes, or one part.")
@click.option("--name", "-n", required=True, metavar="NAME", help="What the model is called.")
@click.option("--tag", "-t", "tags", multiple=True, metavar="TAG", help="A word or KEY=VALUE; repeatable.")
@click.option("--description", "-d", default="", metavar="TEXT", help="What is to be known of it.")
@output_option
@project_option
@friendly
def register(path: str, name: str, tags: tuple[str, ...], description: str, output: str, project: Path) -> None:
    """Register the model at PATH as the next version of NAME.

    PATH is a bundle, an output folder, a container's URL or a configuration. The model is loaded as the service loads
    it, and copied whole. The parts of a bundle, such as mlModel and info, can be registered one by one, too; a manifest
    puts them together.

    \b
    Example:
      loadcast model register -m Model -n forecast -t fullmodel
    """
    from loadcast.registry.models import register as register_model
    from loadcast.registry.models import same_models

    version = register_model(project, path, name, tags, description)

    def text() -> None:
        click.echo("Successfully registered model.")
        click.echo(f"Id: {version.id}")
        if same := same_models(project, version):
            ids = ", ".join(other.id for other in same)
            click.echo(f"It is the same model as {ids}: nothing newer lies at {shown(path)}.")
        click.echo(f"More information: loadcast model show -m {version.id}")

    answer(output, version.id, _document(version), text)


@model.command(name="list")
@click.option("--name", "-n", metavar="NAME", help="Only versions of this model.")
@click.option("--tag", "-t", metavar="TAG", help="Only versions with this tag.")
@output_option
@project_option
@friendly
def list_them(name: str | None, tag: str | None, output: str, project: Path) -> None:
    """List all versions of all models."""
    from loadcast.registry.models import list_models

    versions = list_models(project, name, tag)

    def text() -> None:
        rows = [
            (version.id, ", ".join(version.aliases), version.part, tag_words(version.tags), _time(version))
            for version in versions
        ]
        if rows:
            show_table("Registered models", ("id", "aliases", "holds", "tags", "registered (UTC)"), rows)
        else:
            click.echo("There are no models. Register one: loadcast model register -m PATH -n NAME")

    ids = "\n".join(version.id for version in versions)
    answer(output, ids, [_document(version) for version in versions], text)


@model.command()
@_model_option
@output_option
@project_option
@friendly
def show(model: str, output: str, project: Path) -> None:
    """Show all that is known of a model."""
    from loadcast.registry.models import content, find_model

    version = find_model(project, model)
    document = {**_document(version), "folder": str(content(project, version).folder)}
    answer(output, version.id, document, lambda: show_fields([*_texts(document).items()], version.id))


@model.command()
@_model_option
@click.option(
    "--target-dir", "-t", type=click.Path(path_type=Path), help="A new or empty folder.  [default: NAME-VERSION]"
)
@output_option
@project_option
@friendly
def download(model: str, target_dir: Path | None, output: str, project: Path) -> None:
    """Copy a model into a folder of its own, whole or not at all.

    \b
    Example:
      loadcast model download -m forecast:2 -t Model-2
    """
    from loadcast.registry.models import content, find_model
    from loadcast.registry.store import copied

    version = find_model(project, model)
    target = target_dir or Path(f"{version.name}-{version.version}")
    copied(content(project, version), target)
    answer(output, str(target), {"id": version.id, "folder": str(target)}, lambda: _say_copied(version, target))


def _say_copied(version: ModelVersion, target: Path) -> None:
    click.echo(f"{version.id} is in {shown(target)}.")
    if version.part == "bundle":
        click.echo(f"Serve it: loadcast serve --model {shown(target)}")


@model.command()
@_model_option
@output_option
@project_option
@friendly
def promote(model: str, output: str, project: Path) -> None:
    """Make a version the champion of its name.

    NAME alone then means this version. The champion until now is kept as the previous one.

    \b
    Example:
      loadcast model promote -m forecast:3
    """
    from loadcast.registry.models import promote as make_champion

    version, before = make_champion(project, model)
    is_other = before is not None and before.id != version.id
    same = ", the same model" if before is not None and before.digest == version.digest else ""
    was = f" The champion before was {before.id}{same}." if before is not None and is_other else ""
    document = {"champion": version.id, "before": before and before.id}
    answer(output, version.id, document, lambda: click.echo(f"{version.id} is the champion.{was}"))


@model.command()
@click.option("--name", "-n", required=True, metavar="NAME", help="Whose champion is to be the one of before.")
@output_option
@project_option
@friendly
def rollback(name: str, output: str, project: Path) -> None:
    """Make the previous champion of NAME the champion again; once more leads back.

    \b
    Example:
      loadcast model rollback -n forecast
    """
    from loadcast.registry.models import rollback as go_back

    version, before = go_back(project, name)
    document = {"champion": version.id, "before": before.id}
    answer(output, version.id, document, lambda: click.echo(f"{version.id} is the champion again, not {before.id}."))


def _time(version: ModelVersion) -> str:
    return f"{version.created:%Y-%m-%d %H:%M:%S}"


def _document(version: ModelVersion) -> dict[str, Any]:
    return {
        "id": version.id,
        "holds": version.part,
        "aliases": [*version.aliases],
        "tags": dict(version.tags),
        "description": version.description,
        "registered": version.created.isoformat(timespec="seconds"),
        "digest": version.digest,
    }


def _texts(document: dict[str, Any]) -> dict[str, object]:
    return {**document, "aliases": ", ".join(document["aliases"]), "tags": tag_words(document["tags"])}
