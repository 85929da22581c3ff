"""Charts: well-formed, in bounds, in the colours of the palette, and legible; text in them can't become markup."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from contrast import contrast
from loadcast.kernels.hour_strips import Strip
from loadcast.report.charts.bars import Bar, bars, class_shares, cut, histogram
from loadcast.report.charts.canvas import Picture, style_sheet
from loadcast.report.charts.horizons import HorizonPoint, horizon_chart
from loadcast.report.charts.palette import DARK, HEAT_STEPS, LIGHT, resolved
from loadcast.report.charts.squares import ReliabilityPoint, confusion_matrix, reliability_diagram
from loadcast.report.charts.strips import NamedStrip, stretched, strips_picture
from loadcast.report.charts.weeks import class_hours, heat_map, heat_step, load_text
from loadcast.report.markup import element, joined
from loadcast.report.pictures import png
from reported import EVIL

STRIP = Strip(400_000, np.array([1, 1, 3, 0, 2], dtype=np.int8), np.array([1, 2, 3, 3, 0], dtype=np.int8))
POINTS = [HorizonPoint(1, 0.7, 0.8, "a"), HorizonPoint(2, 0.7, 0.75, "a"), HorizonPoint(24, 0.7, 0.6, "b")]
MEANS = np.where(np.arange(168).reshape(7, 24) % 50 == 3, np.nan, np.arange(168).reshape(7, 24) * 1.5)
PICTURES = {
    "heat map": heat_map(MEANS, np.arange(168).reshape(7, 24), EVIL),
    "heat map of nothing": heat_map(np.full((7, 24), np.nan), np.zeros((7, 24), dtype=np.int64), "none"),
    "class hours": class_hours(np.arange(72).reshape(24, 3), EVIL),
    "bars": bars([Bar(EVIL, 3.0, EVIL, True), Bar("b", 0.0, "0")], EVIL),
    "bars of nothing": bars([], "none"),
    "class shares": class_shares({EVIL: [1, 2, 3], "b": [0, 0, 0]}, EVIL),
    "histogram": histogram([0, 3, 1], EVIL),
    "confusion": confusion_matrix([EVIL, "b", "c"], [[5, 0, 1], [0, 0, 0], [1, 1, 1]], EVIL),
    "reliability": reliability_diagram([ReliabilityPoint(0.5, 0.4, 3), ReliabilityPoint(1.0, 1.0, 9)], EVIL),
    "horizons": horizon_chart(POINTS, EVIL),
    "one horizon": horizon_chart(POINTS[:1], EVIL),
    "strips": strips_picture([NamedStrip(EVIL, EVIL, STRIP)], EVIL),
    "no strips": strips_picture([], "none"),
}
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@pytest.fixture(params=PICTURES, ids=str)
def picture(request: pytest.FixtureRequest) -> Picture:
    return PICTURES[request.param]


def test_a_picture_is_a_document_of_its_own_without_anything_from_elsewhere(picture: Picture) -> None:
    text = picture.standalone()
    names = {node.tag.rpartition("}")[2] for node in ElementTree.fromstring(text).iter()}
    assert names <= {"svg", "style", "rect", "text", "g", "path", "circle", "title"}
    assert "var(" not in text
    assert (
        re.findall(r"(?i)(?:href|src|url|style)\s*[=(]", re.sub(r"<text.*?</text>|<title.*?</title>", "", text)) == []
    )


def test_marks_stay_within_the_picture(picture: Picture) -> None:
    root = ElementTree.fromstring(picture.inline())
    for node in (node for node in root.iter() if node.tag in ("rect", "text", "circle")):
        x, y = (float(node.get(name, node.get(f"c{name}", 0))) for name in "xy")
        right, below = x + float(node.get("width", 0)), y + float(node.get("height", 0))
        assert 0 <= x <= right <= picture.width + 0.02
        assert 0 <= y <= below <= picture.height + 0.02
    assert root.get("aria-label")


def test_every_colour_is_of_the_palette(picture: Picture) -> None:
    classes = set(re.findall(r'class="([^"]*)"', picture.standalone()))
    assert {name for name in classes - {"chart"} if f".{name} " not in style_sheet()} == set()
    assert resolved(style_sheet(), DARK) != resolved(style_sheet(), LIGHT)


def test_pictures_become_png_files() -> None:
    drawn = png(PICTURES["strips"])
    assert drawn.startswith(b"\x89PNG\r\n")
    width, height = (int.from_bytes(drawn[at : at + 4], "big") for at in (16, 20))
    assert (width, height) == (1504, 2 * (PICTURES["strips"].height + 50))


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_texts_and_marks_are_legible(palette: dict[str, str]) -> None:
    """WCAG 2: 4.5 for text, 3 for marks. Classes differ in height or place as well, and in lightness or hue."""
    on = {("text", "page"), ("text", "card"), ("muted", "page"), ("muted", "card"), ("accent", "card")}
    on |= {(f"on-{name}", name) for name in ("low", "medium", "high")}
    on |= {("weak-heat" if step < 5 else "strong-heat", f"h{step}") for step in range(HEAT_STEPS)}
    assert {pair: found for pair in on if (found := contrast(*(palette[name] for name in pair))) < 4.45} == {}
    marks = ("low", "medium", "high", "plain", "accent", "text")
    assert {name for name in marks if contrast(palette[name], palette["card"]) < 3} == set()
    assert contrast(palette["low"], palette["high"]) > 2.5
    assert contrast(palette["medium"], palette["high"]) > 1.5
    assert LIGHT.keys() == DARK.keys()


def test_heat_has_a_shade_for_every_value() -> None:
    assert [heat_step(value, 0.0, 1.0) for value in (-1.0, 0.0, 0.5, 0.999, 1.0, 2.0)] == [0, 0, 4, 7, 7, 7]
    assert heat_step(3.0, 3.0, 3.0) == 0
    assert [load_text(load) for load in (0.012345, 2.5, 99.96, 1234.5)] == ["0.0123", "2.5", "100", "1,234"]


def test_a_strip_draws_runs_of_hours_above_and_below_its_line_and_marks_where_they_differ() -> None:
    drawn = stretched(STRIP, "x")
    paths = {node.get("class"): node.get("d") for node in ElementTree.fromstring(drawn).iter("path")}
    assert paths == {
        "c1": "M0 20h2v8h-2zM0 34h1v8h-1z",
        "c2": "M4 11h1v17h-1zM1 34h1v17h-1z",
        "c3": "M2 0h1v28h-1zM2 34h2v28h-2z",
        "miss": "M1 29h1v4h-1z",
    }


def test_the_area_between_the_lines_says_who_is_ahead() -> None:
    root = ElementTree.fromstring(horizon_chart(POINTS, "x").inline())
    areas = [
        (node.get("class"), node.get("d") or "") for node in root.iter("path") if node.get("class") in ("area", "loss")
    ]
    assert [(name, len(NUMBER.findall(path)) // 2) for name, path in areas] == [("loss", 4), ("area", 4)]


def test_shares_fill_the_bar() -> None:
    root = ElementTree.fromstring(class_shares({"a": [1, 2, 4]}, "x").inline())
    widths = [float(node.get("width", 0)) for node in root.iter("rect") if node.get("height") == "20"]
    assert sum(widths) == pytest.approx(320, abs=0.02)
    assert widths[2] == pytest.approx(4 * widths[0], abs=0.05)


def test_long_names_lose_their_middle() -> None:
    assert cut("short", 5) == "short"
    assert cut("a" * 50 + "b" * 50, 9) == "aaaa…bbbb"
    assert cut("\x1b" * 9, 9) == r"\x1b…\x1b"
    assert len(cut(EVIL, 0)) == 3


def test_values_are_escaped_and_markup_is_not() -> None:
    inner = element("b", EVIL, title=EVIL)
    assert inner.count("<") == 2
    assert "\x1b" not in inner
    assert "\u202e" not in inner
    assert element("p", ["1 < 2 ", inner], class_="x", aria_label=None, data_y=0.5, z=3) == (
        f'<p class="x" data-y="0.5" z="3">1 &lt; 2 {inner}</p>'
    )
    assert element("br") == "<br>"
    assert joined("a&b") == "a&amp;b"
