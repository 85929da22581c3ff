"""`loadcast sample`: write session logs to try everything else with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loadcast.cli.common import friendly
from loadcast.cli.hints import typed
from loadcast.cli.usage import Command
from loadcast.sample.spec import FILES_PER_MONTH, MOST_JOBS, SampleSpec
from loadcast.secrets import shown
from loadcast.system.cores import usable_cores

if TYPE_CHECKING:
    from loadcast.sample.write import SampleSummary

_DEFAULTS = SampleSpec()


#: Fewer rows are written sooner than another process is started.
_ROWS_WORTH_A_PROCESS = 500_000


def _default_jobs(rows: int) -> int:
    return max(1, min(usable_cores(), rows // _ROWS_WORTH_A_PROCESS, MOST_JOBS))


@click.command(cls=Command)
@click.argument("dest", type=click.Path(path_type=Path))
@click.option("--servers", default=_DEFAULTS.servers, show_default=True, help="Number of servers.")
@click.option("--days", default=_DEFAULTS.days, show_default=True, help="Number of days.")
@click.option(
    "--rows",
    default=_DEFAULTS.rows,
    show_default=True,
    help="Number of data lines, dirty ones included, of about 122 bytes each: 8_000_000 make about 1 GB.",
)
@click.option(
    "--start",
    type=click.DateTime(["%Y-%m-%d"]),
    default=f"{_DEFAULTS.start:%Y-%m-%d}",
    show_default=True,
    help="First day.",
)
@click.option("--seed", default=_DEFAULTS.seed, show_default=True, help="The same seed gives the same bytes.")
@click.option("--dirty", default=_DEFAULTS.dirty, show_default=True, help="Share of dirty lines, 0 to 1.")
@click.option(
    "--files-per-month", default=FILES_PER_MONTH, show_default=True, help="Number of files for each month, 1 to 14."
)
@click.option(
    "--jobs", type=int, help="Processes that write at once; the bytes are the same.  [default: all cores for many rows]"
)
@click.option("--overwrite", is_flag=True, help="Replace sample files that DEST already holds; other files stay.")
@friendly
def sample(dest: Path, start: datetime, jobs: int | None, overwrite: bool, dirty: float, **numbers: int) -> None:
    """Write sample session logs to the folder DEST.

    The logs look as the original data does: CSV without a header, 17 columns, in the files
    yyyy/MM/{a,b}/{0-6}/request.csv, where a and b are days 1 to 15 and the rest of a month, and 0 to 6 are equal slices
    of time. Every file is sorted by SessionStart.

    Servers differ in level, daily and weekly shape, trend and bursts; some start late, retire early or have outages.
    At the default thresholds, 100 and 500, about 53 % of the hours are low, 32 % medium and 15 % high. The servers
    115.220.193.16 and 210.181.165.92 come first.

    Of the lines, the share --dirty holds what real logs hold: empty, non-numeric, negative and huge numbers, missing
    and extra fields, repeated headers, impossible and foreign dates, stray bytes, a cut last line, CRLF. About half of
    them can't be placed and will be rejected. Blank lines come on top.

    \b
    Examples:
      loadcast sample data
      loadcast sample big --servers 200 --rows 8_000_000
      loadcast sample year --start 2015-07-01 --days 366 --rows 2_000_000
    """
    from loadcast.sample.write import write_sample

    spec = SampleSpec(start=start, dirty=dirty, **numbers)
    begin_s = time.perf_counter()
    with _bar(spec.rows) as advance:
        summary = write_sample(
            spec,
            dest,
            jobs=_default_jobs(spec.rows) if jobs is None else jobs,
            overwrite=overwrite,
            on_progress=advance,
        )
    click.echo(describe(summary, dest, time.perf_counter() - begin_s))
    click.echo(next_step(spec, dest))


@contextmanager
def _bar(rows: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; it advances by the number of rows that it is called with."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Writing sample data", total=rows)
        yield lambda written: progress.advance(task, written)


def describe(summary: SampleSummary, dest: Path, elapsed_s: float) -> str:
    """What was written, in two lines."""
    megabytes = summary.size_bytes / 1e6
    return (
        f"Wrote {summary.rows:,} rows ({megabytes:,.1f} MB) to {summary.files} files in {shown(dest)} "
        f"in {elapsed_s:.1f} s ({megabytes / max(elapsed_s, 1e-9):,.0f} MB/s).\n"
        f"{summary.dirty:,} of them are dirty, {summary.rejected:,} of these will be rejected; "
        f"{summary.blank:,} blank lines come on top."
    )


def next_step(spec: SampleSpec, dest: Path) -> str:
    """A configuration that fits the data, and the command that uses it."""
    from loadcast.schema import TIME_FORMAT

    test_span = timedelta(days=2) if spec.days > 2 else timedelta(hours=12 * spec.days)
    config = {
        "dataFile": f"{dest.as_posix()}/*/*/[ab]/[0-6]/request.csv",
        "output": f"{dest.as_posix().rstrip('/')}-output",
        "duration": "CUSTOM",
        "trainBegin": spec.start.strftime(TIME_FORMAT),
        "trainEnd": (spec.end - timedelta(seconds=1)).strftime(TIME_FORMAT),
        "testSplitStart": (spec.end - test_span).strftime(TIME_FORMAT),
    }
    text = json.dumps(config, indent=2, ensure_ascii=False)
    return f"Next, save this as sample.json:\n{text}\nand run: {typed('etl', 'sample.json')}"
