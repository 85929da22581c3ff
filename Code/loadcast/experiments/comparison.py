"""Runs beside each other: what they were given, what they told, and what differs."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadcast.errors import ConfigError
from loadcast.experiments.locations import LOGGED, run_folder
from loadcast.experiments.records import RunRecord
from loadcast.run_logger import read_logged, series

_MOST_NAMED = 5
_SHOWN_DIGITS = 12
#: Of more metrics than this, or ones whose names have more parts, nothing is seen at a glance.
_MOST_METRICS, _SHALLOW = 40, 3


@dataclass(frozen=True)
class RunView:
    """A run with what it has logged: `series` has each metric's (time in s, number) in order."""

    record: RunRecord
    series: Mapping[str, Sequence[tuple[float, float]]]
    texts: Mapping[str, str]
    files: tuple[str, ...]

    @property
    def numbers(self) -> dict[str, float]:
        """The last number of each metric."""
        return {name: values[-1][1] for name, values in self.series.items()}

    @property
    def parameters(self) -> dict[str, str]:
        """What the run was given, and stood on; arguments by their places."""
        record = self.record
        given = {
            "experiment": record.experiment,
            "target": record.target,
            "script": record.script,
            **{f"argument {place}": argument for place, argument in enumerate(record.arguments, 1)},
            "environment": record.environment and record.environment[:_SHOWN_DIGITS],
            "git commit": record.git_commit and record.git_commit[:_SHOWN_DIGITS],
            "snapshot": record.snapshot and record.snapshot[:_SHOWN_DIGITS],
            **{f"version of {name}": version for name, version in record.versions.items()},
        }
        return {name: text for name, text in given.items() if text is not None}


def run_view(project: Path, record: RunRecord) -> RunView:
    """A run with what it has logged. Raises InputError where its log cannot be read."""
    logged = read_logged(run_folder(project, record.id) / LOGGED)
    texts = {item.name: item.text for item in logged if item.kind == "text"}
    files = dict.fromkeys(item.text for item in logged if item.kind == "file")
    return RunView(record, series(logged), texts, tuple(files))


Rows = list[tuple[str, list[str | None]]]


def parameter_rows(views: Sequence[RunView], keep_equal: bool = False) -> Rows:
    """Each parameter with its text in every run, None where a run has none; of the equal ones only if asked for."""
    return _rows([view.parameters for view in views], lambda text: text, keep_equal)


def metric_rows(views: Sequence[RunView], keep_equal: bool = False) -> Rows:
    """Each metric with its last number in every run, as `parameter_rows`, sorted."""
    return sorted(_rows([view.numbers for view in views], number_text, keep_equal))


def in_depth(rows: Rows, prefixes: Sequence[str]) -> tuple[Rows, Rows]:
    """The metrics that are shown and those that are left out: all whose names begin with a prefix, else the shallow.

    Steps' times come last, as they differ between any two runs.
    """
    ordered = sorted(rows, key=lambda row: (row[0].startswith("seconds/"), row[0]))
    if prefixes:
        return [row for row in ordered if row[0].startswith(tuple(prefixes))], []
    shown = [row for row in ordered if row[0].count("/") < _SHALLOW][:_MOST_METRICS]
    return shown, [row for row in ordered if row not in shown]


def number_text(number: float) -> str:
    """A number with six digits that count, whole ones with all of theirs."""
    return f"{number:,.0f}" if number.is_integer() and abs(number) < 1e15 else f"{number:.6g}"


def series_of(views: Sequence[RunView], name: str) -> list[tuple[RunView, list[float]]]:
    """The runs that have a metric, with all its numbers. Raises ConfigError where none has it."""
    having = [(view, [number for _, number in view.series[name]]) for view in views if name in view.series]
    if having:
        return having
    known = sorted({metric for view in views for metric in view.series})
    near = difflib.get_close_matches(name, known, _MOST_NAMED, 0.4) or known[:_MOST_NAMED]
    raise ConfigError(
        f"NAME: found {name!r}, wanted a metric of a run"
        + (f", such as {', '.join(near)}." if near else "; no run has logged any.")
    )


Value = str | float


def _rows(columns: Sequence[Mapping[str, Value]], text: Callable[..., str], keep_equal: bool) -> Rows:
    names = dict.fromkeys(name for column in columns for name in column)
    rows: Rows = []
    for name in names:
        # The texts of numbers may be equal where the numbers differ, and nan is nan.
        values = [repr(column.get(name)) for column in columns]
        if keep_equal or len(set(values)) > 1:
            rows.append((name, [text(column[name]) if name in column else None for column in columns]))
    return rows
