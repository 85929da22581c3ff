"""A family of models as another package has it: the class whose centroid is nearest. This half needs no Spark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadcast import schema
from loadcast.models.model import Floats, Model, ModelFamily
from loadcast.models.saved import SavedModel
from loadcast.settings import Settings

SAVED_CLASS = "toymodel.Centroids"


@dataclass(frozen=True, eq=False)
class Centroids(Model):
    """`means` (classes, features): where each class lies; a class that never occurred is infinitely far away."""

    means: Floats

    @property
    def n_features(self) -> int:
        return int(self.means.shape[1])

    def probabilities(self, matrix: Floats) -> Floats:
        weights = np.stack([1 / (1 + np.square(matrix - mean).sum(axis=1)) for mean in self.means], axis=1)
        return weights / weights.sum(axis=1, keepdims=True)


def load(saved: SavedModel) -> Centroids:
    """Read what `toymodel.fitting` has saved."""
    means = {row["label"]: row["mean"] for row in saved.table("data").to_pylist()}
    nowhere = [np.inf] * saved.n_features
    return Centroids(np.array([means.get(float(label), nowhere) for label in schema.CLASS_NAMES]))


def fit_rows(matrix: Floats, labels: NDArray[Any], settings: Settings) -> Centroids:
    """The same as `toymodel.fitting`, in one process."""
    nowhere = np.full(matrix.shape[1], np.inf)
    chosen = (matrix[labels == label] for label in schema.CLASS_NAMES)
    return Centroids(np.stack([rows.mean(axis=0, dtype=np.float64) if len(rows) else nowhere for rows in chosen]))


FAMILY = ModelFamily("toy", SAVED_CLASS, load, "toymodel.fitting:fit", fit_rows="toymodel:fit_rows")
