"""The commands that run on Spark: etl, stats, train."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from loadcast.cli.common import friendly, spark_options
from loadcast.cli.hints import typed
from loadcast.cli.usage import Command
from loadcast.secrets import shown
from loadcast.spark.options import SparkOptions

if TYPE_CHECKING:
    from loadcast.settings import Settings

_CONFIG = click.argument("config", type=click.Path())


@click.command(cls=Command)
@_CONFIG
@click.argument("filter_ip", default="FALSE", type=click.Choice(["FILTER_IP", "FALSE"]))
@spark_options
@friendly
def etl(config: str, filter_ip: str, spark: SparkOptions) -> None:
    """Load session logs, clean them, and make features, statistics, encoders and a quality report.

    CONFIG is a JSON file such as Config/demo.json. With FILTER_IP only the servers of `filterServers` are used, for
    quick runs; FALSE, the default, takes all. The results appear in the configured output all at once, or not at all.

    \b
    Examples:
      python Code/etl.py Config/demo.json FILTER_IP
      python Code/etl.py Config/demo.json --conf spark.driver.memory=8g
    """
    from loadcast.pipeline.etl import run_etl
    from loadcast.report.run import RichProgress, quality_lines
    from loadcast.settings import load_settings

    settings = load_settings(config)
    quality = run_etl(settings, filter_ip == "FILTER_IP", spark, RichProgress())
    _say(quality_lines(quality), settings, typed("train", shown(config)))


@click.command(cls=Command)
@_CONFIG
@spark_options
@friendly
def stats(config: str, spark: SparkOptions) -> None:
    """Make the hourly and daily statistics alone, for a month to be scored.

    A month with sessions in CONFIG's period replaces, whole, the one already in the output; features, encoders and
    model stay as they are. `output` and `timezone` must be those of the trained run.

    \b
    Example, with duration CUSTOM, trainBegin and trainEnd around the new month:
      python Code/O16Npreprocessing.py july.json
    """
    from loadcast.pipeline.stats import run_stats
    from loadcast.report.run import RichProgress, quality_lines
    from loadcast.settings import load_settings

    settings = load_settings(config)
    quality = run_stats(settings, spark, RichProgress())
    _say(quality_lines(quality), settings, typed("score", shown(config)))


@click.command(cls=Command)
@_CONFIG
@spark_options
@friendly
def train(config: str, spark: SparkOptions) -> None:
    """Fit the model on the features that ETL made, and score it beside naive forecasts.

    Publishes the model, metrics.json and the test period's predictions with the rest of the run.

    \b
    Example:
      python Code/train.py Config/demo.json
    """
    from rich.console import Console

    from loadcast.pipeline.train import run_train
    from loadcast.report.run import RichProgress, metrics_table
    from loadcast.settings import load_settings
    from loadcast.storage.output import open_output

    settings = load_settings(config)
    metrics = run_train(settings, spark, RichProgress())
    console = Console()
    console.print(metrics_table(metrics.test))
    warnings = [f"Warning: {metrics.warning}"] if metrics.warning else []
    _say(warnings, settings, typed("serve", "--model", open_output(settings).shown))


def _say(lines: list[str], settings: Settings, next_step: str) -> None:
    from rich.console import Console

    from loadcast.storage.output import open_output

    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    for line in (*lines, f"Results are in {open_output(settings).shown}", f"Next: {next_step}"):
        console.print(line)
