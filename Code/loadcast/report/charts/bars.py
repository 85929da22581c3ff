"""Bars: named values, shares of classes, and how many servers lie where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadcast import schema
from loadcast.printable import printable
from loadcast.report.charts.canvas import Picture, box, label, percent, picture, polyline
from loadcast.report.charts.weeks import class_legend
from loadcast.report.markup import Markup

_WIDTH = 320
_ROW, _BAR = 30, 10
_PLOT_H = 120
_LEFT = 38
#: Letters that a line has room for.
_LINE = 46


@dataclass(frozen=True)
class Bar:
    """A named value, and how it is written; `stands_out` for the one that the others are compared with."""

    name: str
    value: float
    written: str
    stands_out: bool = False


def bars(rows: Sequence[Bar], title: str, full: float | None = None) -> Picture:
    """A bar for each row, its name above; `full` is the value of the whole width, the largest unless given."""
    most = full if full is not None else max((abs(row.value) for row in rows), default=0.0)
    marks: list[Markup] = []
    for number, row in enumerate(rows):
        y = number * _ROW
        length = _WIDTH * min(1.0, abs(row.value) / most) if most else 0.0
        marks += [
            label((0, y + 11), cut(row.name, _LINE - len(row.written)), class_="strong"),
            label((_WIDTH, y + 11), row.written, "end", "strong"),
            box((0, y + 15), (_WIDTH, _BAR), "track"),
            box((0, y + 15), (length, _BAR), "accent" if row.stands_out else "plain"),
        ]
    return picture((_WIDTH, max(1, len(rows)) * _ROW), title, marks)


def cut(name: str, longest: int) -> str:
    """A name that fits, as it is shown; what is left out of a longer one is its middle."""
    text, half = printable(name), max(1, (longest - 1) // 2)
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"


def class_shares(counts: Mapping[str, Sequence[int]], title: str) -> Picture:
    """One bar for each row, cut into the shares of the classes."""
    marks: list[Markup] = []
    for number, (name, row) in enumerate(counts.items()):
        y, x, total = number * 48, 0.0, sum(row)
        marks.append(label((0, y + 12), f"{name}, of {total:,}", class_="strong"))
        for (class_label, class_name), count in zip(schema.CLASS_NAMES.items(), row, strict=True):
            share = count / total if total else 0.0
            said = f"{name}: {class_name} {percent(share, 1)}, {count:,} hours"
            marks.append(box((x, y + 18), (_WIDTH * share, 20), f"c{class_label}", said))
            if share >= 0.12:
                middle = (x + _WIDTH * share / 2, y + 32)
                marks.append(label(middle, percent(share), "middle", f"on{class_label}"))
            x += _WIDTH * share
    end = len(counts) * 48
    return picture((_WIDTH, end + 16), title, [*marks, *class_legend((0, end + 12))])


def histogram(counts: Sequence[int], title: str) -> Picture:
    """How many servers lie in each tenth from 0 to 100 %."""
    most = max([1, *counts])
    width = (_WIDTH - _LEFT) / len(counts)
    marks = [polyline([(_LEFT, _PLOT_H), (_WIDTH, _PLOT_H)], "axis"), label((_LEFT - 6, 18), f"{most:,}", "end")]
    marks.append(label((_LEFT - 6, _PLOT_H), "0", "end"))
    for number, count in enumerate(counts):
        height = (_PLOT_H - 10) * count / most
        begin, end = (percent(step / len(counts)) for step in (number, number + 1))
        said = f"{begin} to {end}: {count:,} servers"
        marks.append(box((_LEFT + number * width, _PLOT_H - height), (width - 2, height), "accent", said))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        anchor = {0.0: None, 1.0: "end"}.get(share, "middle")
        marks.append(label((_LEFT + share * (_WIDTH - _LEFT), _PLOT_H + 15), percent(share), anchor))
    return picture((_WIDTH, _PLOT_H + 20), title, marks)
