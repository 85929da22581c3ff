"""The report in a real browser: at three widths, by day and by night and on paper. About 6 s."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import browser
import loadcast
import reported
from devtools import Tab, tab

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not browser.CHROMIUM.exists(), reason="no chromium; scripts/setup-chromium.sh gets it"),
]
#: Elements that end right of the page, but for those within a part that is scrolled by itself.
BEYOND = """
[...document.body.querySelectorAll("*")].filter((node) =>
  !node.closest(".scrolling") && node.getBoundingClientRect().right > innerWidth + 0.5).map((node) => node.outerHTML)
"""
#: The heights of all letters in charts, on the screen.
LETTERS = """
[...document.querySelectorAll("svg text")].filter((node) => node.getBoundingClientRect().width > 0)
  .map((node) => 11 * node.getScreenCTM().a)
"""
#: Texts of charts that lie upon each other.
UPON = """
[...document.querySelectorAll("svg")].flatMap((svg) => {
  const boxes = [...svg.querySelectorAll("text")].map((node) => [node.textContent, node.getBoundingClientRect()]);
  return boxes.flatMap(([one, a], at) => boxes.slice(at + 1).filter(([two, b]) =>
    a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 4 && b.top < a.bottom - 4)
    .map(([two]) => one + " | " + two));
})
"""
COLOUR = "getComputedStyle(document.body).backgroundColor"
WIDTHS = (360, 768, 1440)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tab, str]]:
    """A page that shows the report of a run with all there can be and hostile names; and its address."""
    folder = tmp_path_factory.mktemp("a report")
    file: Path = loadcast.write_report(reported.run_with_all(folder), folder / "report.html")
    with tab() as shown:
        shown.show(WIDTHS[0])
        shown.open(file.as_uri())
        yield shown, file.as_uri()


def test_nothing_leaves_the_file_and_nothing_complains(report: tuple[Tab, str]) -> None:
    shown, address = report
    for width in WIDTHS:
        shown.show(width, "dark")
        shown.value("[...document.querySelectorAll('details')].forEach((node) => node.open = true)")
    assert shown.requests() == [address]
    assert shown.complaints() == []
    assert shown.value("document.scripts.length + document.images.length") == 0
    assert len(shown.value("document.body.innerText")) > 3_000


@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_and_is_legible_at_every_width(report: tuple[Tab, str], width: int) -> None:
    shown, _ = report
    backgrounds = set()
    for scheme in ("light", "dark"):
        shown.show(width, scheme)
        assert shown.value("document.documentElement.scrollWidth") == width
        assert shown.value(BEYOND) == []
        assert min(shown.value(LETTERS)) > 9.5
        assert shown.value(UPON) == []
        backgrounds.add(shown.value(COLOUR))
    assert len(backgrounds) == 2


def test_paper_has_light_colours_and_no_links(report: tuple[Tab, str]) -> None:
    shown, _ = report
    shown.show(760, "dark", media="print")
    assert shown.value("getComputedStyle(document.body).color") == "rgb(27, 36, 48)"
    assert shown.value("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert shown.value("document.documentElement.scrollWidth") == 760
    assert (
        shown.value(
            "[...document.querySelectorAll('.scrolling')].filter((n) => n.scrollWidth > n.clientWidth + 1).length"
        )
        == 0
    )


def test_a_reader_who_hears_the_page_is_told_what_pictures_show(report: tuple[Tab, str]) -> None:
    shown, _ = report
    assert shown.value("[...document.querySelectorAll('svg')].every((n) => n.getAttribute('aria-label'))")
    assert shown.value("[...document.querySelectorAll('figure')].every((n) => n.querySelector('figcaption'))")
    assert shown.value(
        "[...document.querySelectorAll('table')].every((n) => n.querySelector('caption').innerText || !n.offsetParent)"
    )
    assert shown.value("document.querySelectorAll('h1').length") == 1
