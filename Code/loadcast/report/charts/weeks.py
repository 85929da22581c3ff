"""Charts over hours: the heat map of a week, and the classes by hour of the day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from loadcast import schema
from loadcast.report.charts.canvas import Picture, box, label, percent, picture, polyline
from loadcast.report.charts.palette import HEAT_STEPS
from loadcast.report.markup import Markup

DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_WIDTH, _LEFT, _HOURS = 320, 38, 24
_COLUMN = (_WIDTH - _LEFT) / _HOURS
_ROW = 20
_PLOT_H = 130
_MARKED = (0, 6, 12, 18)


def load_text(load: float) -> str:
    """A load, to three digits or its whole part."""
    return f"{load:,.0f}" if abs(load) >= 100 else f"{load:.3g}"


def heat_map(means: NDArray[np.float64], counts: NDArray[np.int64], title: str) -> Picture:
    """Means (7, 24) as shades; hours without any are grey. `counts` is said where the mouse rests."""
    known = means[np.isfinite(means)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    marks = [label((0, day * _ROW + 14), name) for day, name in enumerate(DAY_NAMES)]
    for (day, hour), mean in np.ndenumerate(means):
        said = f"{DAY_NAMES[day]} {hour:02d}:00: {load_text(mean)} ({counts[day, hour]:,} server-hours)"
        corner = (_LEFT + hour * _COLUMN, day * _ROW)
        size = (_COLUMN - 1, _ROW - 1)
        if np.isfinite(mean):
            marks.append(box(corner, size, f"h{heat_step(float(mean), low, high)}", said))
        else:
            marks.append(box(corner, size, "none", f"{DAY_NAMES[day]} {hour:02d}:00: nothing observed"))
    below = len(DAY_NAMES) * _ROW
    marks += _hour_marks(below + 14)
    marks += _heat_legend(below + 26, (load_text(low), load_text(high)))
    return picture((_WIDTH, below + 40), title, marks)


def heat_step(value: float, low: float, high: float) -> int:
    """Which of HEAT_STEPS shades a value between two others has."""
    if high <= low:
        return 0
    return min(HEAT_STEPS - 1, max(0, int((value - low) / (high - low) * HEAT_STEPS)))


def class_hours(by_hour: NDArray[np.int64], title: str) -> Picture:
    """The share of each class (24, 3) at each hour of the day, as stacked columns."""
    totals = by_hour.sum(axis=1)
    marks = list(_share_grid())
    for hour, counts in enumerate(by_hour):
        top = float(_PLOT_H)
        for number, (class_label, name) in enumerate(schema.CLASS_NAMES.items()):
            share = counts[number] / totals[hour] if totals[hour] else 0.0
            height = float(share * _PLOT_H)
            top -= height
            if height > 0:
                said = f"{hour:02d}:00: {name} {percent(share)} of {totals[hour]:,} hours"
                corner = (_LEFT + hour * _COLUMN, top)
                marks.append(box(corner, (_COLUMN - 1.5, height), f"c{class_label}", said))
    marks += _hour_marks(_PLOT_H + 15)
    marks += class_legend((_LEFT, _PLOT_H + 34))
    return picture((_WIDTH, _PLOT_H + 40), title, marks)


def class_legend(corner: tuple[float, float]) -> list[Markup]:
    """What the colours of the classes mean."""
    marks = []
    for number, (class_label, name) in enumerate(schema.CLASS_NAMES.items()):
        x = corner[0] + 74 * number
        marks += [box((x, corner[1] - 9), (11, 11), f"c{class_label}"), label((x + 16, corner[1]), name)]
    return marks


def _share_grid() -> Iterator[Markup]:
    for share in (0.0, 0.5, 1.0):
        y = _PLOT_H * (1 - share)
        yield polyline([(_LEFT, y), (_WIDTH, y)], "grid")
        yield label((_LEFT - 5, min(max(y + 4, 9), _PLOT_H)), percent(share), "end")


def _hour_marks(y: float) -> list[Markup]:
    return [label((_LEFT + hour * _COLUMN, y), f"{hour:02d}:00") for hour in _MARKED]


def _heat_legend(y: float, ends: Sequence[str]) -> list[Markup]:
    marks = [label((_LEFT, y + 9), ends[0])]
    begin = _LEFT + 9 + 7 * len(ends[0])
    marks += [box((begin + 16 * step, y), (15, 10), f"h{step}") for step in range(HEAT_STEPS)]
    return [*marks, label((begin + 16 * HEAT_STEPS + 8, y + 9), ends[1])]
