"""`loadcast backtest`: the model refitted as of earlier times, beside naive forecasts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from loadcast.cli.common import friendly, spark_options
from loadcast.cli.durations import days
from loadcast.cli.usage import Command

if TYPE_CHECKING:
    from loadcast.spark.options import SparkOptions

_MOST_FOLDS = 100


@click.command(cls=Command)
@click.argument("config", type=click.Path())
@click.option("--folds", default=4, show_default=True, type=click.IntRange(1, _MOST_FOLDS), help="How many refits.")
@click.option("--step", "step_days", default="7d", show_default=True, callback=days, help="Days scored after each.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False), metavar="FILE", help="Write all numbers to FILE.")
@spark_options
@friendly
def backtest(config: str, folds: int, step_days: int, json_file: str | None, spark: SparkOptions) -> None:
    """Refit the model as of earlier times, and score it on the days after each, beside naive forecasts.

    All folds lie before testSplitStart; nothing from there on is looked at. Hours are those of the newest run's hourly
    statistics, so ETL must have run; feature set, model and label rule may be others than that run's. Nothing is
    published. A lift whose interval over servers drawn anew holds 0 is a tie.

    \b
    Examples:
      loadcast backtest config.json
      loadcast backtest config.json --folds 6 --step 3d --json backtest.json
    """
    from loadcast.pipeline.run import run_backtest
    from loadcast.report.backtest import show_backtest
    from loadcast.report.forecast_files import check_apart, check_output, write_whole
    from loadcast.report.quality import page_console
    from loadcast.report.run import RichProgress
    from loadcast.settings import load_settings

    settings = load_settings(config)
    if json_file is not None:
        check_apart({"CONFIG": config, "--json": json_file})
        check_output(Path(json_file), "--json")
    result = run_backtest(settings, folds, step_days, spark, RichProgress())
    if json_file is not None:
        write_whole(Path(json_file), result.encoded(), "--json")
    show_backtest(result, page_console())
