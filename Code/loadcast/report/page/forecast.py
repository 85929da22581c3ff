"""Sections on the forecast: its scores, by horizon too, its probabilities, what it costs, what it uses."""

from __future__ import annotations

from collections.abc import Sequence

from loadcast import schema
from loadcast.artefacts.metrics import HorizonMetrics, PartMetrics, Scores
from loadcast.kernels.features import FeatureSet
from loadcast.report.amounts import amount
from loadcast.report.charts.bars import Bar, bars
from loadcast.report.charts.canvas import percent
from loadcast.report.charts.horizons import HorizonPoint, horizon_chart
from loadcast.report.charts.squares import ReliabilityPoint, confusion_matrix, reliability_diagram
from loadcast.report.markup import Markup
from loadcast.report.page.content import Importance
from loadcast.report.page.headline import number
from loadcast.report.page.parts import Card, Figure, Section, table
from loadcast.report.run import forecast_name

_MODEL = "the model"
_MOST_FEATURES = 15
_SHOWN_HORIZONS = (1, 2, 3, 6, 12, 18, 24, 30, 36, 42, 48)


def scores_section(test: PartMetrics) -> Section:
    """The model beside every naive forecast, which classes it takes for which, and how often it says each."""
    ranked = sorted(test.naive.items(), key=lambda item: -(item[1].macro_f1 or 0.0))
    named: list[tuple[str, Scores]] = [(_MODEL, test), *((forecast_name(name), scores) for name, scores in ranked)]
    accuracies = [
        Bar(name, scores.accuracy or 0.0, _percent(scores.accuracy), name == _MODEL) for name, scores in named
    ]
    title = "Accuracy beside the naive forecasts"
    caption = "All on the same rows; the naive forecasts in the order of their macro-F1."
    items: list[Figure | Card] = [Figure("scores", title, caption, bars(accuracies, title, 1.0))]
    matrix = test.confusion_matrix
    if test.rows:
        items.append(_confusion_figure(matrix.labels, matrix.rows_are_true_class))
    items.append(Card(_score_table(named, test), wide=True))
    lead = (
        f"On {test.rows:,} forecasts of observed hours that training has not seen. Macro-F1 is the mean of the "
        "classes' F1, so a rare class counts as much as a common one."
    )
    return Section("forecast", "The forecast and the naive ones", lead, items)


def _score_table(named: Sequence[tuple[str, Scores]], test: PartMetrics) -> Markup:
    heads = ("forecast", ">accuracy", ">macro-F1", *(f">F1 {name}" for name in test.per_class))
    best = forecast_name(test.best_naive) if test.best_naive else None
    rows = []
    for name, scores in named:
        per_class = (number(values.f1) for values in scores.per_class.values())
        shown = f"{name} (the best naive one)" if name == best else name
        rows.append((shown, number(scores.accuracy), number(scores.macro_f1), *per_class))
    return table(heads, rows, "Scores of the test period", marked=0)


def _confusion_figure(names: Sequence[str], rows: Sequence[Sequence[int]]) -> Figure:
    title = "Which class was taken for which"
    caption = "Each row is an actual class, with the share of it that was forecast as low, medium and high."
    heads = ("actual", *(f">forecast {name}" for name in names))
    cells = [(name, *(f"{count:,}" for count in counts)) for name, counts in zip(names, rows, strict=True)]
    return Figure("confusion", title, caption, confusion_matrix(names, rows, title), table(heads, cells, title))


def horizon_section(test: PartMetrics) -> Section | None:
    """Accuracy by how far ahead a forecast was made; None where the run does not say."""
    points = [_point(scores) for scores in test.by_horizon if scores.naive]
    if not points:
        return None
    behind = [point for point in points if point.model < point.best_naive]
    widest = max(points, key=lambda point: point.model - point.best_naive)
    lead = (
        f"The model is ahead of the best naive forecast at {len(points) - len(behind)} of {len(points)} horizons, most "
        f"at {widest.horizon_h} h, by {100 * (widest.model - widest.best_naive):.1f} points. "
        "At each horizon it is held against the naive forecast that is best there."
    )
    title = "Accuracy by hours ahead"
    shown = [point for point in points if point.horizon_h in _SHOWN_HORIZONS] or points[:: max(1, len(points) // 12)]
    heads = ("hours ahead", ">the model", ">best naive", ">lift, points", "which")
    rows = [_horizon_row(point) for point in shown]
    caption = "Between the lines: the lift, in the line's colour where the model is ahead, in red where it is not."
    figure = Figure("horizons", title, caption, horizon_chart(points, title))
    return Section("ahead", "How far ahead", lead, [figure, Card(table(heads, rows, title))])


def _point(scores: HorizonMetrics) -> HorizonPoint:
    best = max(scores.naive, key=lambda name: scores.naive[name])
    return HorizonPoint(scores.horizon_hours, scores.accuracy, scores.naive[best], best)


def _horizon_row(point: HorizonPoint) -> tuple[str, ...]:
    lift = f"{100 * (point.model - point.best_naive):+.1f}".replace("-", "−")
    return str(point.horizon_h), number(point.model), number(point.best_naive), lift, forecast_name(point.best_name)


def calibration_section(test: PartMetrics) -> Section | None:
    """Whether probabilities can be taken at their word; None where the run does not say."""
    if not test.reliability or test.expected_calibration_error is None:
        return None
    points = [ReliabilityPoint(found.confidence, found.accuracy, found.rows) for found in test.reliability]
    lead = (
        f"The model's probabilities are off by {100 * test.expected_calibration_error:.1f} points on average (expected "
        f"calibration error {number(test.expected_calibration_error)}); the Brier score is {number(test.brier_score)}, "
        f"log-loss {number(test.log_loss)}."
    )
    title = "Reliability"
    caption = (
        "Below the dashed line the model was surer than it should have been, above it less sure. "
        "Larger dots stand for more forecasts."
    )
    heads = ("probability of the answer", ">forecasts", ">mean probability", ">right")
    rows = [
        (
            f"{percent(found.begin)} to {percent(found.end)}",
            f"{found.rows:,}",
            percent(found.confidence, 1),
            percent(found.accuracy, 1),
        )
        for found in test.reliability
    ]
    figure = Figure("reliability", title, caption, reliability_diagram(points, title))
    heading = "Can probabilities be taken at their word?"
    return Section("calibration", heading, lead, [figure, Card(table(heads, rows, title))])


def cost_section(test: PartMetrics) -> Section | None:
    """What the forecasts of the test period have cost, by the configured costs; None where the run has none."""
    costs = test.costs
    if costs is None or not test.rows:
        return None
    bills = {"the class of least expected cost": costs.decision, "the likeliest class": costs.prediction}
    bills |= {forecast_name(name): bill for name, bill in sorted(costs.naive.items(), key=lambda item: item[1].total)}
    lead = f"What the {test.rows:,} forecasts of the test period have cost, by the configured costs of wrong classes."
    title = "Bills of the test period"
    made = [Bar(name, bill.total, amount(bill.total), at == 0) for at, (name, bill) in enumerate(bills.items())]
    rows = [(name, amount(bill.total), amount(bill.per_row or 0.0)) for name, bill in bills.items()]
    caption = "All on the same rows; the naive forecasts by their bills, the cheapest first."
    cells = table(("forecast", ">in all", ">for each"), rows, title, marked=0)
    return Section("cost", "Cost", lead, [Figure("bills", title, caption, bars(made, title)), Card(cells)])


def importance_section(importance: Importance, features: FeatureSet | None) -> Section:
    """What the model has learned most from."""
    heading = "What the model looks at"
    if importance.shares is None:
        return Section("features", heading, f"Left out: {importance.why_not}")
    ranked = sorted(importance.shares.items(), key=lambda item: (-item[1], item[0]))
    top, rest = ranked[:_MOST_FEATURES], ranked[_MOST_FEATURES:]
    made = [Bar(name, share, percent(share, 1), at == 0) for at, (name, share) in enumerate(top)]
    title = "Importance of features"
    meanings = {schema.SERVER: "which server it is"}
    if features is not None:
        meanings |= {feature.name: feature.meaning.replace("*", "") for feature in features.features}
    rows = [(name, percent(share, 1), meanings.get(name, "")) for name, share in top]
    left = f"{len(rest):,} more features have {percent(sum(share for _, share in rest), 1)} together." if rest else ""
    lead = (
        "The share of each feature in what the trees' splits gained on the training rows. "
        "It says what the model has used, not what causes load; of features that say the same, one may have it all."
    )
    figure = Figure("importance", title, left, bars(made, title))
    return Section("features", heading, lead, [figure, Card(table(("feature", ">share", "meaning"), rows, title))])


def _percent(score: float | None) -> str:
    return "–" if score is None else percent(score, 1)
