"""HTML and SVG, put together from values: each of them is escaped, so nothing in the data can become markup."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from loadcast.printable import printable

Value = str | int | float | None
_VOID = frozenset({"meta", "link", "br"})


class Markup(str):
    """A text that is markup already. Only this module makes any, and who joins pieces of it."""

    __slots__ = ()


Content = str | Iterable[str]


def element(tag: str, content: Content = "", /, **attributes: Value) -> Markup:
    """An element. Texts in it are escaped, Markup is not; an attribute that is None is left out.

    `class_` stands for class, and `_` within a name for `-`.
    """
    begin = f"<{tag}{''.join(map(_attribute, attributes.items()))}>"
    if tag in _VOID:
        return Markup(begin)
    return Markup(f"{begin}{joined(content)}</{tag}>")


def joined(content: Content) -> Markup:
    """The pieces behind one another, texts among them escaped."""
    pieces = (content,) if isinstance(content, str) else content
    return Markup("".join(piece if isinstance(piece, Markup) else _text(piece) for piece in pieces))


def trusted(text: str) -> Markup:
    """A text of the program's own as markup: a style sheet, never what stood in the data."""
    return Markup(text)


def compact(number: float) -> str:
    """A coordinate, to a hundredth."""
    return f"{number:.2f}".rstrip("0").rstrip(".") if isinstance(number, float) else str(number)


def _attribute(item: tuple[str, Value]) -> str:
    name, value = item
    if value is None:
        return ""
    shown = _text(value) if isinstance(value, str) else compact(value)
    return f' {name.rstrip("_").replace("_", "-")}="{shown}"'


def _text(text: str) -> str:
    return escape(printable(text))
