"""The commands that run on Spark: etl, stats, train."""

from __future__ import annotations

import click
from rich.console import Console

from loadcast.cli.common import friendly, spark_options
from loadcast.cli.usage import Command
from loadcast.report.run import RichProgress, metrics_table, quality_lines
from loadcast.secrets import shown
from loadcast.settings import Settings, load_settings
from loadcast.spark.options import SparkOptions
from loadcast.storage.output import open_output

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
    from loadcast.pipeline.etl import run_etl  # starts with pyspark, which is slow to import

    settings = load_settings(config)
    quality = run_etl(settings, filter_ip == "FILTER_IP", spark, RichProgress())
    _say(quality_lines(quality), settings, f"Next: python Code/train.py {shown(config)}")


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

    settings = load_settings(config)
    quality = run_stats(settings, spark, RichProgress())
    _say(quality_lines(quality), settings, f"Next: python Code/scoring_webservice.py {shown(config)}")


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
    from loadcast.pipeline.train import run_train

    settings = load_settings(config)
    metrics = run_train(settings, spark, RichProgress())
    console = Console()
    console.print(metrics_table(metrics.test))
    warnings = [f"Warning: {metrics.warning}"] if metrics.warning else []
    _say(warnings, settings, f"Next: python Code/webservice.py --model {open_output(settings).shown}")


def _say(lines: list[str], settings: Settings, next_step: str) -> None:
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    for line in (*lines, f"Results are in {open_output(settings).shown}", next_step):
        console.print(line)
