"""Accuracy by how far ahead a forecast was made: the model's and the best naive forecast's, and what lies between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from loadcast.report.charts.canvas import Picture, label, percent, picture, polyline, track
from loadcast.report.markup import Markup, element

_WIDTH, _LEFT, _HEIGHT = 320, 44, 190
#: Between lines of the grid, where all values lie near each other or far apart.
_STEPS, _FAR_APART = (0.05, 0.1), 0.2
_MARKED_EVERY_H = 12


@dataclass(frozen=True)
class HorizonPoint:
    """What the model and the best naive forecast score at one horizon, and which that is."""

    horizon_h: int
    model: float
    best_naive: float
    best_name: str


def horizon_chart(points: Sequence[HorizonPoint], title: str) -> Picture:
    """The two as lines; the area between them is in the colour of who is ahead."""
    values = [value for point in points for value in (point.model, point.best_naive)]
    step = _STEPS[max(values) - min(values) > _FAR_APART]
    low = max(0.0, math.floor(min(values) / step - 0.2) * step)
    high = min(1.0, math.ceil(max(values) / step + 0.2) * step)
    first, last = points[0].horizon_h, max(points[-1].horizon_h, points[0].horizon_h + 1)

    def place(horizon_h: float, value: float) -> tuple[float, float]:
        x = _LEFT + (horizon_h - first) / (last - first) * (_WIDTH - _LEFT - 6)
        return x, 6 + (high - value) / (high - low) * _HEIGHT

    marks: list[Markup] = []
    for line in range(round((high - low) / step) + 1):
        value = low + line * step
        marks.append(polyline([place(first, value), place(last, value)], "grid"))
        marks.append(label((_LEFT - 6, place(first, value)[1] + 4), percent(value), "end"))
    ticks = [first, *(hour for hour in range(0, last + 1, _MARKED_EVERY_H) if hour > first + 3)]
    marks += [label((place(hour, low)[0], _HEIGHT + 21), f"{hour} h", _anchor(hour, last)) for hour in ticks]
    for ahead, pairs in groupby(pairwise(points), key=_is_ahead):
        run = list(pairs)
        ends = [run[0][0], *(right for _, right in run)]
        corners = [place(point.horizon_h, point.model) for point in ends]
        corners += [place(point.horizon_h, point.best_naive) for point in reversed(ends)]
        marks.append(element("path", d=f"{track(corners)}Z", class_="area" if ahead else "loss"))
    marks.append(polyline([place(point.horizon_h, point.best_naive) for point in points], "dashed"))
    marks.append(polyline([place(point.horizon_h, point.model) for point in points], "line"))
    return picture((_WIDTH, _HEIGHT + 50), title, [*marks, *_legend()])


def _is_ahead(pair: tuple[HorizonPoint, HorizonPoint]) -> bool:
    """Whether the model is ahead between two points."""
    return sum(point.model - point.best_naive for point in pair) >= 0


def _anchor(hour: int, last: int) -> str:
    return "end" if hour == last else "middle"


def _legend() -> list[Markup]:
    y = _HEIGHT + 43
    return [
        polyline([(_LEFT, y - 4), (_LEFT + 24, y - 4)], "line"),
        label((_LEFT + 30, y), "the model"),
        polyline([(_LEFT + 110, y - 4), (_LEFT + 134, y - 4)], "dashed"),
        label((_LEFT + 140, y), "the best naive forecast"),
    ]
