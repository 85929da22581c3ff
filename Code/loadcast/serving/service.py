"""What a service answers from: a model that may be replaced, its name, the statistics it holds, and what it counts."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from loadcast.artefacts.info import Info
from loadcast.errors import ArtefactError
from loadcast.serving.answer_rule import AnswerRule
from loadcast.serving.columns import Columns
from loadcast.serving.gate import Gate
from loadcast.serving.metrics import Metrics
from loadcast.serving.request_contract import RequestContract
from loadcast.serving.scored import Scored

if TYPE_CHECKING:
    from loadcast.serving.gate_file import LiveGate


class Scorer(Protocol):
    """What the service needs of a predictor."""

    @property
    def contract(self) -> RequestContract:
        """What it takes."""

    @property
    def info(self) -> Info:
        """What it was trained with."""

    def score(self, body: bytes) -> Scored:
        """Answers to the body of a request, in order. Raises RequestError."""

    def score_columns(self, columns: Columns) -> Scored:
        """Answers to records that the contract has read already, in order."""

    def score_table(self, table: pa.Table) -> Scored:
        """Answers to records of `contract.schema`, in order."""


class ServedModel:
    """A predictor, and what the service says about it."""

    def __init__(self, predictor: Scorer) -> None:
        self.predictor = predictor

    @cached_property
    def version(self) -> str:
        """What changes with every bundle."""
        return self.predictor.info.model_version

    @cached_property
    def answer_rule(self) -> AnswerRule:
        """What its answers say beside class and probabilities."""
        return AnswerRule.of(self.predictor.info)

    @property
    def family(self) -> str:
        """The family of models that it belongs to."""
        return self.predictor.info.model or "forest"


class Service:
    """One service; `use` replaces its model between two requests.

    `name` is the service's and its model's name. `statistics` is the output folder whose newest statistics answer
    /forecast; None where it holds none. `forecast_gate` lets naive forecasts answer there; `gate` asks who calls.
    """

    def __init__(
        self,
        predictor: Scorer | None,
        *,
        name: str,
        gate: Gate,
        metrics: Metrics,
        statistics: Path | None,
        forecast_gate: LiveGate | None = None,
    ) -> None:
        self.name, self.gate, self.metrics, self.statistics = name, gate, metrics, statistics
        self.forecast_gate = forecast_gate
        self._served = None if predictor is None else ServedModel(predictor)

    def use(self, predictor: Scorer) -> None:
        """Answer with this predictor from the next request on."""
        self._served = ServedModel(predictor)

    @property
    def is_ready(self) -> bool:
        """Whether a model is loaded."""
        return self._served is not None

    @property
    def served(self) -> ServedModel:
        """The model at this moment: to be asked once in a request. Raises ArtefactError where there is none."""
        if self._served is None:
            raise ArtefactError("No model is loaded. Look at the service's log, and try again later.")
        return self._served
