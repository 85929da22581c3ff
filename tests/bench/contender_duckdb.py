"""The scan by DuckDB, in three ways, all with `store_rejects`.

`text`: every field as text, converted in SQL with TRY_CAST, and then the refused lines (those that are not UTF-8).
`repaired`: typed columns, and then the refused lines as text. Right but for numbers such as `1_000`, which DuckDB reads
as 1000.
`typed`: typed columns and no other check; what is refused is left out. The least work.

`strict_mode` is off, as DuckDB refuses a file with both LF and CRLF otherwise. It then drops surplus fields in silence,
so the first two ask for an eighteenth, with `null_padding`.
"""

from __future__ import annotations

import glob

import duckdb

from bench.contender import ADDRESS, BEYOND, ScanJob, arguments, timed_work

_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
# Only a field that is not there shall be null: an empty last field is a field.
_NO_NULLS = "\\N"


def main() -> None:
    """Run one variant."""
    variant, job = arguments()
    with timed_work():
        connection = duckdb.connect()
        connection.execute(f"SET threads = {job.threads}")
        connection.execute("SET preserve_insertion_order = false")
        connection.execute(f"SET temp_directory = {_text(job.scratch)}")
        for statement in statements(variant, job):
            connection.execute(statement)


def statements(variant: str, job: ScanJob) -> list[str]:
    """The SQL of a variant."""
    types = dict.fromkeys(job.measures, "DOUBLE") | {job.start: "TIMESTAMP"}
    if variant == "typed":
        nulls = {text for mark in job.missing for text in (mark, mark.upper(), mark.capitalize(), "NaN")}
        return [_write(job, _sums(job, _read(job, types, padded=False, nulls=sorted(nulls))))]
    if variant == "text":
        read = _checked(job, _read(job, {}, padded=True, nulls=[_NO_NULLS]))
    else:
        read = _whole(job, _read(job, types, padded=True, nulls=[_NO_NULLS]))
    added = ", ".join(f"coalesce(parts.{n}, 0) + coalesce(repairs.{n}, 0) AS {n}" for n in [job.number, *job.sums])
    joined = f"parts FULL JOIN repairs USING ({job.server}, {job.bucket})"
    return [
        f"CREATE TABLE parts AS {_sums(job, read)}",
        f"CREATE TABLE repairs AS {_sums(job, _checked(job, _refused(job)))}",
        _write(job, f"SELECT {job.server}, {job.bucket}, {added} FROM {joined}"),
    ]


def _read(job: ScanJob, types: dict[str, str], padded: bool, nulls: list[str]) -> str:
    """The files as a table; columns are text unless `types` says otherwise."""
    names = [*job.columns, *([BEYOND] if padded else [])]
    columns = ", ".join(f"{_text(name)}: {_text(types.get(name, 'VARCHAR'))}" for name in names)
    options = ["header = false", "auto_detect = false", "delim = ','", "quote = '\"'", "escape = '\"'"]
    options += ["strict_mode = false", "store_rejects = true", f"nullstr = {_list(nulls)}", f"columns = {{{columns}}}"]
    if padded:
        options.append("null_padding = true")
    if padded and types:
        options.append(f"timestampformat = {_text(_TIME_FORMAT)}")
    return f"read_csv({_list([glob.escape(file) for file in job.files])}, {', '.join(options)})"


def _refused(job: ScanJob) -> str:
    """The lines that the typed reading refused, cut into fields of text. (A line is there once for each bad field.)"""
    fields = ", ".join(f"fields[{number}] AS {name}" for number, name in enumerate([*job.columns, BEYOND], 1))
    lines = "SELECT DISTINCT file_id, line, csv_line FROM reject_errors"
    return f"(SELECT {fields} FROM (SELECT string_split(csv_line, ',') AS fields FROM ({lines})))"


def _checked(job: ScanJob, source: str) -> str:
    """Whole lines of text, their times and numbers converted."""
    numbers = ", ".join(
        f"CASE WHEN NOT contains({name}, '_') THEN TRY_CAST({name} AS DOUBLE) END AS {name}" for name in job.measures
    )
    # The cast takes more than this format, and 24:00:00 for the next day.
    time = f"{job.start} LIKE '____-__-__ __:__:__' AND {job.start} NOT LIKE '___________24%'"
    start = f"TRY_CAST({job.start} AS TIMESTAMP) AS {job.start}"
    return f"(SELECT {job.server}, {start}, {numbers} FROM {_whole(job, source)} WHERE {time})"


def _whole(job: ScanJob, source: str) -> str:
    """The lines with neither too few nor too many fields."""
    return f"(FROM {source} WHERE {job.client} IS NOT NULL AND {BEYOND} IS NULL)"


def _sums(job: ScanJob, source: str) -> str:
    """Sums per server and bucket of a typed source; a number out of bounds (NaN, too) adds nothing."""
    sums = ", ".join(
        f"coalesce(sum(CASE WHEN {measure} BETWEEN 0 AND {job.largest} THEN {measure} END), 0) AS {name}"
        for measure, name in zip(job.measures, job.sums, strict=True)
    )
    bucket = f"time_bucket(INTERVAL {job.bucket_seconds} SECONDS, {job.start}) AS {job.bucket}"
    return (
        f"SELECT {job.server}, {bucket}, count(*) AS {job.number}, {sums} FROM {source} "
        f"WHERE {job.start} BETWEEN TIMESTAMP {_text(job.begin)} AND TIMESTAMP {_text(job.end)} "
        # After the grouping there are few servers to look at, and the dictionary of them is small.
        f"GROUP BY ALL HAVING regexp_full_match({job.server}, {_text(ADDRESS)})"
    )


def _write(job: ScanJob, query: str) -> str:
    return f"COPY ({query}) TO {_text(job.result)} (FORMAT parquet, COMPRESSION snappy)"


def _list(texts: list[str]) -> str:
    return f"[{', '.join(map(_text, texts))}]"


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


if __name__ == "__main__":
    main()
