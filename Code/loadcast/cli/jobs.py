"""The commands that run on Spark: etl, stats, train."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from loadcast.cli.common import friendly, spark_options
from loadcast.cli.hints import typed
from loadcast.cli.usage import Command
from loadcast.secrets import shown

if TYPE_CHECKING:
    from loadcast.run_request import Step
    from loadcast.run_result import RunResult
    from loadcast.spark.options import SparkOptions

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
    _say(_run(config, "etl", spark, filter_ip=filter_ip == "FILTER_IP"), typed("train", shown(config)))


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
    _say(_run(config, "stats", spark), typed("score", shown(config)))


@click.command(cls=Command)
@_CONFIG
@click.option(
    "--unless-worse",
    is_flag=True,
    help="Publish it only if it does not lose against the last good model; else exit 14.",
)
@spark_options
@friendly
def train(config: str, unless_worse: bool, spark: SparkOptions) -> None:
    """Fit the model on the features that ETL made, and score it beside naive forecasts.

    Publishes the model, metrics.json and the test period's predictions with the rest of the run. With --unless-worse
    the model that answers until now is asked for the test period, too; it goes on where the new one is clearly worse.

    \b
    Examples:
      python Code/train.py Config/demo.json
      python Code/train.py Config/demo.json --unless-worse
    """
    result = _run(config, "train", spark, unless_worse=unless_worse)
    _say(result, typed("serve", "--model", result.output))


def _run(config: str, step: Step, spark: SparkOptions, **asked: bool) -> RunResult:
    from loadcast.pipeline.run import run
    from loadcast.report.run import RichProgress
    from loadcast.run_request import RunRequest
    from loadcast.settings import load_settings

    request = RunRequest(settings=load_settings(config), step=step, spark=spark, **asked)
    return run(request, RichProgress())


def _say(result: RunResult, next_step: str) -> None:
    """Show the result. Nothing is opened again: a run that was published must not end with an error after that."""
    from rich.console import Console

    from loadcast.report.run import decision_lines, metrics_table, quality_lines

    lines: list[str] = []
    if result.quality:
        lines += quality_lines(result.quality)
    if result.metrics:
        Console().print(metrics_table(result.metrics.test))
        lines += decision_lines(result.metrics.test)
        lines += [f"Warning: {result.metrics.warning}"] if result.metrics.warning else []
    if result.contest:
        lines += ["The new model answers from now on: it did not lose.", *result.contest.lines()]
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    for line in (*lines, f"Results are in {result.output}", f"Next: {next_step}"):
        console.print(line)
