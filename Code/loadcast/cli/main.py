"""The `loadcast` command: each subcommand is a skin over one function of the library.

A module of commands imports at its top only what its help texts need, so that `--help` answers at once; what a command
works with is imported when it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import click

from loadcast import __version__
from loadcast.cli.usage import Group

_COMMANDS = {
    "sample": "loadcast.cli.sample:sample",
    "etl": "loadcast.cli.jobs:etl",
    "stats": "loadcast.cli.jobs:stats",
    "quality": "loadcast.cli.quality:quality",
    "train": "loadcast.cli.jobs:train",
    "backtest": "loadcast.cli.backtest:backtest",
    "tune": "loadcast.cli.tune:tune",
    "serve": "loadcast.cli.serve:serve",
    "score": "loadcast.cli.score:score",
    "report": "loadcast.cli.report:report",
    "runs": "loadcast.cli.runs:runs",
    "download": "loadcast.cli.download:download",
    "export": "loadcast.cli.download:download",  # its first name
    "datastore": "loadcast.cli.datastore:datastore",
    "computetarget": "loadcast.cli.computetarget:computetarget",
    "experiment": "loadcast.cli.experiment:experiment",
    "pipeline": "loadcast.cli.pipeline:pipeline",
    "history": "loadcast.cli.history:history",
    "model": "loadcast.cli.model:model",
    "manifest": "loadcast.cli.manifest:manifest",
    "image": "loadcast.cli.image:image",
    "service": "loadcast.cli.service:service",
    "env": "loadcast.cli.env:env",
    "account": "loadcast.cli.account:account",
    "monitor": "loadcast.cli.monitor:monitor",
    "demo": "loadcast.cli.demo:demo",
}


class LazyGroup(Group):
    """A group whose commands are imported when they are asked for: `lazy` maps a name to "module:attribute"."""

    def __init__(self, *args: object, lazy: Mapping[str, str], **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]  # click's own, handed on
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in order."""
        return sorted({*super().list_commands(ctx), *self._lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported if need be; None where there is none."""
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, attribute = self._lazy[cmd_name].split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(cls=LazyGroup, lazy=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="loadcast")
def main() -> None:
    """Forecast, for every server and each of the next 48 hours, whether its load will be low, medium or high."""
