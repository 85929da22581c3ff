"""The recipe of a direct forecast, tried on real data: what it scores beside naive forecasts. Not part of the product.

    python -m bench.forecast_recipe ../shared/data/bitbrains-dev backtest|test common|server [KEY=VALUE...]

It needs xgboost (package xgboost-cpu), which no lock of the project names yet. Features are those of kernels/direct.
`backtest` trains before, and scores within, the training part; `test` scores the test period, to be looked at once.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import loadcast
from loadcast.kernels.direct.columns import columns_of
from loadcast.kernels.direct.relative import RelativeGrid
from loadcast.kernels.direct.rows import DirectRows
from loadcast.kernels.grid import Grid, grid_from_hourly
from loadcast.kernels.label_history import learned_rule
from loadcast.kernels.labels import LabelQuantiles, LabelRule
from loadcast.kernels.scores import scores

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
HORIZON = np.arange(1, 49)
#: Of backtests: how many days before the split they begin, and which horizons are looked at.
BACKTEST_DAYS = (12, 15, 19)
SOME_HORIZONS = np.array([1, 2, 3, 4, 6, 9, 12, 18, 24, 30, 36, 42, 48])
PERIODS = {
    "bitbrains-dev": ("sessions-*.csv.gz", "2013-06-30 22:00:00", "2013-08-18 18:00:00", "2013-08-30 21:59:59"),
}
NAMES = {"common": "quantile", "server": "perServer"}


@dataclass(frozen=True)
class Recipe:
    """What is tuned. Cutoffs are simulated every `step_h` hours from day `first_day` on, for `span_h` hours each."""

    first_day: int = 14
    step_h: int = 84
    span_h: int = 18 * 24
    rows: int = 1500  # of each view of a cutoff
    placements: int = 8  # more views of each cutoff, whose bounds are other quantiles
    other_kind: float = 0.5  # the share of these that are of the other rule
    near: float = 1.0  # rows are drawn with weights horizon ** -near
    depth: int = 4
    rounds: int = 60
    eta: float = 0.05
    seed: int = 1


@dataclass(frozen=True)
class Fleet:
    """A grid, its time of the split, and whose bounds count."""

    grid: Grid
    split: int
    kind: str

    def rule(self, until: int, kind: str | None = None, low: float = 0.5, high: float = 0.85) -> LabelRule:
        return learned_rule([self.grid], LabelQuantiles(NAMES[kind or self.kind], low, high, until))

    def slots(self, servers: Ints, hours: Ints) -> Ints:
        return (self.grid.day_begins * 24)[servers] + hours - (self.grid.first_day * 24)[servers]


def read(folder: Path, kind: str) -> Fleet:
    pattern, begin, split, end = PERIODS[folder.name]
    times = {"trainBegin": begin, "testSplitStart": split, "trainEnd": end}
    settings = loadcast.parse_settings(
        {"dataFile": str(folder / pattern), "output": "unused", "duration": "CUSTOM", **times}
    )
    return Fleet(grid_from_hourly(loadcast.hourly(settings)), _hour(split), kind)


def _hour(text: str) -> int:
    return int(np.datetime64(text.replace(" ", "T"), "h").astype(np.int64))


def matrix(rows: DirectRows) -> Floats:
    """The features: those of the kernels, and horizon, calendar and width."""
    hours = rows.relative.grid.hours[rows.slots]
    calendar = {
        "horizon": rows.horizons,
        "daysAhead": rows.youngest_days,
        "hourOfDay": hours % 24,
        "dayOfWeek": (hours // 24 + 3) % 7,
        "sine": np.sin(2 * np.pi * (hours % 24) / 24),
        "cosine": np.cos(2 * np.pi * (hours % 24) / 24),
        "width": rows.relative.widths[rows.relative.slot_server[rows.slots]],
    }
    return np.stack([*calendar.values(), *columns_of(rows).values()], axis=1).astype(np.float32)


def drawn_rows(
    fleet: Fleet, view: RelativeGrid, span: tuple[int, int], number: int, near: float, random: Any
) -> DirectRows:
    """Observed hours of a span, each from an origin that is not before the hour before it begins."""
    weights, grid = HORIZON ** -float(near), fleet.grid
    horizons = random.choice(HORIZON, number, p=weights / weights.sum())
    servers, hours = random.integers(0, len(grid.servers), number), random.integers(*span, number)
    inside = (hours >= grid.first[servers] + 24) & (hours <= grid.last[servers]) & (hours - horizons >= span[0] - 1)
    slots, horizons = fleet.slots(servers[inside], hours[inside]), horizons[inside]
    seen = grid.observed[slots]
    return DirectRows(view, slots[seen], (slots - horizons)[seen])


def training(fleet: Fleet, cut: int, recipe: Recipe) -> tuple[Floats, Ints]:
    """Rows of simulated cutoffs before `cut`: bounds are of what lies before each, placed at several quantiles."""
    random = np.random.default_rng(recipe.seed)
    other = {"common": "server", "server": "common"}[fleet.kind]
    matrices, labels = [], []
    for begin in range(int(fleet.grid.first.min()) + recipe.first_day * 24, cut - 48, recipe.step_h):
        end = min(begin + recipe.span_h, cut)
        number = recipe.rows * (end - begin) // recipe.span_h
        rules = [fleet.rule(begin)]
        for _ in range(recipe.placements):
            kind = other if random.random() < recipe.other_kind else fleet.kind
            rules.append(fleet.rule(begin, kind, random.uniform(0.35, 0.65), random.uniform(0.75, 0.92)))
        for rule in rules:
            view = RelativeGrid(fleet.grid, rule)
            rows = drawn_rows(fleet, view, (begin, end), number, recipe.near, random)
            matrices.append(matrix(rows))
            labels.append(view.classes[rows.slots].astype(np.int64))
    return np.concatenate(matrices), np.concatenate(labels)


def fit(features: Floats, labels: Ints, recipe: Recipe) -> Any:
    import xgboost

    parameters = {
        "objective": "multi:softprob", "num_class": 3, "tree_method": "hist", "max_bin": 64, "nthread": 1,
        "eta": recipe.eta, "max_depth": recipe.depth, "subsample": 0.5, "colsample_bytree": 0.3,
        "min_child_weight": 50, "reg_lambda": 10, "seed": recipe.seed,
    }  # fmt: skip
    model = xgboost.train(parameters, xgboost.DMatrix(features, labels - 1), recipe.rounds)
    return lambda wanted: model.predict(xgboost.DMatrix(wanted))


def scored_rows(fleet: Fleet, view: RelativeGrid, begin: int, end: int, horizons: Ints) -> DirectRows:
    """Observed hours from origins every six hours, all 48 hours of each in [begin, end)."""
    origins = np.arange(begin - 1, end - 48, 6)
    servers, origins, ahead = (
        axis.ravel() for axis in np.meshgrid(np.arange(len(fleet.grid.servers)), origins, horizons, indexing="ij")
    )
    inside = (origins + ahead >= fleet.grid.first[servers]) & (origins + ahead <= fleet.grid.last[servers])
    slots = fleet.slots(servers[inside], (origins + ahead)[inside])
    seen = fleet.grid.observed[slots]
    return DirectRows(view, slots[seen], (slots - ahead[inside])[seen])


def naive(rows: DirectRows, view: RelativeGrid, usual: int) -> dict[str, Ints]:
    """Classes that naive forecasts say."""
    from loadcast.kernels.direct.recent import last_observed

    classes = rows.same_hour_classes
    late = rows.known(view.classes, rows.slots - 48 - 24 * np.arange(28)[:, None])
    said = {
        "last": rows.at_origin(last_observed(view)["lastClass"]),
        "newestDay": classes[0],
        "48h": late[0],
        "168h": late[5],
        "7days": _commonest(classes[:7]),
        "28days": _commonest(classes),
        "7days48h": _commonest(late[:7]),
        "28days48h": _commonest(late),
    }
    return {name: np.nan_to_num(labels, nan=usual).astype(np.int64) for name, labels in said.items()}


def _commonest(classes: Floats) -> Floats:
    often = np.stack([(classes == label).sum(axis=0) for label in (1, 2, 3)])
    return np.where(often.any(axis=0), often.argmax(axis=0) + 1.0, np.nan)


def by_horizon(truth: Ints, said: Ints, horizons: Ints) -> Floats:
    """Accuracy and macro-F1 of each horizon, (2, horizons)."""
    result = []
    for horizon in np.unique(horizons):
        chosen = horizons == horizon
        counts = np.bincount((truth[chosen] - 1) * 3 + said[chosen] - 1, minlength=9).reshape(3, 3)
        score = scores(counts)
        result.append((score["accuracy"], score["macroF1"]))
    return np.array(result).T


def judged(rows: DirectRows, truth: Ints, shares: Floats, rivals: dict[str, Ints]) -> dict[str, Any]:
    """What is said of one fold."""
    said, horizons = shares.argmax(axis=1) + 1, rows.horizons
    model = by_horizon(truth, said, horizons)
    others = {name: by_horizon(truth, labels, horizons) for name, labels in rivals.items()}
    best = max(others, key=lambda name: others[name][0].mean())
    gaps = model[0] - np.max([values[0] for values in others.values()], axis=0)
    codes = rows.relative.slot_server[rows.slots]
    lifts = [
        (said[of] == truth[of]).mean() - max((labels[of] == truth[of]).mean() for labels in rivals.values())
        for of in (codes == code for code in np.unique(codes))
    ]
    likelihood = shares[np.arange(len(truth)), truth - 1]
    accuracy, rival = model[0].mean(), others[best][0].mean()
    return {
        "accuracy": accuracy,
        "macroF1": model[1].mean(),
        "best": best,
        "bestAccuracy": rival,
        "bestMacroF1": max(values[1].mean() for values in others.values()),
        "lift": accuracy - rival,
        "oneHour": gaps[0],
        "worstGap": gaps.min(),
        "worstAt": int(np.unique(horizons)[gaps.argmin()]),
        "ece": calibration_error(shares, said == truth),
        "logLoss": -np.log(np.maximum(likelihood, 1e-15)).mean(),
        "brier": ((shares - np.eye(3)[truth - 1]) ** 2).sum(axis=1).mean(),
        "serversBelow2": np.mean(np.array(lifts) < -0.02),
    }


def calibration_error(shares: Floats, right: NDArray[np.bool_]) -> float:
    """Expected calibration error of the likeliest class, in ten bins."""
    sure = shares.max(axis=1)
    bins = np.minimum((sure * 10).astype(int), 9)
    errors = [abs((sure - right)[bins == one].mean()) * (bins == one).mean() for one in np.unique(bins)]
    return float(sum(errors))


def fold(fleet: Fleet, cut: int, end: int, recipe: Recipe, horizons: Ints) -> dict[str, Any]:
    begin_s = time.monotonic()
    features, labels = training(fleet, cut, recipe)
    made_s = time.monotonic()
    predict = fit(features, labels, recipe)
    view = RelativeGrid(fleet.grid, fleet.rule(cut))
    rows = scored_rows(fleet, view, cut, end, horizons)
    truth = view.classes[rows.slots].astype(np.int64)
    usual = 1 + int(np.argmax(np.bincount(labels, minlength=4)[1:]))
    result = judged(rows, truth, predict(matrix(rows)), naive(rows, view, usual))
    return {**result, "rows": len(labels), "madeS": made_s - begin_s, "fittedS": time.monotonic() - made_s}


def main(folder: str, part: str, kind: str, *changes: str) -> None:
    values = {key: type(getattr(Recipe, key))(value) for key, value in (change.split("=") for change in changes)}
    recipe, fleet = replace(Recipe(), **values), read(Path(folder), kind)
    folds, horizons = [(fleet.split, int(fleet.grid.last.max()) + 1)], HORIZON
    if part == "backtest":
        cuts = [fleet.split - 24 * days for days in BACKTEST_DAYS]
        folds, horizons = [(cut, min(cut + 292, fleet.split)) for cut in cuts], SOME_HORIZONS
    results = [fold(fleet, *times, recipe, horizons) for times in folds]
    for result in results:
        print(kind, *changes, _rounded(result), flush=True)
    numbers = [name for name in results[0] if name != "best"]
    print("MEAN", kind, *changes, _rounded({name: np.mean([result[name] for result in results]) for name in numbers}))


def _rounded(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, str) else round(float(value), 4) for name, value in result.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
