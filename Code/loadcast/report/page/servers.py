"""The section on servers: how accurate the forecast is on each, and what it said of the best and the worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from loadcast import schema
from loadcast.kernels.hour_strips import Strip
from loadcast.kernels.server_scores import ServerScore
from loadcast.report.charts.bars import histogram
from loadcast.report.charts.canvas import percent
from loadcast.report.charts.strips import NamedStrip, span, stretched, strips_picture
from loadcast.report.markup import Markup, element
from loadcast.report.page.content import ReportContent
from loadcast.report.page.parts import Card, Figure, Section, table

_BINS = 10
_HOW_TO_READ = (
    "Above the line what was, below it what had been forecast: the taller, the higher the class. "
    "Where they differ, the line itself is drawn; grey lines are midnights, and hours without data are blank."
)


def servers_section(content: ReportContent) -> Section | None:
    """Accuracy by server, and strips of the best and the worst; None without predictions."""
    scores = content.scores.scores() if content.scores is not None else []
    if not scores:
        return None
    accuracies = np.array([score.accuracy for score in scores])
    lead = (
        f"{len(scores):,} servers have observed hours in the test period. Half of them lie above an accuracy of "
        f"{percent(float(np.median(accuracies)), 1)}; the best has {percent(float(accuracies.max()), 1)}, the worst "
        f"{percent(float(accuracies.min()), 1)}."
    )
    counts = np.bincount(np.minimum((accuracies * _BINS).astype(int), _BINS - 1), minlength=_BINS).tolist()
    title = "Servers by accuracy"
    heads = ("accuracy", ">servers")
    rows = [(f"{percent(at / _BINS)} to {percent((at + 1) / _BINS)}", f"{count:,}") for at, count in enumerate(counts)]
    caption = "How many servers lie in each tenth of accuracy; the number at the axis is the highest bar's."
    figures: list[Figure | Card] = [Figure("accuracy", title, caption, histogram(counts, title))]
    figures.append(Card(table(heads, rows, title)))
    for name, heading, chosen in (
        ("best", "The most accurate servers", content.best),
        ("worst", "The least accurate servers", content.worst),
    ):
        if chosen:
            figures.append(_strips_figure(name, heading, chosen, content.strips))
    return Section("servers", "Servers", lead, figures)


def _strips_figure(name: str, heading: str, scores: Sequence[ServerScore], strips: Mapping[str, Strip]) -> Figure:
    named = [
        NamedStrip(score.server, f"{percent(score.accuracy, 1)} right", strips[score.server])
        for score in scores
        if score.server in strips
    ]
    heads = ("server", ">observed hours", ">right", ">always its commonest class")
    rows = [
        (score.server, f"{score.rows:,}", percent(score.accuracy, 1), percent(score.commonest, 1)) for score in scores
    ]
    shown = element("div", [*map(_strip, named), *_ends(named)], class_="strips")
    caption = f"{_HOW_TO_READ} {_commonest_hint()}"
    return Figure(name, heading, caption, strips_picture(named, heading), table(heads, rows, heading), shown)


def _commonest_hint() -> str:
    return "The table has what always saying a server's commonest class would have had right, told afterwards."


def _strip(named: NamedStrip) -> Markup:
    missed = int(((named.strip.actual > 0) & (named.strip.actual != named.strip.forecast)).sum())
    said = f"Actual and forecast classes of {named.name}: {named.about}; {missed} of the hours shown differ."
    about = element("div", [element("b", named.name), element("span", named.about)], class_="who")
    return element("div", [about, stretched(named.strip, said)], class_="strip-row")


def _ends(named: Sequence[NamedStrip]) -> list[Markup]:
    """From when to when the strips are, and what the colours mean."""
    if not named:
        return []
    keys = [element("span", name, class_=f"key k{label}") for label, name in schema.CLASS_NAMES.items()]
    ends = element("div", [element("span", hour) for hour in span(named[0].strip)], class_="ends")
    return [ends, element("div", [*keys, element("span", "forecast differs", class_="key kx")], class_="keys")]
