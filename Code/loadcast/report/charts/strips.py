"""Strips: hour by hour, what was stands up from a line, and what had been forecast hangs down from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from loadcast import schema
from loadcast.kernels.hour_strips import Strip
from loadcast.report.charts.bars import cut
from loadcast.report.charts.canvas import Picture, label, picture
from loadcast.report.charts.weeks import class_legend
from loadcast.report.markup import Markup, element, joined

#: How high the bar of a class is: they can be told apart without colours.
_HEIGHTS = {1: 8, 2: 17, 3: 28}
_UP, _DOWN, HEIGHT = 28, 34, 62
_WIDTH, _LEFT, _ROW = 720, 140, 74
_HOUR_FORMAT = "%a %Y-%m-%d %H:00"


@dataclass(frozen=True)
class NamedStrip:
    """A server's strip, its name, and what is said of it."""

    name: str
    about: str
    strip: Strip


def stretched(strip: Strip, title: str) -> Markup:
    """A strip as an element of a page, as wide as there is room; it holds no text."""
    box = f"0 0 {len(strip.actual)} {HEIGHT}"
    return element(
        "svg",
        _marks(strip),
        viewBox=box,
        preserveAspectRatio="none",
        class_="chart strip",
        role="img",
        aria_label=title,
    )


def strips_picture(strips: Sequence[NamedStrip], title: str) -> Picture:
    """Some servers' strips below one another, with their names beside them."""
    marks: list[Markup] = []
    for number, named in enumerate(strips):
        y = number * _ROW
        marks += [
            label((0, y + 28), cut(named.name, 22), class_="strong"),
            label((0, y + 43), named.about),
            element(
                "svg",
                _marks(named.strip),
                x=_LEFT,
                y=y,
                width=_WIDTH - _LEFT,
                height=HEIGHT,
                viewBox=f"0 0 {len(named.strip.actual)} {HEIGHT}",
                preserveAspectRatio="none",
            ),
        ]
    end = len(strips) * _ROW
    if strips:
        first, last = span(strips[0].strip)
        marks += [label((_LEFT, end + 4), first), label((_WIDTH, end + 4), last, "end")]
    return picture((_WIDTH, end + 32), title, [*marks, *class_legend((_LEFT, end + 26))])


def span(strip: Strip) -> tuple[str, str]:
    """The first and the last hour of a strip."""
    first, last = (
        datetime.fromtimestamp(hour * 3600, UTC).strftime(_HOUR_FORMAT)
        for hour in (strip.begin_h, strip.begin_h + len(strip.actual) - 1)
    )
    return first, last


def _marks(strip: Strip) -> Markup:
    both = (strip.actual > 0) & (strip.forecast > 0)
    missed = both & (strip.actual != strip.forecast)
    n = len(strip.actual)
    first_midnight = -strip.begin_h % 24
    days = "".join(f"M{hour} 0v{HEIGHT}" for hour in range(first_midnight or 24, n, 24))
    marks = [element("path", d=days, class_="day")] if days else []
    for class_label in schema.CLASS_NAMES:
        height = _HEIGHTS[class_label]
        runs = _runs(strip.actual == class_label, _UP - height, height)
        runs += _runs(strip.forecast == class_label, _DOWN, height)
        marks.append(element("path", d=runs or None, class_=f"c{class_label}"))
    marks.append(element("path", d=_runs(missed, _UP + 1, _DOWN - _UP - 2) or None, class_="miss"))
    return joined(marks)


def _runs(here: NDArray[np.bool_], top: int, height: int) -> str:
    """A rectangle for each run of hours, as a path."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], here.astype(np.int8), [0]])))
    begins, ends = edges[::2].tolist(), edges[1::2].tolist()
    return "".join(
        f"M{begin} {top}h{end - begin}v{height}h-{end - begin}z" for begin, end in zip(begins, ends, strict=True)
    )
