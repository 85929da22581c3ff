"""`loadcast service`: running services."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loadcast.cli.answers import answer, output_option, show_fields, show_table
from loadcast.cli.common import friendly
from loadcast.cli.projects import project_option
from loadcast.cli.usage import Group

if TYPE_CHECKING:
    from loadcast.registry.service import Service

_id_option = click.option("--id", "-i", "service_id", required=True, metavar="ID", help="The service.")
_TARGETS = click.Choice(["local", "docker", "k8s"])


def _what_runs(command: Any) -> Any:
    """The options that creating and updating share."""
    options = (
        click.option("--image-id", "image", metavar="ID", help="The image to run."),
        click.option("--manifest-id", "manifest", metavar="ID", help="For the target local: what to run, unpacked."),
        click.option("--cpu", type=click.FloatRange(0.01, 256), help="Cores for each replica.  [default: 0.5]"),
        click.option("--memory", metavar="SIZE", help="Memory for each replica.  [default: 2G]"),
        click.option("--workers", type=click.IntRange(1, 64), help="Processes in each replica.  [default: 2]"),
        click.option("--autoscale-max-replicas", "most_replicas", type=click.IntRange(1, 1000), help="On k8s."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(cls=Group)
def service() -> None:
    """Run scoring services: on this machine, in containers, on Kubernetes.

    \b
    Example:
      loadcast service create realtime -n forecast --image-id forecast:1 --cpu 0.5 --memory 2G
    """


@service.group()
def create() -> None:
    """Start a service."""


@create.command(name="realtime")
@click.option("--name", "-n", required=True, metavar="NAME", help="What the service is called; its id as well.")
@_what_runs
@click.option("--target", type=_TARGETS, help="Where it runs.  [default: the environment's, else local]")
@click.option("--replicas", "-z", type=click.IntRange(1, 1000), help="On k8s.  [default: the environment's]")
@click.option("--host", metavar="ADDRESS", help="Address that it answers at.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port that it answers at.  [default: a free one; k8s: 80]")
@click.option("--namespace", metavar="NAME", help="On k8s.  [default: the environment's]")
@click.option("-f", "script", metavar="FILE", help="In one step: the script.")
@click.option("--model-file", "-m", "model", metavar="PATH", help="In one step: the model.")
@click.option("-r", "runtime", default="python", type=click.Choice(["python", "spark-py"]), help="In one step.")
@click.option("-c", "conda", metavar="FILE", help="In one step: a conda file.")
@click.option("-p", "lock", metavar="FILE", help="In one step: packages with their hashes.")
@click.option("-d", "files", multiple=True, metavar="FILE", help="In one step: a file that it needs.")
@output_option
@project_option
@friendly
def create_realtime(name: str, output: str, project: Path, **options: Any) -> None:
    """Start a service from an image; with -f and -m, make model, manifest and image on the way.

    Its two keys are shown once, and not kept. With -o value they are not shown at all; see service keys.
    The target local does not enforce --cpu and --memory.

    \b
    Examples:
      loadcast service create realtime -n forecast --image-id forecast:1 --cpu 0.5 --memory 2G
      loadcast service create realtime -n forecast -f Code/webservice.py -m Model -r python
    """
    from loadcast.registry.services import Wanted, create_service

    sources = {key: options.pop(key) for key in ("script", "model", "runtime", "conda", "lock", "files")}
    if sources["script"] or sources["model"]:
        options |= _made(project, name, sources, options)
    made, keys = create_service(project, name, Wanted(**options))

    def text() -> None:
        click.echo("Successfully created service.")
        click.echo(f"Id: {made.name}")
        click.echo(f"URL: {made.url}/score")
        for slot, key in keys.items():
            click.echo(f"{slot.capitalize()} key: {key}")
        click.echo("The keys are shown this once. Keep one where your client finds it: LOADCAST_SERVICE_KEY")

    answer(output, made.name, {**_document(made), "keys": dict(keys)}, text)


def _made(project: Path, name: str, sources: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    from loadcast.registry.one_step import Sources, made

    if not (sources["script"] and sources["model"]) or options["image"] or options["manifest"]:
        raise click.UsageError("Wanted -f FILE and -m PATH for one step, or else --image-id alone.")
    image, manifest = made(project, name, Sources(**sources), options["target"])
    return {"image": image, "manifest": manifest}


@service.group()
def update() -> None:
    """Let a service run another image, or within other limits."""


@update.command(name="realtime")
@_id_option
@_what_runs
@output_option
@project_option
@friendly
def update_realtime(service_id: str, output: str, project: Path, **options: Any) -> None:
    """Run another image, such as one with a new model, in place of the one of now.

    The one of now goes on until the new one has been ready once; where it does not get there, it goes on for good.

    \b
    Example:
      loadcast service update realtime -i forecast --image-id forecast:2
    """
    from loadcast.registry.services import Wanted, update_service

    new = update_service(project, service_id, Wanted(**options))
    answer(output, new.name, _document(new), lambda: click.echo(f"{new.name} runs {new.image or new.manifest}."))


@service.group()
def scale() -> None:
    """Let a service have more or fewer replicas."""


@scale.command(name="realtime")
@_id_option
@click.option("--replicas", "-z", required=True, type=click.IntRange(1, 1000), help="How many.")
@output_option
@project_option
@friendly
def scale_realtime(service_id: str, replicas: int, output: str, project: Path) -> None:
    """Set how many replicas answer: pods on k8s, processes on the target local.

    A service on docker is one container; it cannot be scaled.
    """
    from loadcast.registry.services import scale_service

    new = scale_service(project, service_id, replicas)
    what = f"Replicas: {new.replicas}" if new.target == "k8s" else f"Processes: {new.workers}"
    answer(output, new.name, _document(new), lambda: click.echo(what))


@service.group()
def keys() -> None:
    """See when a service's keys were made, or get a new one."""


@keys.command(name="realtime")
@_id_option
@click.option("--regenerate", "-r", type=click.Choice(["primary", "secondary"]), help="Make this key anew.")
@output_option
@project_option
@friendly
def keys_realtime(service_id: str, regenerate: str | None, output: str, project: Path) -> None:
    """Tell of the two keys; with --regenerate, get a new one, while the other goes on.

    Keys are not kept: without --regenerate only their fingerprints can be shown.

    \b
    Example:
      export LOADCAST_SERVICE_KEY=$(loadcast service keys realtime -i forecast --regenerate primary -o value)
    """
    from loadcast.registry.services import find_service, regenerate_key

    if regenerate:
        key = regenerate_key(project, service_id, regenerate)  # type: ignore[arg-type]
        answer(output, key, {"slot": regenerate, "key": key}, lambda: _say_key(regenerate, key))
        return
    known = find_service(project, service_id)[0].keys
    rows = [(info.slot, f"{info.created:%Y-%m-%d %H:%M:%S}", info.fingerprint) for info in known]
    document = [info.model_dump(mode="json") for info in known]
    text = "\n".join(f"{slot} {mark}" for slot, _, mark in rows)
    answer(output, text, document, lambda: show_table("Keys", ("key", "made (UTC)", "SHA-256 begins with"), rows))


def _say_key(slot: str, key: str) -> None:
    click.echo(f"{slot.capitalize()} key: {key}")
    click.echo("It is shown this once. The one of before no longer counts; the other key goes on.")


@service.group()
def usage() -> None:
    """See how a service is called."""


@usage.command(name="realtime")
@_id_option
@output_option
@project_option
@friendly
def usage_realtime(service_id: str, output: str, project: Path) -> None:
    """Show a service's URL, and how to call it from the shell, from Python, and with loadcast's own client."""
    from loadcast.registry.services import find_service
    from loadcast.registry.usage import usage_text

    known = find_service(project, service_id)[0]
    answer(output, known.url, _document(known), lambda: click.echo(usage_text(known)))


@service.group()
def logs() -> None:
    """See what a service says."""


@logs.command(name="realtime")
@_id_option
@click.option("--lines", default=200, show_default=True, type=click.IntRange(1, 100_000), help="How many.")
@project_option
@friendly
def logs_realtime(service_id: str, lines: int, project: Path) -> None:
    """Show the last lines of a service's log."""
    from loadcast.printable import printable
    from loadcast.registry.services import service_log

    for line in service_log(project, service_id, lines).splitlines():
        click.echo(printable(line))


@service.group(name="list")
def list_group() -> None:
    """See all services."""


@list_group.command(name="realtime")
@output_option
@project_option
@friendly
def list_realtime(output: str, project: Path) -> None:
    """List the services of the account, where they are, and how they stand."""
    from loadcast.registry.services import list_services

    listed = list_services(project)
    rows = [
        (item.name, item.state, *((known.target, known.image or known.manifest, known.url) if known else ("", "", "")))
        for item in listed
        for known in [item.service]
    ]
    fields = [_document(item.service) if item.service else {"id": item.name} for item in listed]
    document = [{**each, "state": item.state} for each, item in zip(fields, listed, strict=True)]
    answer(
        output,
        "\n".join(item.name for item in listed),
        document,
        lambda: show_table("Services", ("id", "state", "target", "runs", "URL"), rows),
    )


@service.group()
def show() -> None:
    """See all that is known of a service."""


@show.command(name="realtime")
@_id_option
@output_option
@project_option
@friendly
def show_realtime(service_id: str, output: str, project: Path) -> None:
    """Show a service's image, limits and address, and how it stands."""
    from loadcast.registry.services import find_service

    known, target, layout = find_service(project, service_id)
    document = {**_document(known), "state": target.state(known, layout)}
    rows = [(key, value) for key, value in document.items() if key != "keys"]
    answer(output, known.name, document, lambda: show_fields(rows, known.name))


@service.group()
def delete() -> None:
    """End a service."""


@delete.command(name="realtime")
@_id_option
@project_option
@friendly
def delete_realtime(service_id: str, project: Path) -> None:
    """End a service and forget it and its keys; requests under way are answered first."""
    from loadcast.registry.services import delete_service

    delete_service(project, service_id)
    click.echo(f"{service_id} is deleted.")


def _document(service: Service) -> dict[str, Any]:
    return {"id": service.name, "url": f"{service.url}/score", **service.model_dump(mode="json", by_alias=True)}
