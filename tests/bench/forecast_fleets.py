"""What the families say of made-up fleets of five kinds, beside the best naive forecast of each: a table.

By hand: python tests/bench/forecast_fleets.py [--servers 40] [--days 75] [--step 12].
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.fleet_kinds import KINDS, hourly_statistics
from loadcast import schema
from loadcast.kernels.backtest.folds import folds_before
from loadcast.kernels.backtest.loads import Loads
from loadcast.kernels.backtest.summary import summary
from loadcast.kernels.calendar import epoch_seconds
from loadcast.models.registry import family_named, fit_rows_of
from loadcast.refit import Refit, score_refit
from loadcast.settings import parse_settings

BEGIN = datetime(2016, 5, 1)
MODELS = {
    "forest": {"model": "forest", "forest": {"randomSplits": True, "maxDepth": 15, "minInstancesPerNode": 10}},
    "boosted": {"model": "boosted"},
}


@click.command()
@click.option("--servers", default=40)
@click.option("--days", default=75)
@click.option("--step", default=12)
@click.option("--kinds", default=",".join(KINDS))
@click.option("--rules", default="quantile,perServer")
def main(servers: int, days: int, step: int, kinds: str, rules: str) -> None:
    """Print a line for each kind, rule and model, of one fold of `step` days at the end."""
    end = BEGIN + timedelta(days=days)
    click.echo("kind       rule       model    accuracy  lift worst  log-loss  ECE  clearly below  best naive")
    for kind, rule in product(kinds.split(","), rules.split(",")):
        loads = Loads.of([hourly_statistics(kind, servers, days, BEGIN)], _hour(BEGIN), _hour(end))
        for name, changes in MODELS.items():
            numbers = _scores(loads, end, step, {"labelRule": rule, **changes})
            click.echo(f"{kind:10} {rule:10} {name:8} {numbers}")


def _scores(loads: Loads, end: datetime, step: int, changes: dict[str, Any]) -> str:
    """Of the fold before `end`; lifts and the worst horizon in points."""
    times = {"trainBegin": BEGIN, "testSplitStart": end, "trainEnd": end + timedelta(days=1)}
    plain = {"dataFile": "unused.csv", "output": "unused", "duration": "CUSTOM", "featureSet": "direct"}
    texts = {key: time.strftime(schema.TIME_FORMAT) for key, time in times.items()}
    settings = parse_settings({**plain, **texts, **changes})
    plan = folds_before(settings.split, 1, step)
    fit = fit_rows_of(family_named(settings.model))
    found = summary(plan, [score_refit(Refit.of(settings, plan[0]), loads, fit)])
    total, lift = found["total"], found["lift"]["accuracy"]
    worst = min(one["accuracy"] - max(one["naive"].values()) for one in found["byHorizon"])
    return (
        f"{total['accuracy']:.3f} {100 * lift['lift']:+5.1f} {100 * worst:+5.1f} {total['logLoss']:.3f} "
        f"{total['expectedCalibrationError']:.3f} {found['servers']['clearlyBelowShare']:6.1%} {lift['over']}"
    )


def _hour(time: datetime) -> int:
    return epoch_seconds(time) // 3_600


if __name__ == "__main__":
    main()
