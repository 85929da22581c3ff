"""Writing frames into a run's staging folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from loadcast import paths, schema
from loadcast.spark.server import ServerRows

Job = Callable[[], None]
_PARALLEL_JOBS = 3


def write_monthly(rows: DataFrame, time: str, folder: Path) -> None:
    """Write rows into `folder`/yyyy/MM by their `time` column, sorted by server and time within each file."""
    year, month = F.date_format(time, "yyyy"), F.date_format(time, "MM")
    frame = rows.withColumns({"yyyy": year, "MM": month}).sortWithinPartitions("yyyy", "MM", schema.SERVER, time)
    frame.write.partitionBy("yyyy", "MM").parquet(str(folder))
    for year_folder in sorted(folder.glob("yyyy=*")):
        for month_folder in sorted(year_folder.glob("MM=*")):
            month_folder.rename(year_folder / month_folder.name.removeprefix("MM="))
        year_folder.rename(folder / year_folder.name.removeprefix("yyyy="))


@contextmanager
def side_by_side() -> Iterator[Callable[[Job], None]]:
    """Run Spark jobs side by side: while one commits its files, another computes.

    Gives a function that starts a job; the block ends when all have. The first error of a job is raised then.
    """
    with ThreadPoolExecutor(_PARALLEL_JOBS) as pool:
        started: list[Future[None]] = []
        yield lambda job: started.append(pool.submit(job))
        for future in started:
            future.result()


def parquet_job(rows: DataFrame, path: Path) -> Job:
    """The job that writes rows as Parquet."""
    return partial(rows.write.parquet, str(path))


def statistics_jobs(rows: ServerRows, folder: Path) -> list[Job]:
    """The jobs that write the hourly and daily statistics."""
    hours = rows.hours().select(*schema.HOURLY_SCHEMA.names)
    return [
        partial(write_monthly, hours, schema.HOUR, folder / paths.HOURLY),
        partial(write_monthly, rows.days(), schema.DAY, folder / paths.DAILY),
    ]
