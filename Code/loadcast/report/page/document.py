"""The report as a document: all sections, the style sheets, and a policy that lets nothing else in or out."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from loadcast.errors import LoadcastError
from loadcast.kernels.features import FeatureSet
from loadcast.report.charts.canvas import style_sheet
from loadcast.report.charts.palette import DARK, LIGHT, variables
from loadcast.report.markup import element, trusted
from loadcast.report.page.content import ReportContent
from loadcast.report.page.data import load_section, quality_section
from loadcast.report.page.forecast import (
    calibration_section,
    cost_section,
    horizon_section,
    importance_section,
    scores_section,
)
from loadcast.report.page.headline import header
from loadcast.report.page.parts import Figure, Section
from loadcast.report.page.servers import servers_section


def sections(content: ReportContent) -> list[Section]:
    """What the report says after its head, in order; of what the run does not have there is no section."""
    metrics = content.metrics
    found: list[Section | None] = []
    if metrics is not None:
        test = metrics.test
        found += [scores_section(test), horizon_section(test), calibration_section(test), cost_section(test)]
    found.append(servers_section(content))
    if content.importance is not None:
        found.append(importance_section(content.importance, _features(content)))
    if content.profile is not None:
        found.append(load_section(content.profile, content))
    if content.quality is not None:
        found.append(quality_section(content.quality))
    return [section for section in found if section is not None]


def figures(content: ReportContent) -> list[Figure]:
    """All figures, in order."""
    return [figure for section in sections(content) for figure in section.figures]


def page(content: ReportContent) -> bytes:
    """The whole document, as a file holds it. It asks for nothing, runs nothing, and has one style sheet."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    shown = sections(content)
    links = [element("a", section.heading, href=f"#{section.name}") for section in shown]
    head = element(
        "head",
        [
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=policy),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="referrer", content="no-referrer"),
            element("meta", name="color-scheme", content="light dark"),
            element("link", rel="icon", href="data:,"),
            element("title", f"{content.shown}: load forecast"),
            element("style", trusted(style)),
        ],
    )
    main = element(
        "main", [header(content), element("nav", links, aria_label="Sections"), *(s.markup() for s in shown)]
    )
    foot = element("footer", f"Written by loadcast report, from the files of run {content.run} alone.")
    document = element("html", [head, element("body", [main, foot])], lang="en")
    return f"<!doctype html>\n{document}\n".encode()


def _style() -> str:
    """Colours, page and charts; paper has the light colours, whatever the screen has."""
    own = files("loadcast.report.page").joinpath("page.css").read_text(encoding="utf-8")
    dark = f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {variables(DARK)} }} }}"
    return f":root {{ {variables(LIGHT)} }}\n{dark}\n{own}{style_sheet()}"


def _features(content: ReportContent) -> FeatureSet | None:
    """The run's feature set, for what features mean; None where it is not known here."""
    try:
        return content.info.features
    except LoadcastError:
        return None
