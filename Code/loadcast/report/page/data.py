"""Sections on the data: what became of the rows, and what load there was."""

from __future__ import annotations

import numpy as np

from loadcast import schema
from loadcast.artefacts.info import Info
from loadcast.artefacts.metrics import PartMetrics
from loadcast.artefacts.quality import Quality
from loadcast.kernels.load_profile import LoadProfile
from loadcast.kernels.server_scores import ServerScores
from loadcast.report.charts.bars import Bar, bars, class_shares
from loadcast.report.charts.canvas import percent
from loadcast.report.charts.weeks import DAY_NAMES, class_hours, heat_map, load_text
from loadcast.report.markup import Markup
from loadcast.report.page.content import ReportContent
from loadcast.report.page.headline import rule
from loadcast.report.page.parts import Card, Figure, Section, table
from loadcast.report.quality import listing, meaning

#: Fates of rows that are told even where there are none.
_ALWAYS = ("kept", "rejected")
_MOST_LISTED = 5
_LONGEST_NAME = 160


def quality_section(quality: Quality) -> Section:
    """What became of the rows, why rows were rejected, and which files and servers stand out."""
    lead = (
        f"Of {quality.rows:,} rows in {len(quality.files):,} files ({quality.bytes / 1e6:,.1f} MB), {quality.good:,} "
        f"were kept and {quality.rejected:,} rejected ({quality.rejected_fraction:.2%}). {quality.repaired:,} bad "
        "numbers count as missing."
    )
    fates = {
        "kept": quality.good,
        "outside the period": quality.outside_period,
        "of other servers": quality.other_server,
        "rejected": quality.rejected,
    }
    rows = [
        Bar(name, count, f"{count:,} ({_of(count, quality.rows)})", name == "kept")
        for name, count in fates.items()
        if count or name in _ALWAYS
    ]
    drawn = bars(rows, "What became of the rows", float(quality.rows))
    items: list[Figure | Card] = [Figure("rows", drawn.title, "Each row of the logs counts once.", drawn)]
    if reasons := sorted(quality.rejected_by_reason.items(), key=lambda item: -item[1]):
        drawn = bars([Bar(meaning(reason), count, f"{count:,}") for reason, count in reasons], "Why rows were rejected")
        caption = "Rejected rows lie in rejected/, with file, byte offset and reason."
        items.append(Figure("rejected", drawn.title, caption, drawn))
    return Section("quality", "Data quality", lead, [*items, Card(_stands_out(quality), wide=bool(reasons))])


def _stands_out(quality: Quality) -> Markup:
    out = quality.files_that_stand_out
    servers = quality.servers
    rows = [
        ("files that stand out by their rejected rows", f"{len(out):,}", _names(out, len(out))),
        ("numbers outside the data contract", f"{quality.breaches:,}", _columns(quality)),
        ("server-hours without data", f"{servers.hours_without_data:,}", "between a server's first and last hour"),
        (
            "servers that appeared later",
            f"{servers.appeared_number:,}",
            _names(servers.appeared, servers.appeared_number),
        ),
        (
            "servers that disappeared earlier",
            f"{servers.disappeared_number:,}",
            _names(servers.disappeared, servers.disappeared_number),
        ),
    ]
    return table(("what", ">number", "which"), rows, "What stands out")


def _names(names: list[str], number: int) -> str:
    return listing([name[:_LONGEST_NAME] for name in names], number, _MOST_LISTED) if number else ""


def _columns(quality: Quality) -> str:
    broken = {name: count for name, count in quality.breaches_by_column.items() if count}
    return _names([f"{name} {count:,}" for name, count in broken.items()], len(broken))


def _of(number: int, rows: int) -> str:
    return f"{number / max(rows, 1):.2%}"


def load_section(profile: LoadProfile, content: ReportContent) -> Section:
    """The load of a usual week, the classes by hour of the day, and how often each came and was forecast."""
    means, counts = profile.means, profile.counts
    known = means[np.isfinite(means)]
    if not known.size:
        return Section("load", "Load", "There is no observed hour.")
    day, hour = np.unravel_index(np.nanargmax(means), means.shape)
    lead = (
        f"Mean of the servers' hourly peak loads, over {int(counts.sum()):,} observed server-hours. The busiest hour "
        f"of the week is {DAY_NAMES[day]} {hour:02d}:00, with {load_text(float(means[day, hour]))} on average."
    )
    caption = f"The darker, or on a dark page the brighter, the higher the load; hours of {content.info.timezone}."
    title = "Mean load by hour of the week"
    heads = ("hour", *(f">{name}" for name in DAY_NAMES))
    rows = [
        (f"{at:02d}:00", *(load_text(float(mean)) if np.isfinite(mean) else "–" for mean in means[:, at]))
        for at in range(means.shape[1])
    ]
    items: list[Figure | Card] = [
        Figure("week", title, caption, heat_map(means, counts, title), table(heads, rows, title))
    ]
    if content.scores is not None and content.scores.by_hour.any():
        items.append(_class_figure(content.scores))
    if content.metrics is not None and content.metrics.test.rows:
        items += _shares(content.metrics.test, content.info)
    return Section("load", "Load", lead, items)


def _shares(test: PartMetrics, info: Info) -> tuple[Figure, Card]:
    """How often each class came and was forecast, and what the classes mean."""
    matrix = test.confusion_matrix
    actual = [sum(row) for row in matrix.rows_are_true_class]
    forecast = [sum(column) for column in zip(*matrix.rows_are_true_class, strict=True)]
    title = "How often each class came, and was forecast"
    drawn = class_shares({"actual": actual, "forecast": forecast}, title)
    low, high = (f"{bound:,.6g}" for bound in (info.low_threshold, info.high_threshold))
    if info.labels is not None and info.labels.servers:
        low, high = "the server's low bound", "its high bound"
    meanings = (f"up to {low}", f"above {low}, up to {high}", f"above {high}")
    rows = [
        (name, *cells, f"{hours:,}", f"{said:,}")
        for name, *cells, hours, said in zip(matrix.labels, meanings, actual, forecast, strict=True)
    ]
    cells = table(("class", "peak load of the hour", ">actual", ">forecast"), rows, f"Load classes ({rule(info)})")
    return Figure("classes", title, "A forecast that leans to one class shows here.", drawn), Card(cells)


def _class_figure(scores: ServerScores) -> Figure:
    title = "Load classes by hour of the day"
    heads = ("hour", *(f">{name}" for name in schema.CLASS_NAMES.values()), ">hours")
    rows = []
    for hour, counts in enumerate(scores.by_hour):
        total = int(counts.sum())
        shares = (percent(count / total, 1) if total else "–" for count in counts)
        rows.append((f"{hour:02d}:00", *shares, f"{total:,}"))
    caption = "The share of observed hours of the test period that were low, medium and high."
    return Figure("classes-by-hour", title, caption, class_hours(scores.by_hour, title), table(heads, rows, title))
