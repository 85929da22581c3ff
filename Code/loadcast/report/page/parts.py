"""What sections are made of: figures, tables, facts, notes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from loadcast.report.charts.canvas import Picture
from loadcast.report.markup import Markup, element

Row = Sequence[str]


@dataclass(frozen=True)
class Figure:
    """A picture with a name for files, a heading and what is to be said of it.

    `shown` stands in its place on the page where that shows it in another form; `table` has the numbers.
    """

    name: str
    heading: str
    caption: str
    picture: Picture
    table: Markup | None = None
    shown: Markup | None = None

    def markup(self) -> Markup:
        """The figure on the page."""
        parts: list[str] = [element("h3", self.heading), self.shown or self.picture.inline()]
        parts.append(element("figcaption", self.caption))
        if self.table is not None:
            parts.append(element("details", [element("summary", "The numbers"), scrolling(self.table)]))
        return element("figure", parts, id=self.name, class_=None if self.shown is None else "wide")


@dataclass(frozen=True)
class Card:
    """A table on a card of its own; `wide` where it takes the whole width."""

    table: Markup
    wide: bool = False

    def markup(self) -> Markup:
        """The card on the page."""
        return element("div", scrolling(self.table), class_="card wide" if self.wide else "card")


@dataclass(frozen=True)
class Section:
    """A heading, what is said below it, and figures and tables: beside one another where there is room."""

    name: str
    heading: str
    lead: str
    items: Sequence[Figure | Card] = ()

    @property
    def figures(self) -> list[Figure]:
        """The figures among the items."""
        return [item for item in self.items if isinstance(item, Figure)]

    def markup(self) -> Markup:
        """The section on the page."""
        parts = [element("h2", self.heading), element("p", self.lead)]
        if self.items:
            parts.append(element("div", [item.markup() for item in self.items], class_="figures"))
        return element("section", parts, id=self.name)


def table(heads: Row, rows: Iterable[Row], caption: str, marked: int | None = None) -> Markup:
    """A table; `>` before a head is for numbers. Row `marked` is the one that the others are compared with."""
    numbers = [head.startswith(">") for head in heads]
    head = [
        element("th", text.removeprefix(">"), scope="col", class_="number" if number else None)
        for text, number in zip(heads, numbers, strict=True)
    ]
    body = []
    for at, row in enumerate(rows):
        first, *others = ((cell, "number" if number else None) for cell, number in zip(row, numbers, strict=True))
        cells = [element("th", first[0], scope="row"), *(element("td", cell, class_=kind) for cell, kind in others)]
        body.append(element("tr", cells, class_="marked" if at == marked else None))
    parts = [element("caption", caption), element("thead", element("tr", head)), element("tbody", body)]
    return element("table", parts)


def scrolling(content: Markup) -> Markup:
    """What may be wider than a narrow page, and then is scrolled by itself; the keyboard reaches it."""
    return element("div", content, class_="scrolling", tabindex=0, role="group", aria_label="Table")


def facts(pairs: Mapping[str, str]) -> Markup:
    """Names with what they are."""
    return element("dl", [element("div", [element("dt", name), element("dd", text)]) for name, text in pairs.items()])


def tiles(items: Iterable[tuple[str, str, str]]) -> Markup:
    """Large numbers: what it is, the number, what is to be said of it."""
    made = [
        element(
            "div", [element("dt", name), element("dd", number), element("dd", about, class_="about")], class_="tile"
        )
        for name, number, about in items
    ]
    return element("dl", made, class_="tiles")


def warning(text: str) -> Markup:
    """A remark not to be missed."""
    return element("p", [element("strong", "Mind: "), text], class_="warning")
