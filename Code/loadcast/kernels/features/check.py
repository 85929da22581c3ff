"""A feature set, tried on made-up servers before it is used: does each feature keep what it promises?

Features that see too much are worse than faults: they shine in the test and fail in service, where the hours after the
origin are not known yet. So a set from another package is tried when it is looked up, which takes milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from loadcast import schema
from loadcast.errors import ConfigError
from loadcast.kernels.calendar import CalendarRule, epoch_seconds
from loadcast.kernels.features.assembly import every_hour
from loadcast.kernels.features.feature import Encoding, Feature
from loadcast.kernels.features.feature_set import FeatureSet
from loadcast.kernels.features.rows import FeatureRows
from loadcast.kernels.grid import Grid
from loadcast.kernels.labels import LabelRule

_BEGIN = datetime(2016, 6, 27, 5)
_CALENDAR = CalendarRule(datetime(2016, 1, 1), frozenset({date(2016, 7, 4)}))
_RULE = LabelRule.absolute(200, 500)
_MARGIN_DAYS = 6
_TOO_YOUNG = "uses loads younger than its origin"
_TOO_OLD = "uses loads older than its look-back"
_OTHERS = "uses loads of another server"

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Trial:
    """The made-up rows with other loads in some slots of the grid: up to `cut`, from it on, or of other servers."""

    rows: FeatureRows
    own: Bools
    cut: int
    fault: str

    def unmoved(self, feature: Feature) -> Bools:
        """The rows whose value must not change, (n,)."""
        if self.fault == _TOO_YOUNG:
            return self.own & (self.rows.origins <= self.cut)
        if self.fault == _TOO_OLD:
            return self.own & (self.rows.slots - feature.look_back_h >= self.cut)
        return self.own


def check_feature_set(features: FeatureSet) -> None:
    """Raise ConfigError for the first feature that breaks what a Feature promises."""
    rows = replace(every_hour(_made_up(features.look_back_h // 24 + _MARGIN_DAYS), _CALENDAR), rule=_RULE)
    trials = _trials(rows)
    for feature in features.features:
        try:
            values = feature.compute(rows)
            fault = _fault(feature, rows, values) or _sees_too_much(feature, values, trials)
        except Exception as exc:  # the function is of another package: it may raise anything
            fault = f"its function raised {type(exc).__name__}: {str(exc)[:200]}"
        if fault:
            raise ConfigError(f"Feature {feature.name} of the set {features.name}: {fault}.")


def _made_up(days: int) -> Grid:
    """Two servers of random loads, the first of which starts at noon and stops in a morning."""
    first = np.array([0, -5 - 24]) + epoch_seconds(_BEGIN) // 3_600
    last = first // 24 * 24 + 24 * days + 7
    slots = int((last // 24 - first // 24 + 1).sum()) * 24
    empty = Grid(("10.0.0.1", "10.0.0.2"), first, last, np.zeros((len(schema.PEAKS), slots)), np.zeros(slots, bool))
    return _with_loads(empty, empty.in_grid, seed=1)


def _with_loads(grid: Grid, chosen: Bools, seed: int) -> Grid:
    """The grid with other loads in the chosen slots, (slots,), some of them of hours without sessions."""
    rng = np.random.default_rng(seed)
    observed = np.where(chosen, rng.random(len(chosen)) < 0.9, grid.observed)
    loads = np.where(chosen, rng.gamma(2.0, 150.0, grid.peaks.shape).round(3), grid.peaks)
    return replace(grid, peaks=np.where(observed, loads, 0.0), observed=observed)


def _trials(rows: FeatureRows) -> list[_Trial]:
    slot, trials = np.arange(len(rows.grid.hours)), []
    slot_server = np.repeat(rows.grid.day_server, 24)
    for cut in rows.slots[[len(rows.slots) // 3, len(rows.slots) // 2, len(rows.slots) - 60]].tolist():
        same, own = slot_server == slot_server[cut], rows.codes == slot_server[cut]
        for changed, fault in ((same & (slot > cut), _TOO_YOUNG), (same & (slot < cut), _TOO_OLD), (~same, _OTHERS)):
            grid = _with_loads(rows.grid, changed & rows.grid.in_grid, seed=2)
            trials.append(_Trial(replace(rows, grid=grid), own, cut, fault))
    return trials


def _fault(feature: Feature, rows: FeatureRows, values: Any) -> str | None:
    """What is wrong with a feature's values, or None."""
    if not isinstance(values, np.ndarray) or values.shape != rows.slots.shape:
        return f"found {getattr(values, 'shape', type(values).__name__)}, wanted one number for each row"
    whole = feature.encoding is Encoding.CATEGORY
    if values.dtype.kind not in ("bui" if whole else "biuf"):
        return f"found numbers of type {values.dtype}, wanted {'whole numbers' if whole else 'doubles'}"
    if not (np.isfinite(values) & (values >= feature.low) & (values <= feature.high)).all():
        return f"found values outside {feature.low:g} … {feature.high:g}"
    return None


def _sees_too_much(feature: Feature, values: npt.NDArray[Any], trials: list[_Trial]) -> str | None:
    """What a feature uses and should not, or None."""
    for trial in trials:
        unmoved = trial.unmoved(feature)
        if not np.array_equal(feature.compute(trial.rows)[unmoved], values[unmoved]):
            return trial.fault
    return None
