"""Parts of metrics.json that only some runs have: scores by horizon, and what wrong decisions would have cost."""

from __future__ import annotations

from pydantic import Field, TypeAdapter, ValidationError

from loadcast.artefacts.document import Number, Part, Real
from loadcast.artefacts.metrics import Metrics, Score
from loadcast.errors import ArtefactError
from loadcast.report.charts.horizons import HorizonPoint

_BY_HORIZON, _COSTS = "byHorizon", "costs"


class HorizonScores(Part):
    """Scores of the forecasts made so many hours ahead; `naive` has the accuracy of each naive forecast."""

    horizon_hours: Number
    rows: Number
    accuracy: Score
    macro_f1: Score = Field(default=None, alias="macroF1")
    naive: dict[str, Score]

    def point(self) -> HorizonPoint | None:
        """The model beside the best naive forecast; None where one of them is not known."""
        known = {name: accuracy for name, accuracy in self.naive.items() if accuracy is not None}
        if self.accuracy is None or not known:
            return None
        best = max(known, key=lambda name: known[name])
        return HorizonPoint(self.horizon_hours, self.accuracy, known[best], best)


_HORIZONS = TypeAdapter(list[HorizonScores])
_NUMBERS = TypeAdapter(dict[str, Real])


def horizons(metrics: Metrics) -> list[HorizonScores]:
    """The scores by horizon, the nearest first; none where the run has none. Raises ArtefactError."""
    found = _part(metrics, _BY_HORIZON)
    try:
        return sorted(_HORIZONS.validate_python(found or []), key=lambda scores: scores.horizon_hours)
    except ValidationError as error:
        raise _unreadable(_BY_HORIZON, error) from error


def bills(metrics: Metrics) -> dict[str, float]:
    """Names and numbers of what is said of costs; none where the run has none. Raises ArtefactError."""
    found = _part(metrics, _COSTS)
    plain = {
        name: value
        for name, value in (found.items() if isinstance(found, dict) else ())
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    return _NUMBERS.validate_python({name: float(value) for name, value in plain.items()})


def _part(metrics: Metrics, name: str) -> object:
    """A part of the test period's scores, or of the whole document."""
    document = metrics.model_dump(by_alias=True)
    return document["test"].get(name, document.get(name))


def _unreadable(name: str, error: ValidationError) -> ArtefactError:
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, fault["loc"]))
    return ArtefactError(f"{name} of metrics.json cannot be read: {where}: {fault['msg']}. {Metrics.REMEDY}")
