"""What all charts are made of: a picture, texts, rectangles and paths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files

from loadcast.report.charts.palette import LIGHT, resolved
from loadcast.report.markup import Markup, compact, element, joined, trusted

_MARGIN, _HEAD = 16, 34


@dataclass(frozen=True)
class Picture:
    """A chart: its size in its own units (texts are 11 high), what it shows in a sentence, and its marks."""

    width: float
    height: float
    title: str
    marks: Markup

    def inline(self) -> Markup:
        """The chart as an element of a page that has the style sheets."""
        box = f"0 0 {compact(self.width)} {compact(self.height)}"
        return element("svg", self.marks, viewBox=box, class_="chart", role="img", aria_label=self.title)

    def standalone(self) -> str:
        """The chart as a document of its own, in light colours on white, with its title above."""
        width, height = self.width + 2 * _MARGIN, self.height + _HEAD + _MARGIN
        style = trusted(resolved(style_sheet(), LIGHT))
        head = element("text", self.title, x=_MARGIN, y=21, class_="strong", font_weight="600")
        return element(
            "svg",
            [
                element("style", style),
                element("rect", width=width, height=height, fill="#ffffff"),
                head,
                element("g", self.marks, transform=f"translate({_MARGIN} {_HEAD})"),
            ],
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {compact(width)} {compact(height)}",
            width=width,
            height=height,
            class_="chart",
        )


def style_sheet() -> str:
    """How marks look, in terms of the palette's names."""
    return files("loadcast.report.charts").joinpath("charts.css").read_text(encoding="utf-8")


def picture(size: tuple[float, float], title: str, marks: Iterable[Markup]) -> Picture:
    """A picture of these marks; `size` is width and height."""
    return Picture(*size, title, joined(marks))


def label(at: tuple[float, float], text: str, anchor: str | None = None, class_: str | None = None) -> Markup:
    """A text whose base line begins (anchor None), has its middle or its end at a point."""
    return element("text", text, x=at[0], y=at[1], text_anchor=anchor, class_=class_)


def box(corner: tuple[float, float], size: tuple[float, float], class_: str, said: str | None = None) -> Markup:
    """A rectangle by its upper left corner; `said` is shown where the mouse rests on it."""
    inside = element("title", said) if said else ""
    return element("rect", inside, x=corner[0], y=corner[1], width=size[0], height=size[1], class_=class_)


def polyline(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    """A line through points."""
    return element("path", d=track(points), class_=class_)


def track(points: Sequence[tuple[float, float]]) -> str:
    """A path through points."""
    return "M" + "L".join(f"{compact(float(x))} {compact(float(y))}" for x, y in points)


def percent(share: float, digits: int = 0) -> str:
    """A share as readers have it."""
    return f"{100 * share:.{digits}f}%"
