"""The scan by Polars' streaming engine, in two ways.

`typed`: one pass; a number that cannot be read is null. A surplus field shows in an eighteenth column, unless it is
empty: in Polars an empty field and one that is not there are the same. So a few lines are misplaced.
`exact`: the same, and a second pass over the lines as text that corrects those that end with a comma.

POLARS_MAX_THREADS in the environment sets the number of threads.
"""

from __future__ import annotations

import polars as pl

from bench.contender import ADDRESS, BEYOND, ScanJob, arguments, timed_work

_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
_WEIGHT = "weight"
_LINE = "line"
# A separator that no line has.
_NOWHERE = "\x01"


def main() -> None:
    """Run one variant."""
    variant, job = arguments(ScanJob)
    if pl.thread_pool_size() != job.threads:
        raise SystemExit(f"POLARS_MAX_THREADS: found {pl.thread_pool_size()} threads, wanted {job.threads}.")
    with timed_work() as said:
        said["engine"] = f"Polars {pl.__version__}"
        sums = _sums(job, _typed(job))
        if variant == "exact":
            sums = _added(job, sums, _sums(job, _misplaced(job), pl.col(_WEIGHT)))
        sums = sums.filter(pl.col(job.server).str.contains(f"^{ADDRESS}$"))
        sums.sink_parquet(job.result, compression="snappy", engine="streaming")


def _typed(job: ScanJob) -> pl.LazyFrame:
    """The lines with as many fields as they should have, as far as can be seen."""
    types = {name: pl.Float64 if name in job.measures else pl.String for name in job.columns}
    lines = pl.scan_csv(
        job.files,
        has_header=False,
        schema={**types, BEYOND: pl.String},
        ignore_errors=True,
        missing_columns="insert",
        extra_columns="ignore",
        truncate_ragged_lines=True,
        encoding="utf8-lossy",
        glob=False,
    )
    return lines.filter(pl.col(job.client).is_not_null() & pl.col(BEYOND).is_null())


def _misplaced(job: ScanJob) -> pl.LazyFrame:
    """Lines that end with a comma: −1 where `_typed` has one too many, 1 where it lacks one."""
    width = len(job.columns)
    fields = pl.col(_LINE).str.split(",")
    number = fields.list.len()
    weight = (
        pl.when(number == width)
        .then(1)
        .when((number == width + 1) & (fields.list.get(width - 1, null_on_oob=True) != ""))
        .then(-1)
    )
    typed = [
        fields.list.get(index, null_on_oob=True).cast(pl.Float64 if name in job.measures else pl.String, strict=False)
        for index, name in enumerate(job.columns)
    ]
    lines = pl.scan_csv(
        job.files,
        has_header=False,
        schema={_LINE: pl.String},
        separator=_NOWHERE,
        quote_char=None,
        encoding="utf8-lossy",
        truncate_ragged_lines=True,
        glob=False,
    )
    return (
        lines.filter(pl.col(_LINE).str.ends_with(","))
        .select(*(value.alias(name) for value, name in zip(typed, job.columns, strict=True)), weight.alias(_WEIGHT))
        .filter(pl.col(_WEIGHT).is_not_null())
    )


def _sums(job: ScanJob, lines: pl.LazyFrame, weight: pl.Expr | None = None) -> pl.LazyFrame:
    begin, end = (pl.lit(text).str.to_datetime(_TIME_FORMAT) for text in (job.begin, job.end))
    start = pl.col(job.start).str.to_datetime(_TIME_FORMAT, time_unit="us", strict=False)
    measures = []
    for name, label in zip(job.measures, job.sums, strict=True):
        # What is out of bounds (NaN, too) is null.
        value = pl.when(pl.col(name).is_between(0, job.largest)).then(pl.col(name))
        measures.append((value if weight is None else value * weight).sum().alias(label))
    number = pl.len() if weight is None else weight.sum()
    return (
        lines.with_columns(start)
        .filter(pl.col(job.start).is_between(begin, end))
        .group_by(job.server, pl.col(job.start).dt.truncate(f"{job.bucket_seconds}s").alias(job.bucket))
        .agg(number.cast(pl.Int64).alias(job.number), *measures)
    )


def _added(job: ScanJob, sums: pl.LazyFrame, corrections: pl.LazyFrame) -> pl.LazyFrame:
    """Both together; a server and bucket of which nothing is left goes."""
    joined = sums.join(corrections, on=[job.server, job.bucket], how="full", coalesce=True)
    both = [pl.sum_horizontal(pl.col(name), pl.col(f"{name}_right")).alias(name) for name in [job.number, *job.sums]]
    return joined.select(job.server, job.bucket, *both).filter(pl.col(job.number) > 0)


if __name__ == "__main__":
    main()
