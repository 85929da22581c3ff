"""Forecasts as files: a table of text, CSV, Parquet or JSON, written whole or not at all."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv
from rich.console import Console

from loadcast import schema
from loadcast.errors import ConfigError, OutputError
from loadcast.report.forecast import Picture, as_json, show
from loadcast.secrets import shown
from loadcast.serving.remote.answers import forecast_table
from loadcast.storage.files import check_writable_name
from loadcast.system.disk import is_full_disk
from loadcast.system.small_files import replace_file

#: Forms, with the ends of the files' names that stand for them.
FORMATS = {"table": ".txt", "json": ".json", "csv": ".csv", "parquet": ".parquet"}
_TEXT_WIDTH = 100
_HOURS = pa.timestamp("s")


def format_of(path: Path | None) -> str:
    """The form that the end of a file's name stands for; a table for any other, and for no file."""
    suffix = "" if path is None else path.suffix.lower()
    return next((form for form, end in FORMATS.items() if end == suffix), "table")


def encode(picture: Picture, form: str) -> bytes:
    """The forecasts in one of FORMATS. CSV and Parquet have schema.FORECAST_SCHEMA's columns, one row an hour."""
    if form == "json":
        return f"{as_json(picture)}\n".encode()
    if form == "table":
        text = io.StringIO()
        show(picture, Console(file=text, width=_TEXT_WIDTH, force_terminal=False, color_system=None))
        return text.getvalue().encode()
    table = forecast_table(hour for forecast in picture.forecasts for hour in forecast.hours)
    sink = io.BytesIO()
    if form == "parquet":
        pq.write_table(table, sink)
    else:
        place = table.schema.get_field_index(schema.HOUR)
        table = table.set_column(place, schema.HOUR, table.column(place).cast(_HOURS))
        # Addresses, times, numbers and classes have no sign that would have to be quoted.
        sink.write(f"{','.join(table.column_names)}\n".encode())
        csv.write_csv(table, sink, csv.WriteOptions(include_header=False, quoting_style="none"))
    return sink.getvalue()


def check_output(path: Path, option: str) -> None:
    """Raise ConfigError or OutputError for a path that no file can be written to, before there is work to lose."""
    check_writable_name(path, option)
    try:
        state = path.stat()
    except FileNotFoundError:
        state = None
    except (OSError, ValueError) as error:
        raise _unwritable(path, option, getattr(error, "strerror", None) or "no file can have such a name") from error
    if state is not None and not stat.S_ISREG(state.st_mode):
        raise ConfigError(f"{option}: found {shown(path)}, which is no file; wanted the name of one.")
    folder = path.resolve().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise _unwritable(path, option, f"{folder} is no folder that can be written to")


def check_apart(files: Mapping[str, str | os.PathLike[str] | None]) -> None:
    """Raise ConfigError where an option's file is that of another, or CONFIG: one of them would be lost."""
    named: dict[str, str] = {}
    for option, file in files.items():
        if file is None:
            continue
        other = named.setdefault(os.path.realpath(file), option)
        if other != option:
            raise ConfigError(
                f"{option}: found {shown(file)}, which is {other} itself; wanted the name of another file, "
                "so that neither is lost."
            )


def write_whole(path: Path, content: bytes, option: str) -> None:
    """Put a file in place of another, or of none: at no moment is there a part of it. Raises OutputError."""
    try:
        # Through a link, its target is replaced.
        replace_file(path.resolve(), content)
    except OSError as error:
        if is_full_disk(error):
            raise
        raise _unwritable(path, option, str(error.strerror)) from error


def _unwritable(path: Path, option: str, why: str) -> OutputError:
    return OutputError(f"Cannot write {shown(path)}: {why}. Name another file with {option}.")
