"""`loadcast image`: services as images of containers."""

from __future__ import annotations

from pathlib import Path

import click

from loadcast.cli.answers import answer, output_option, show_table
from loadcast.cli.common import friendly
from loadcast.cli.projects import project_option
from loadcast.cli.usage import Group


@click.group(cls=Group)
def image() -> None:
    """Build images of services with docker, or podman under that name.

    \b
    Example:
      loadcast image create -n forecast --manifest-id forecast:1
    """


@image.command()
@click.option("--image-name", "--name", "-n", "name", required=True, metavar="NAME", help="What it is called.")
@click.option("--manifest-id", required=True, metavar="ID", help="What it is made from.")
@click.option("--base-image", metavar="IMAGE", help="A Debian with Python 3.11 to 3.13.  [default: the environment's]")
@click.option("--repository", metavar="HOST/PATH", help="Name it below this repository, and push it there.")
@output_option
@project_option
@friendly
def create(
    name: str, manifest_id: str, base_image: str | None, repository: str | None, output: str, project: Path
) -> None:
    """Build an image from a manifest.

    It has the locked packages, checked by their hashes, and neither Java nor Spark nor pandas.
    It runs as a user without rights, and its file system need not be writable.

    \b
    Example:
      loadcast image create -n forecast --manifest-id forecast:1 --base-image python:3.13-slim-bookworm
    """
    from loadcast.registry.images import create_image

    made = create_image(project, name, manifest_id, base_image, repository)

    def text() -> None:
        click.echo(f"Successfully created image {made.reference}.")
        click.echo(f"Size: {(made.size_bytes - made.base_size_bytes) / 1e6:,.0f} MB on top of {made.base_image}")
        click.echo(f"Id: {made.id}")
        click.echo(f"Next: loadcast service create realtime -n NAME --image-id {made.id}")

    answer(output, made.id, {"id": made.id, **made.document()}, text)


@image.command(name="list")
@output_option
@project_option
@friendly
def list_them(output: str, project: Path) -> None:
    """List all images of the account."""
    from loadcast.registry.images import list_images

    known = list_images(project)

    def text() -> None:
        rows = [(item.id, item.reference, item.manifest, f"{item.created:%Y-%m-%d %H:%M:%S}") for item in known]
        show_table("Images", ("id", "reference", "manifest", "created (UTC)"), rows)

    answer(output, "\n".join(item.id for item in known), [{"id": item.id, **item.document()} for item in known], text)
