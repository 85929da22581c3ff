"""The scan by DuckDB, in three ways, all with `store_rejects`.

`repaired`: typed columns; then the refused lines as text; then the lines with an underscore, as DuckDB reads `1_000` as
1000. The fastest way found to the right answer.
`text`: every field as text, converted in SQL with TRY_CAST, and then the refused lines (those that are not UTF-8).
`typed`: typed columns and no check but of the numbers' bounds; what is refused is left out. Approximate.

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
# A separator that no line has: a line is one field.
_NOWHERE = "\x01"


def main() -> None:
    """Run one variant."""
    variant, job = arguments(ScanJob)
    with timed_work() as said:
        said["engine"] = f"DuckDB {duckdb.__version__}"
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
    repairs = _sums(
        job, _checked(job, _fields(job, "SELECT DISTINCT file_id, line, csv_line AS text FROM reject_errors"))
    )
    if variant == "text":
        read = _checked(job, _read(job, {}, padded=True, nulls=[_NO_NULLS]))
    else:
        read = _whole(job, _read(job, types, padded=True, nulls=[_NO_NULLS]))
        repairs += f" UNION ALL {_surplus(job)}"
    names = [job.number, *job.sums]
    total = ", ".join(f"sum({name}) AS {name}" for name in job.sums)
    added = ", ".join(f"coalesce(parts.{name}, 0) + coalesce(repairs.{name}, 0) AS {name}" for name in names)
    keys = f"{job.server}, {job.bucket}"
    return [
        f"CREATE TABLE parts AS {_sums(job, read)}",
        f"CREATE TABLE repairs AS SELECT {keys}, sum({job.number})::BIGINT AS {job.number}, {total} "
        f"FROM ({repairs}) GROUP BY ALL",
        _write(job, f"SELECT {keys}, {added} FROM parts FULL JOIN repairs USING ({keys})"),
    ]


def _read(job: ScanJob, types: dict[str, str], padded: bool, nulls: list[str]) -> str:
    """The files as a table; columns are text unless `types` says otherwise."""
    names = [*job.columns, *([BEYOND] if padded else [])]
    columns = {name: types.get(name, "VARCHAR") for name in names}
    options = {"delim": ",", "quote": '"', "escape": '"'}
    if padded and types:
        options["timestampformat"] = _TIME_FORMAT
    return _read_csv(
        job, columns, options, f"store_rejects = true, null_padding = {str(padded).lower()}, nullstr = {_list(nulls)}"
    )


def _read_csv(job: ScanJob, columns: dict[str, str], texts: dict[str, str], options: str) -> str:
    files = _list([glob.escape(file) for file in job.files])
    schema = ", ".join(f"{_text(name)}: {_text(kind)}" for name, kind in columns.items())
    given = ", ".join(f"{name} = {_text(value)}" for name, value in texts.items())
    return (
        f"read_csv({files}, columns = {{{schema}}}, {given}, {options}, header = false, auto_detect = false, "
        "strict_mode = false)"
    )


def _fields(job: ScanJob, lines: str) -> str:
    """Lines (a column `text`), cut into fields of text."""
    fields = ", ".join(f"fields[{number}] AS {name}" for number, name in enumerate([*job.columns, BEYOND], 1))
    return f"(SELECT {fields} FROM (SELECT string_split(text, ',') AS fields FROM ({lines})))"


def _whole(job: ScanJob, source: str) -> str:
    """The lines with neither too few nor too many fields."""
    return f"(FROM {source} WHERE {job.client} IS NOT NULL AND {BEYOND} IS NULL)"


def _checked(job: ScanJob, source: str) -> str:
    """Whole lines of text, their times and numbers converted."""
    numbers = ", ".join(
        f"CASE WHEN NOT contains({name}, '_') THEN TRY_CAST({name} AS DOUBLE) END AS {name}" for name in job.measures
    )
    # The cast takes more than this format, and 24:00:00 for the next day.
    time = f"{job.start} LIKE '____-__-__ __:__:__' AND {job.start} NOT LIKE '___________24%'"
    start = f"TRY_CAST({job.start} AS TIMESTAMP) AS {job.start}"
    return f"(SELECT {job.server}, {start}, {numbers} FROM {_whole(job, source)} WHERE {time})"


def _surplus(job: ScanJob) -> str:
    """What the typed reading has added up too much: numbers with an underscore in lines that it has not refused."""
    lines = _read_csv(job, {"text": "VARCHAR"}, {"delim": _NOWHERE, "quote": "", "escape": ""}, "ignore_errors = true")
    numbers = ", ".join(f"TRY_CAST({name} AS DOUBLE) AS {name}" for name in job.measures)
    marks = ", ".join(f"contains({name}, '_') AS marked_{name}" for name in job.measures)
    start = f"try_strptime({job.start}, {_text(_TIME_FORMAT)}) AS {job.start}"
    fields = _whole(job, _fields(job, f"FROM {lines} WHERE contains(text, '_')"))
    taken = " AND ".join(f"{name} IS NOT NULL" for name in job.measures)
    source = f"(FROM (SELECT {job.server}, {start}, {numbers}, {marks} FROM {fields}) WHERE {taken})"
    sums = [f"-coalesce(sum(CASE WHEN marked_{name} THEN {_bounded(name, job)} END), 0)" for name in job.measures]
    return _grouped(job, source, "0", sums)


def _sums(job: ScanJob, source: str) -> str:
    """Rows and sums per server and bucket of a typed source."""
    return _grouped(job, source, "count(*)", [f"coalesce(sum({_bounded(name, job)}), 0)" for name in job.measures])


def _bounded(name: str, job: ScanJob) -> str:
    """A number, or null where it is out of bounds, NaN included."""
    return f"CASE WHEN {name} BETWEEN 0 AND {job.largest} THEN {name} END"


def _grouped(job: ScanJob, source: str, number: str, sums: list[str]) -> str:
    labelled = ", ".join(
        f"{value} AS {name}" for value, name in zip([number, *sums], [job.number, *job.sums], strict=True)
    )
    bucket = f"time_bucket(INTERVAL {job.bucket_seconds} SECONDS, {job.start}) AS {job.bucket}"
    return (
        f"SELECT {job.server}, {bucket}, {labelled} FROM {source} "
        f"WHERE {job.start} BETWEEN TIMESTAMP {_text(job.begin)} AND TIMESTAMP {_text(job.end)} "
        # After the grouping, as there are fewer servers to look at.
        f"GROUP BY {job.server}, {job.bucket} HAVING regexp_full_match({job.server}, {_text(ADDRESS)})"
    )


def _write(job: ScanJob, query: str) -> str:
    return f"COPY ({query}) TO {_text(job.result)} (FORMAT parquet, COMPRESSION snappy)"


def _list(texts: list[str]) -> str:
    return f"[{', '.join(map(_text, texts))}]"


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


if __name__ == "__main__":
    main()
