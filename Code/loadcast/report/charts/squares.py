"""Square charts: the confusion matrix and the reliability diagram."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from loadcast.report.charts.canvas import Picture, box, label, percent, picture, polyline
from loadcast.report.charts.weeks import heat_step
from loadcast.report.markup import Markup, element

_WIDTH = 320
_LEFT, _TOP = 56, 34
_CELL_W, _CELL_H = 88, 54
_PLOT_W, _PLOT_H = 270, 220
#: From this shade on, the page's own text would not be read.
_STRONG = 5


def confusion_matrix(names: Sequence[str], rows: Sequence[Sequence[int]], title: str) -> Picture:
    """Counts by true class (rows) and forecast class, with their share of the true class as a shade."""
    marks = [label((_LEFT + 1.5 * _CELL_W, 11), "forecast", "middle")]
    marks += [label((_LEFT + (at + 0.5) * _CELL_W, 27), name, "middle", "strong") for at, name in enumerate(names)]
    marks.append(label((0, 27), "actual"))
    for at, (name, counts) in enumerate(zip(names, rows, strict=True)):
        y, total = _TOP + at * _CELL_H, sum(counts)
        marks.append(label((0, y + _CELL_H / 2 + 4), name, class_="strong"))
        for column, count in enumerate(counts):
            share = count / total if total else 0.0
            step = heat_step(share, 0.0, 1.0)
            text_class = "strong-heat" if step >= _STRONG else "weak-heat"
            x = _LEFT + column * _CELL_W
            said = f"actually {name}, forecast {names[column]}: {count:,}, {percent(share, 1)} of {name}"
            marks += [
                box((x, y), (_CELL_W - 2, _CELL_H - 2), f"h{step}", said),
                label((x + _CELL_W / 2 - 1, y + 24), percent(share), "middle", text_class),
                label((x + _CELL_W / 2 - 1, y + 40), f"{count:,}", "middle", text_class),
            ]
    return picture((_WIDTH, _TOP + len(names) * _CELL_H), title, marks)


@dataclass(frozen=True)
class ReliabilityPoint:
    """Answers put together: their mean probability, how often they were right, and how many there were."""

    confidence: float
    accuracy: float
    rows: int


def reliability_diagram(points: Sequence[ReliabilityPoint], title: str) -> Picture:
    """How often answers were right over the probability that they had; the dots' areas follow the rows."""
    left = 44

    def place(confidence: float, accuracy: float) -> tuple[float, float]:
        return left + confidence * _PLOT_W, 8 + (1 - accuracy) * _PLOT_H

    marks: list[Markup] = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        marks += [
            polyline([place(0, share), place(1, share)], "grid"),
            polyline([place(share, 0), place(share, 1)], "grid"),
        ]
        marks.append(label((left - 6, place(0, share)[1] + 4), percent(share), "end"))
        anchor = {0.0: None, 1.0: "end"}.get(share, "middle")
        marks.append(label((place(share, 0)[0], _PLOT_H + 23), percent(share), anchor))
    marks.append(polyline([place(0, 0), place(1, 1)], "dashed"))
    total = sum(point.rows for point in points)
    if len(points) > 1:
        marks.append(polyline([place(point.confidence, point.accuracy) for point in points], "line"))
    for point in points:
        x, y = place(point.confidence, point.accuracy)
        said = f"mean probability {percent(point.confidence, 1)}: {percent(point.accuracy, 1)} of {point.rows:,} right"
        radius = 3.5 + 9 * math.sqrt(point.rows / total)
        marks.append(element("circle", element("title", said), cx=x, cy=y, r=radius, class_="dot"))
    marks.append(label((left + _PLOT_W / 2, _PLOT_H + 40), "probability of the answer", "middle"))
    return picture((_WIDTH, _PLOT_H + 46), title, marks)
