"""The head of the report: how good the model is, in a sentence and a few numbers, and what it was made with."""

from __future__ import annotations

from loadcast.artefacts.info import Info, Period
from loadcast.artefacts.metrics import Metrics, PartMetrics, Score
from loadcast.report.charts.canvas import percent
from loadcast.report.markup import Markup, element
from loadcast.report.page.content import ReportContent
from loadcast.report.page.parts import facts, tiles, warning
from loadcast.report.run import forecast_name
from loadcast.schema import TIME_FORMAT

_HOUR_FORMAT = "%Y-%m-%d %H:%M"
_RULES = {
    "absolute": "the same bounds for all servers, as configured",
    "quantile": "the same bounds for all servers, from the fleet's own hours",
    "perServer": "bounds of each server, from its own hours",
}
NOT_TRAINED = "No model has been trained in this run yet: the report shows the data alone."


def header(content: ReportContent) -> Markup:
    """Title, the sentence, the numbers, and the facts."""
    parts = [
        element("p", f"Load forecast · run {content.run}", class_="eyebrow"),
        element("h1", content.shown),
        element("p", verdict(content.metrics), class_="verdict"),
    ]
    if content.metrics is not None:
        parts.append(_numbers(content, content.metrics.test))
        if content.metrics.warning:
            parts.append(warning(content.metrics.warning))
    return element("header", [*parts, facts(_facts(content))])


def verdict(metrics: Metrics | None) -> str:
    """How good the model is, in a sentence."""
    if metrics is None:
        return NOT_TRAINED
    test = metrics.test
    if test.accuracy is None:
        return "There was no observed hour in the test period, so nothing is known of how good the forecast is."
    right = percent(test.accuracy, 1)
    said = f"Of {test.rows:,} forecasts of observed hours in the test period, the model had {right} right"
    naive = test.naive.get(test.best_naive or "")
    if naive is None or naive.accuracy is None or test.lift_over_best_naive.accuracy is None:
        return f"{said}."
    return (
        f"{said}, {_points(test.lift_over_best_naive.accuracy)} the best naive forecast, "
        f"{forecast_name(test.best_naive or '')}, with {percent(naive.accuracy, 1)}."
    )


def _points(lift: float) -> str:
    """A difference of accuracies in words."""
    points = round(100 * lift, 1)
    if points == 0:
        return "as many as"
    return f"{abs(points):.1f} points {'more' if points > 0 else 'fewer'} than"


def _numbers(content: ReportContent, test: PartMetrics) -> Markup:
    naive = test.naive.get(test.best_naive or "")
    lift = test.lift_over_best_naive
    items = [
        ("Accuracy", _share(test.accuracy), f"macro-F1 {number(test.macro_f1)}"),
        (
            "Best naive forecast",
            _share(naive.accuracy if naive else None),
            f"macro-F1 {number(naive.macro_f1)}, {forecast_name(test.best_naive or '')}" if naive else "none",
        ),
        ("Lift", _lift(lift.accuracy), f"points of accuracy; of macro-F1 {_lift(lift.macro_f1)}"),
    ]
    if test.expected_calibration_error is not None:
        about = f"expected calibration error; Brier score {number(test.brier_score)}"
        items.append(("Calibration", number(test.expected_calibration_error), about))
    if content.quality is not None:
        items.append(("Servers", f"{content.quality.servers.number:,}", f"{content.quality.good:,} rows of logs kept"))
    return tiles(items)


def _facts(content: ReportContent) -> dict[str, str]:
    info = content.info
    features = f"{info.feature_set.name}, version {info.feature_set.version}: {len(info.feature_columns)} columns"
    found = {
        "Data": info.data_file,
        "Trained on": period(info.train_period),
        "Tested on": f"{period(info.test_period)} ({info.timezone})",
        "Model": _model(info),
        "Feature set": features,
        "Low, medium, high": _bounds(info),
        "Made with": ", ".join(f"{name} {version}" for name, version in info.versions.items()) or "not said",
    }
    return {name: text for name, text in found.items() if text}


def period(of: Period) -> str:
    """From when to when."""
    begin, end = of.begin.strftime(_HOUR_FORMAT), of.end.strftime(TIME_FORMAT)
    return f"{begin} to {end.removesuffix(':59')}"


def _model(info: Info) -> str:
    if not info.model:
        return "forest" if info.forest else "none yet"
    settings = info.model_settings or info.forest or {}
    said = ", ".join(f"{name} {value}" for name, value in settings.items() if isinstance(value, (int, float, str)))
    return f"{info.model} ({said})" if said else info.model


def _bounds(info: Info) -> str:
    bounds = f"low up to {info.low_threshold:,.6g}, high above {info.high_threshold:,.6g}"
    own = len(info.labels.servers) if info.labels is not None else 0
    whose = f"; {own:,} servers have their own" if own else ""
    return f"{bounds} ({rule(info)}{whose})"


def rule(info: Info) -> str:
    """The label rule and what it says."""
    name = info.labels.rule if info.labels is not None else "absolute"
    return f"{name}: {_RULES[name]}" if name in _RULES else name


def _share(score: Score) -> str:
    return "–" if score is None else percent(score, 1)


def _lift(score: Score) -> str:
    return "–" if score is None else f"{100 * score:+.1f}".replace("-", "−")


def number(score: Score) -> str:
    """A score as tables have it."""
    return "–" if score is None else f"{score:.3f}"
