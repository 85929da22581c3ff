"""`loadcast tune`: settings of the model tried on refits of earlier times, beside the configuration as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loadcast.cli.common import friendly, spark_options
from loadcast.cli.durations import days, seconds
from loadcast.cli.usage import Command
from loadcast.secrets import shown

if TYPE_CHECKING:
    from loadcast.artefacts.tuning import Tuning
    from loadcast.settings import Settings
    from loadcast.spark.options import SparkOptions

_FILE = click.Path(dir_okay=False)


@click.command(cls=Command)
@click.argument("config", type=click.Path())
@click.option("--folds", default=3, show_default=True, type=click.IntRange(1, 100), help="How many refits of a trial.")
@click.option("--step", "step_days", default="7d", show_default=True, callback=days, help="Days scored after each.")
@click.option(
    "--budget", "budget_s", default="10m", show_default=True, callback=seconds, help="No fold begins after this time."
)
@click.option("--trials", default=40, show_default=True, type=click.IntRange(1, 1000), help="How many settings to try.")
@click.option("--space", type=click.Path(), metavar="FILE", help="What to try, as JSON: by key values or a range.")
@click.option(
    "--journal", default="tune.jsonl", show_default=True, type=_FILE, help="What is done; a second call goes on there."
)
@click.option("--json", "json_file", type=_FILE, metavar="FILE", help="Write all numbers to FILE.")
@click.option("--write", type=_FILE, metavar="FILE", help="Write CONFIG with what is surely better, to FILE.")
@spark_options
@friendly
def tune(config: str, space: str | None, journal: str, spark: SparkOptions, **options: Any) -> None:
    """Look for better settings of the model, and a better feature set, by time-ordered cross-validation.

    Settings are drawn at random, the configuration as it stands being the first, and judged by their log-loss on refits
    of earlier times (see loadcast backtest). All are tried on the newest fold, the better half of each eight on all
    folds. What is not surely better over servers drawn anew is a tie, and the configuration stays as it is.
    testSplitStart and what follows it are not looked at, and nothing is published.

    \b
    Examples:
      loadcast tune config.json
      loadcast tune config.json --budget 2h --trials 200 --write tuned.json
    """
    from loadcast.pipeline.run import run_tuning
    from loadcast.report.forecast_files import check_apart, check_output
    from loadcast.report.run import RichProgress
    from loadcast.settings import load_settings
    from loadcast.tuning.plan import TuningPlan
    from loadcast.tuning.space import load_space

    files = {option: options.pop(name) for option, name in (("--json", "json_file"), ("--write", "write"))}
    settings = load_settings(config)
    check_apart({"CONFIG": config, "--space": space, "--journal": journal, **files})
    for option, path in files.items():
        if path is not None:
            check_output(Path(path), option)
    choices = load_space(space, settings).choices if space is not None else None
    result = run_tuning(settings, TuningPlan(**options), choices, journal, spark, RichProgress())
    _give(result, settings, files)


def _give(result: Tuning, settings: Settings, files: Mapping[str, str | None]) -> None:
    """Print the page and write the files."""
    from loadcast.report.forecast_files import write_whole
    from loadcast.report.quality import page_console
    from loadcast.report.tuning import show_tuning
    from loadcast.tuning.space import tuned_configuration

    if files["--json"] is not None:
        write_whole(Path(files["--json"]), result.encoded(), "--json")
    show_tuning(result, page_console())
    if files["--write"] is None:
        return
    if result.chosen is None:
        click.echo(f"Nothing is written to {shown(files['--write'])}.", err=True)
        return
    write_whole(Path(files["--write"]), tuned_configuration(settings, result.chosen.changes), "--write")
    click.echo(f"The configuration with these settings is in {shown(files['--write'])}.", err=True)
