"""What a model is, and what a family of models is.

A family fits on Spark and saves a folder; the folder gives, without Spark, a `Model` that answers. ETL, evaluation,
bundle, service and reports know these two and nothing of a family's own. This module names no pyspark.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loadcast import schema
from loadcast.kernels.vectors import dense_blocks
from loadcast.models.saved import SavedModel
from loadcast.settings import Settings

Floats = NDArray[np.float64]
Labels = NDArray[np.intp]

#: Entries of `info` that training makes: which model, fitted with what (`forest` is loadcast's own), its answers, and
#: what decisions are made by.
INFO_ENTRIES = ("model", "modelSettings", "forest", "selfCheck", "costs", "minConfidence")

#: What makes the class of the largest probability out of its column.
_LABELS = np.array(list(schema.CLASS_NAMES), dtype=np.intp)


class Prediction(NamedTuple):
    """Answers for n rows: `labels` (n,) of schema.CLASS_NAMES, `probabilities` (n, classes) in their order."""

    labels: Labels
    probabilities: Floats


class Model(ABC):
    """A fitted model in memory. Nothing in it changes: threads share it, and Spark sends it to its workers."""

    @property
    @abstractmethod
    def n_features(self) -> int:
        """Width of the matrices that it takes."""

    @abstractmethod
    def probabilities(self, matrix: Floats) -> Floats:
        """The probability of each class of schema.CLASS_NAMES, in their order: (n, n_features) → (n, classes).

        A row's answer depends on that row alone. Raises ValueError when the matrix has another width.
        """

    def predict(self, matrix: Floats) -> Prediction:
        """Labels and probabilities. The label is the likeliest, the first of equals, unless the family says better."""
        probabilities = self.probabilities(matrix)
        return Prediction(_LABELS[probabilities.argmax(axis=1)], probabilities)

    def warm(self) -> None:
        """Do what only the first answer has to, such as loading compiled code: before a process forks workers."""
        self.predict(np.zeros((1, self.n_features)))


def answers_of(model: Model, rows: pa.Table, columns: Sequence[str]) -> Prediction:
    """What the model says of encoded rows; `columns` are its input, in order."""
    blocks = [model.predict(matrix) for matrix in dense_blocks(rows, columns)]
    labels, probabilities = zip(*blocks, strict=True) if blocks else ([np.zeros(0, np.intp)], [np.zeros((0, 3))])
    return Prediction(np.concatenate(labels), np.concatenate(probabilities))


def _plain_caption(settings: Settings) -> str:
    return "Fitting the model"


def _nothing(settings: Settings) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class ModelFamily:
    """A family of models; other packages add theirs as entry points of the group registry.ENTRY_POINTS.

    `name`: its value of `model` in the configuration. `saved_class`: what `class` in the saved folder's metadata
    (SavedModel.metadata) says. `load`: saved folder → model; it must refuse, with an ArtefactError, what it would
    answer wrongly from. `fitting`: `module:function` of the half that needs Spark, imported in training alone:
    (training rows, settings) → a function that saves the fitted model at an address. The rows are a DataFrame with the
    columns `features`, a vector, and `label`. `caption`: the title of the step. `record`: what `info` keeps of the
    settings, as entries named in INFO_ENTRIES. `importance`: saved folder → the share of each feature (n_features,) in
    what the model has learned, for reports; None where a family does not know. `fit_rows`: `module:function` of a half
    that fits in one process by one thread, for backtests: (matrix (n, n_features) of 32 bits, labels (n,) of
    schema.CLASS_NAMES, settings) → Model. `check_rows`: `module:function` that raises ConfigError for settings that
    fit_rows does not take, before anything is fitted. `fit_variants`: the same as fit_rows for several settings at
    once, (matrix, labels, settings of each) → models, where a family can share work among them; each model is the one
    that fit_rows gives. `fit_here`: `module:function` of a half that fits in the driver's
    process: (TrainingTable, settings) → Fitted, both of spark.fitting; None where Spark is to, as for many rows.
    """

    name: str
    saved_class: str
    load: Callable[[SavedModel], Model]
    fitting: str
    caption: Callable[[Settings], str] = _plain_caption
    record: Callable[[Settings], Mapping[str, Any]] = _nothing
    importance: Callable[[SavedModel], Floats | None] | None = None
    fit_rows: str | None = None
    check_rows: str | None = None
    fit_variants: str | None = None
    fit_here: str | None = None
