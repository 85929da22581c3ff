"""The report of a published run: one file of HTML, and its pictures."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from loadcast import paths, schema
from loadcast.api.opened import Run, Where, open_run
from loadcast.errors import ArtefactError
from loadcast.kernels import hour_strips, load_profile, server_scores
from loadcast.kernels.hour_strips import HourStrips
from loadcast.kernels.load_profile import LoadProfile
from loadcast.kernels.server_scores import ServerScores
from loadcast.report.forecast_files import check_output, write_whole
from loadcast.report.page.content import STRIP_HOURS, Importance, ReportContent, best_and_worst
from loadcast.report.page.document import figures, page
from loadcast.report.pictures import check_folder, write_pictures
from loadcast.secrets import shown
from loadcast.serving.bundle import importance_of
from loadcast.settings import Settings
from loadcast.storage.named import output_of
from loadcast.storage.output import FolderOutput, open_output

FILE = "report.html"
_OPTION = "--output"


def write_report(output: Where, path: str | os.PathLike[str] | None = None) -> Path:
    """Write the report of an output's newest run, or of a run's own folder, as one file of HTML; returns where it is.

    `path` None: `report.html` in the output's folder, or, for a container or a run's own folder, in the working folder.
    Raises LoadcastError.
    """
    file = report_path(output) if path is None else Path(path)
    check_output(file, _OPTION)
    write_whole(file, page(report_content(open_run(output))), _OPTION)
    return file


def write_report_pictures(output: Where, folder: str | os.PathLike[str]) -> list[Path]:
    """Write the report's pictures as PNG files into a folder, which is made; returns where they are.

    Raises LoadcastError; EnvironmentNotReadyError where the extra `pictures` is not installed.
    """
    target = check_folder(Path(folder))
    return write_pictures(figures(report_content(open_run(output))), target)


def report_path(output: Where) -> Path:
    """Where the report of an output is put unless something else is asked for. Raises LoadcastError."""
    where = open_output(output) if isinstance(output, Settings) else output_of(os.fspath(output))
    if isinstance(where, FolderOutput) and os.path.lexists(where.folder / paths.CURRENT):
        return where.folder / FILE
    # A container gets no files but those of runs, and a run's own folder never changes.
    return Path(FILE)


def report_content(run: Run) -> ReportContent:
    """What the report says of a run. Tables are read some rows at a time. Raises ArtefactError."""
    profile = LoadProfile()
    for batch in run.hourly_batches(load_profile.COLUMNS):
        profile.add(batch)
    content = ReportContent(
        shown=run.output,
        run=run.name,
        info=run.info,
        quality=run.quality if run.has(paths.QUALITY) else None,
        metrics=run.metrics if run.has(paths.METRICS) else None,
        profile=profile if profile.counts.any() else None,
    )
    return content if content.metrics is None else _with_forecast(run, content)


def _with_forecast(run: Run, content: ReportContent) -> ReportContent:
    scores = ServerScores()
    for batch in run.prediction_batches(server_scores.COLUMNS):
        scores.add(batch)
    best, worst = best_and_worst(scores.scores())
    strips = HourStrips([score.server for score in (*best, *worst)], STRIP_HOURS)
    for batch in run.prediction_batches((*hour_strips.COLUMNS, schema.HORIZON)):
        strips.add(batch)
    return replace(
        content,
        scores=scores,
        best=best,
        worst=worst,
        strips=strips.strips(),
        importance=_importance(run),
    )


def _importance(run: Run) -> Importance:
    """What the model has learned from; a model that cannot say so is no reason to have no report."""
    try:
        shares = importance_of(run.bundle())
    except ArtefactError as error:
        return Importance(None, shown(error))
    if shares is None:
        return Importance(None, "this family of models does not say which features it has used.")
    return Importance(shares)
