"""Whole runs of the pipeline in this process: their settings, and their tables read back without Spark."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import sessions
from loadcast import paths, schema
from loadcast.kernels.calendar import CalendarRule
from loadcast.rules import Rules
from loadcast.settings import Settings, parse_settings
from loadcast.spark.options import SparkOptions
from loadcast.storage.output import open_output
from loadcast.storage.publish import open_run

OPTIONS = SparkOptions(master="local[2]", extra={"spark.sql.shuffle.partitions": "2", "spark.default.parallelism": "2"})
HOUR_KEYS = [(schema.SERVER, "ascending"), (schema.HOUR, "ascending")]
DAY_KEYS = [(schema.SERVER, "ascending"), (schema.DAY, "ascending")]
REJECTED_KEYS = [(schema.REJECTED_FILE, "ascending"), (schema.REJECTED_OFFSET, "ascending")]
SORTED_BY = {
    paths.FEATURES: HOUR_KEYS,
    paths.HOURLY: HOUR_KEYS,
    paths.PREDICTIONS: HOUR_KEYS,
    paths.DAILY: DAY_KEYS,
    paths.REJECTED: REJECTED_KEYS,
}


@dataclass(frozen=True)
class Run:
    """A published run: what it was made with, what was said of it, and its folder."""

    settings: Settings
    folder: Path
    quality: dict[str, Any]
    metrics: dict[str, Any]

    @property
    def calendar(self) -> CalendarRule:
        """The calendar of its features."""
        return Rules.of(self.settings).calendar

    @property
    def info(self) -> dict[str, Any]:
        """Its `info`."""
        return json.loads((self.folder / paths.INFO).read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Logs:
    """Items of session logs by their layout, for writing the same sessions in several ways."""

    items: dict[int, list[bytes]]

    def write(self, folder: Path, parts: dict[int, int], seed: int, *, shuffle: bool, form: str = "mixed") -> str:
        """Write each layout over its number of files; gives the pattern that finds them all.

        `form` is "plain", "gz" (each file compressed) or "mixed" (some compressed, with a byte order mark, or cut).
        """
        for layout, items in self.items.items():
            place, plain = folder / str(layout), form != "mixed"
            for path in sessions.write_split(items, place, parts[layout], seed, shuffle=shuffle, plain=plain):
                if form == "gz":
                    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 1, mtime=0))
                    path.unlink()
        return str(folder / "*" / "*" / "*" / "request.csv*")


def make_settings(data: Path | str, output: Path, days: int, test_days: int, **changes: Any) -> Settings:
    """Settings for a log of `days` days from sessions.BEGIN, the last `test_days` of them for the test."""
    end = sessions.last_second(days)
    plain = {
        "dataFile": str(data),
        "output": str(output),
        "duration": "CUSTOM",
        "trainBegin": text(sessions.BEGIN),
        "trainEnd": text(end),
        "testSplitStart": text(end + timedelta(seconds=1) - timedelta(days=test_days)),
        # The logs hold every fault there is, more than a real log of their size.
        "maxRejectedFraction": 1.0,
    }
    return parse_settings({**plain, **changes})


def text(time: datetime) -> str:
    """A time as the configuration has it."""
    return time.strftime(schema.TIME_FORMAT)


def etl(settings: Settings, filter_ip: bool = False) -> Run:
    """Run ETL."""
    from loadcast.pipeline.run import run_etl

    result = run_etl(settings, filter_ip, OPTIONS)
    return Run(settings, published(settings), result.quality.document(), {})


def stats(settings: Settings) -> Run:
    """Run the statistics alone."""
    from loadcast.pipeline.run import run_stats

    result = run_stats(settings, OPTIONS)
    return Run(settings, published(settings), result.quality.document(), {})


def train(run: Run) -> Run:
    """Train on a run of ETL."""
    from loadcast.pipeline.run import run_train

    result = run_train(run.settings, OPTIONS)
    return Run(run.settings, published(run.settings), run.quality, result.metrics.document())


def table(run: Run, name: str) -> pa.Table:
    """One of a run's tables, months together, as its files have it but sorted by its keys."""
    files = sorted((run.folder / name).rglob("*.parquet"))
    return pa.concat_tables([pq.ParquetFile(file).read() for file in files]).sort_by(SORTED_BY[name]).combine_chunks()


def frame(run: Run, name: str) -> pd.DataFrame:
    """The same as a data frame."""
    return table(run, name).to_pandas()


def test_rows(run: Run) -> pa.Table:
    """mlSource from testSplitStart on."""
    rows = table(run, paths.FEATURES)
    return rows.filter(pa.array(rows.column(schema.HOUR).to_numpy() >= np.datetime64(run.settings.split, "us")))


test_rows.__test__ = False  # type: ignore[attr-defined]


def same_bits(found: pa.Table, wanted: pa.Table) -> list[str]:
    """Names of the columns that differ in any bit (−0 from 0, one NaN from another); all names where rows differ."""
    if found.schema != wanted.schema or found.num_rows != wanted.num_rows:
        return [*found.column_names, "schema or number of rows"]
    return [name for name in found.column_names if not _same_column(found.column(name), wanted.column(name))]


def _same_column(found: pa.ChunkedArray, wanted: pa.ChunkedArray) -> bool:
    if found.type != pa.float64():
        return found.equals(wanted)
    return np.array_equal(found.to_numpy().view(np.int64), wanted.to_numpy().view(np.int64))


def file_bytes(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, links not followed."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def published(settings: Settings) -> Path:
    """The newest run of a configuration's output, as a folder with all its artefacts."""
    return open_run(open_output(settings).at_hand({paths.CURRENT: paths.ARTEFACTS}))
