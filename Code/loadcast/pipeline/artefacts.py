"""Writing a run's tables and JSON files into its staging folder."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy
import pyarrow
from pyspark import __version__ as pyspark_version
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import loadcast
from loadcast import schema
from loadcast.settings import Settings
from loadcast.spark.encoders import Encoders

_PARALLEL_WRITES = 2


def write_monthly(rows: DataFrame, time: str, folder: Path) -> None:
    """Write rows into `folder`/yyyy/MM by their `time` column, sorted by server and time within each file."""
    year, month = F.date_format(time, "yyyy"), F.date_format(time, "MM")
    frame = rows.withColumns({"yyyy": year, "MM": month}).sortWithinPartitions("yyyy", "MM", schema.SERVER, time)
    frame.write.partitionBy("yyyy", "MM").parquet(str(folder))
    for year_folder in sorted(folder.glob("yyyy=*")):
        for month_folder in sorted(year_folder.glob("MM=*")):
            month_folder.rename(year_folder / month_folder.name.removeprefix("MM="))
        year_folder.rename(folder / year_folder.name.removeprefix("yyyy="))


def run_together(jobs: list[Callable[[], None]]) -> None:
    """Run Spark jobs side by side: while one commits its files, another computes."""
    with ThreadPoolExecutor(_PARALLEL_WRITES) as pool:
        for future in [pool.submit(job) for job in jobs]:
            future.result()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON artefact."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def run_info(settings: Settings, encoders: Encoders, filter_ip: bool) -> dict[str, Any]:
    """`info` as ETL knows it; training adds the files' checksums."""
    return {
        "duration": settings.duration,
        "dataFile": settings.data_file,
        "trainBegin": _text(settings.train_begin),
        "trainEnd": _text(settings.train_end),
        "testSplitStart": _text(settings.split),
        "trainPeriod": {"from": _text(settings.train_begin), "to": _text(settings.split - timedelta(seconds=1))},
        "testPeriod": {"from": _text(settings.split), "to": _text(settings.train_end)},
        "lowThreshold": settings.low_threshold,
        "highThreshold": settings.high_threshold,
        "timezone": settings.timezone,
        "holidayCountry": settings.holiday_country,
        "filterServers": list(settings.filter_servers) if filter_ip else None,
        "columnOnlyIndexed": list(encoders.only_indexed),
        "columnForEncode": list(encoders.for_encode),
        "featureColumns": list(schema.forest_inputs(encoders.only_indexed, encoders.for_encode)),
        "versions": versions(),
        "files": {},
    }


def versions() -> dict[str, str]:
    """Versions of what made a run."""
    return {
        "loadcast": loadcast.__version__,
        "python": platform.python_version(),
        "pyspark": pyspark_version,
        "pyarrow": pyarrow.__version__,
        "numpy": numpy.__version__,
    }


def _text(time: datetime) -> str:
    return time.strftime(schema.TIME_FORMAT)
