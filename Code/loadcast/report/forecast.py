"""Pictures of a forecast: a strip of one sign per hour for each server, tables of class and probability, JSON, SVG."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from loadcast import schema
from loadcast.errors import OutputError
from loadcast.kernels.labels import FLEET, Bounds
from loadcast.report.amounts import amount
from loadcast.serving.remote.answers import Gated, HourForecast, ServerForecast
from loadcast.storage.files import check_writable_name

COLOURS = {1: "green", 2: "yellow", 3: "red"}
#: Signs by class; of different heights, so that they can be told apart without colour.
BLOCKS = {1: "▁", 2: "▄", 3: "█"}
LETTERS = {1: "_", 2: "o", 3: "#"}
_GAP = "  "
_DAY_FORMAT = "%a %Y-%m-%d"
_HOUR_MARK_EVERY = 6
_COLUMN_WIDTH = 26
_DECISION_WIDTH = 9
#: Stands for an hour whose forecast is less sure than was wanted.
_NO_FORECAST = "?"
#: Stands behind the class of an hour that a naive forecast answers.
_NAIVE = "~"
_BY_COST = "  by cost"
_HOUR_WIDTH = 20
_FONT_FACES = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)


@dataclass(frozen=True)
class Picture:
    """What is shown: the servers' forecasts of the same hours, the clock these are on, and what stands below.

    `with_tables` adds a table of each hour's class and probabilities to the strips. `unanswered` has the servers that
    have no forecast, with the reason.
    """

    forecasts: Sequence[ServerForecast]
    timezone: str
    with_tables: bool
    notes: Sequence[str] = ()
    unanswered: Mapping[str, str] = field(default_factory=dict)


def render(picture: Picture, console: Console) -> RenderableType:
    """The picture, fit for what `console` can show."""
    signs = BLOCKS if console.encoding.lower().startswith("utf") else LETTERS
    parts: list[RenderableType] = []
    if picture.with_tables:
        for table in tables(picture.forecasts, console.width):
            parts.extend((table, Text()))
    begin = picture.forecasts[0].hours[0].hour
    parts.append(Text(f"Load class of {len(picture.forecasts[0].hours)} hours from {begin} ({picture.timezone})\n"))
    parts.append(strips(picture.forecasts, signs))
    parts.extend(Text(note) for note in picture.notes)
    return Group(*parts)


def show(picture: Picture, console: Console) -> None:
    """Print the picture. Lines too long for the console are left to it: a strip stays one line where it is piped."""
    console.print(render(picture, console), soft_wrap=True, highlight=False)


def strips(forecasts: Sequence[ServerForecast], signs: dict[int, str]) -> Text:
    """One line per server with a sign per hour, below two lines of day and hour marks, above the legend.

    Bounds stand in the legend where all servers have the same, else behind each line. Decisions have their own line.
    """
    width = max(len(forecast.server) for forecast in forecasts) + 2
    text = Text(no_wrap=True)
    for line in scale([answer.hour for answer in forecasts[0].hours]):
        marks = f"{'':{width}}{_GAP}{line}".rstrip()
        # The blanks stand apart from the marks: some SVG viewers drop them at the start of a text.
        text.append(" " * (len(marks) - len(marks.lstrip())))
        text.append(marks.lstrip() + "\n", style="dim")
    for forecast in forecasts:
        name = forecast.server + (" *" if forecast.cold_start else "")
        text.append(f"{name:{width}}{_GAP}")
        for answer in forecast.hours:
            text.append(_NO_FORECAST if answer.confident is False else signs[answer.label], COLOURS[answer.label])
        if _vary(forecasts) and forecast.bounds is not None:
            text.append(f"{_GAP}{_shown(forecast.bounds)}", style="dim")
        text.append("\n")
        if decisions := [answer.decision for answer in forecast.hours if answer.decision is not None]:
            text.append(f"{_BY_COST:{width}}{_GAP}", style="dim")
            for label in decisions:
                text.append(signs[label], style=COLOURS[label])
            text.append("\n")
    text.append("\n")
    text.append_text(_legend(forecasts, signs))
    return text


def _legend(forecasts: Sequence[ServerForecast], signs: dict[int, str]) -> Text:
    text = Text()
    bounds = None if _vary(forecasts) else forecasts[0].bounds
    limits = ("", "", "")
    if bounds is not None:
        limits = (f" (up to {amount(bounds.low)})", "", f" (above {amount(bounds.high)})")
    for (label, name), limit in zip(schema.CLASS_NAMES.items(), limits, strict=True):
        text.append(signs[label], style=COLOURS[label])
        text.append(f" {name}{limit}{_GAP * 2}")
    if any(forecast.cold_start for forecast in forecasts):
        text.append("* the server is not in the training data")
    text.rstrip()
    if bounds is not None and bounds.source == FLEET:
        text.append("\nThe bounds are those of the whole fleet.")
    if _vary(forecasts):
        text.append("\nBehind each line: up to the first number is low, above the second is high.")
    if any(answer.confident is False for forecast in forecasts for answer in forecast.hours):
        text.append(f"\n{_NO_FORECAST}: no forecast, as it would be less sure than minConfidence")
    if naive := _naive_answers(forecasts):
        text.append(f"\n{_NAIVE}: naive forecasts answer in the model's place: {naive}")
    if _has_decisions(forecasts):
        text.append(f"\n{_BY_COST.strip()}: the class of least expected cost")
    return text


def _naive_answers(forecasts: Sequence[ServerForecast]) -> str:
    """Which naive forecasts answer, and how many hours each."""
    given = [answer.gated for forecast in forecasts for answer in forecast.hours if answer.gated is not None]
    counts = Counter(gated.answered_by for gated in given if gated.is_naive)
    return ", ".join(f"{name} ({number:,} of {len(given):,} hours)" for name, number in counts.most_common())


def _vary(forecasts: Sequence[ServerForecast]) -> bool:
    """Whether the servers have different bounds."""
    return len({forecast.bounds for forecast in forecasts}) > 1


def _shown(bounds: Bounds) -> str:
    """Both bounds, and whose they are where they are not the server's own."""
    return f"{amount(bounds.low)} / {amount(bounds.high)}" + (" (fleet)" if bounds.source == FLEET else "")


def scale(hours: Sequence[datetime]) -> tuple[str, str]:
    """Two lines of marks, one place per hour: the days, where there is room for the date, and every sixth hour."""
    days = marks = ""
    for column, hour in enumerate(hours):
        left_today = min(24 - hour.hour, len(hours) - column)
        date = hour.strftime(_DAY_FORMAT)
        if (column == 0 or hour.hour == 0) and len(date) < left_today:
            days = days.ljust(column) + date
        if hour.hour % _HOUR_MARK_EVERY == 0:
            marks = marks.ljust(column) + f"{hour.hour:02d}"
    return days, marks[: len(hours)]


def tables(forecasts: Sequence[ServerForecast], width: int) -> list[Table]:
    """Tables of hour × class and probabilities; as many servers beside each other as `width` has room for."""
    column_width = _COLUMN_WIDTH + (_DECISION_WIDTH if _has_decisions(forecasts) else 0)
    together = max(1, (width - _HOUR_WIDTH) // column_width)
    return [_table(forecasts[first : first + together]) for first in range(0, len(forecasts), together)]


def _table(forecasts: Sequence[ServerForecast]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    has_bounds = any(forecast.bounds for forecast in forecasts)
    table.add_column(("\n\n" if has_bounds else "\n") + "hour", no_wrap=True, min_width=_HOUR_WIDTH - 4)
    head = f"class  % {'/'.join(schema.CLASS_NAMES.values())}" + ("  by cost" if _has_decisions(forecasts) else "")
    for forecast in forecasts:
        bounds = "" if forecast.bounds is None else f"bounds {_shown(forecast.bounds)}\n"
        table.add_column(f"{forecast.server}\n{bounds}{head}", no_wrap=True)
    for row in zip(*(forecast.hours for forecast in forecasts), strict=True):
        table.add_row(row[0].hour.strftime(f"{_DAY_FORMAT} %H:%M"), *map(_cell, row))
    return table


def _has_decisions(forecasts: Sequence[ServerForecast]) -> bool:
    return any(answer.decision is not None for forecast in forecasts for answer in forecast.hours)


def _cell(answer: HourForecast) -> Text:
    name = schema.CLASS_NAMES[answer.label] if answer.confident is not False else _NO_FORECAST
    mark = _NAIVE if answer.gated is not None and answer.gated.is_naive else ""
    text = Text(f"{name:6}", style=COLOURS[answer.label])
    shares = "".join(f"{100 * share:5.0f}" for share in answer.probabilities)
    text.append(mark + shares[len(mark) :], style="not bold default")
    if answer.decision is not None:
        text.append(f"  {schema.CLASS_NAMES[answer.decision]}", style=COLOURS[answer.decision])
    return text


def as_json(picture: Picture) -> str:
    """The forecasts as JSON text: `{"timezone", "notes", "forecasts", "unanswered"}`.

    A forecast is `{ServerIP, bounds, hours: [{…}]}`, with `bounds` where these are known. `unanswered` lists servers
    without one: `{ServerIP, why}`.
    """
    forecasts = [
        {
            schema.SERVER: forecast.server,
            **({} if forecast.bounds is None else {schema.BOUNDS: asdict(forecast.bounds)}),
            "hours": [_hour_as_json(answer) for answer in forecast.hours],
        }
        for forecast in picture.forecasts
    ]
    unanswered = [{schema.SERVER: server, "why": why} for server, why in picture.unanswered.items()]
    document = {"timezone": picture.timezone, "notes": list(picture.notes), "forecasts": forecasts}
    return json.dumps(document | {"unanswered": unanswered}, indent=1)


def _hour_as_json(answer: HourForecast) -> dict[str, Any]:
    further = {
        schema.DECISION: answer.decision,
        schema.EXPECTED_COST: answer.expected_cost,
        schema.CONFIDENT: answer.confident,
    }
    return {
        schema.HOUR: answer.hour.strftime(schema.TIME_FORMAT),
        schema.PREDICTION: answer.label,
        schema.LABEL: schema.CLASS_NAMES[answer.label],
        "probability": dict(zip(schema.CLASS_NAMES.values(), answer.probabilities, strict=True)),
        "cold_start": answer.cold_start,
        **{name: value for name, value in further.items() if value is not None},
        **({} if answer.gated is None else _gated_as_json(answer.gated)),
    }


def _gated_as_json(gated: Gated) -> dict[str, Any]:
    said = dict(zip(schema.CLASS_NAMES.values(), gated.probabilities, strict=True))
    return {schema.ANSWERED_BY: gated.answered_by, schema.MODEL: {schema.PREDICTION: gated.label, "probability": said}}


def save_svg(picture: Picture, path: Path, width: int = 100) -> None:
    """Write the picture as an SVG file that loads nothing from elsewhere. Raises OutputError, ConfigError.

    It has `width` columns, or as many as the longest line of the strips: an SVG has nowhere to put the rest.
    """
    check_writable_name(path, "--svg")
    width = max(width, *(len(line) for line in strips(picture.forecasts, BLOCKS).plain.split("\n")))
    unseen = io.TextIOWrapper(io.BytesIO(), "utf-8")
    console = Console(record=True, file=unseen, width=width, force_terminal=True, color_system="truecolor")
    show(picture, console)
    # rich's own form fetches its font from the network; a reader's own monospaced font does as well.
    form = _FONT_FACES.sub("", CONSOLE_SVG_FORMAT)
    text = console.export_svg(title="loadcast", code_format=form, unique_id="loadcast")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise OutputError(f"Cannot write {path}: {exc.strerror}. Name another file with --svg.") from exc
