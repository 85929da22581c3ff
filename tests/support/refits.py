"""A small fleet, published as ETL would, and configurations to backtest on it with the toy family."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

import published
from bench.fleet import hourly_statistics
from loadcast import schema
from loadcast.kernels.backtest.folds import folds_before
from loadcast.kernels.backtest.loads import Loads
from loadcast.kernels.calendar import epoch_seconds
from loadcast.kernels.grid import hours_of
from loadcast.refit import Refit
from loadcast.settings import Settings, parse_settings

BEGIN, DAYS, TEST_DAYS = datetime(2016, 6, 1), 24, 3
SPLIT = BEGIN + timedelta(days=DAYS - TEST_DAYS)


def fleet(servers: int = 3) -> pa.Table:
    """The hourly statistics of the training and the test period."""
    return pa.concat_tables(hourly_statistics(servers, DAYS, BEGIN)).combine_chunks()


def make_settings(output: Path | str = "unused", **changes: Any) -> Settings:
    """The configuration of that fleet."""
    plain = {
        "dataFile": "unused.csv",
        "output": str(output),
        "duration": "CUSTOM",
        "trainBegin": _text(BEGIN),
        "trainEnd": _text(BEGIN + timedelta(days=DAYS, seconds=-1)),
        "testSplitStart": _text(SPLIT),
        "featureSet": "direct",
        "labelRule": "perServer",
        "model": "toy",
    }
    return parse_settings({**plain, **changes})


def publish(output: Path, hourly: pa.Table) -> None:
    """Publish hourly statistics as the newest run of an output."""
    settings = make_settings(output).document()
    times = {key: settings[key] for key in ("trainBegin", "trainEnd", "testSplitStart")}
    published.publish(output, hourly, times)


def loads(hourly: pa.Table, end: datetime = SPLIT) -> Loads:
    """The loads before `end`."""
    return Loads.of([hourly], hour_of(BEGIN), hour_of(end))


def newest_refit(settings: Settings, step_days: int = 2) -> Refit:
    """The refit of the fold that ends at the split."""
    return Refit.of(settings, folds_before(settings.split, 1, step_days)[0])


def hour_of(time: datetime) -> int:
    """The hour since 1970."""
    return epoch_seconds(time) // 3_600


def changed_from(hourly: pa.Table, hour: int) -> pa.Table:
    """The statistics with tenfold loads from an hour (since 1970) on, and only every other hour there."""
    hours = hours_of(hourly.column(schema.HOUR))
    kept = (hours < hour) | (hours % 2 == 0)
    peaks = hourly.column(schema.PEAK_LOAD).to_numpy() * (1 + 9 * (hours >= hour))
    at = hourly.schema.get_field_index(schema.PEAK_LOAD)
    return hourly.set_column(at, schema.PEAK_LOAD, pa.array(peaks)).filter(pa.array(kept))


def _text(time: datetime) -> str:
    return time.strftime(schema.TIME_FORMAT)
