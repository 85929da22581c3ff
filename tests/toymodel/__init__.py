"""A family of models as another package has it: the class whose centroid is nearest. This half needs no Spark."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loadcast import schema
from loadcast.models.model import Floats, Model, ModelFamily
from loadcast.models.saved import SavedModel

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


FAMILY = ModelFamily("toy", SAVED_CLASS, load, "toymodel.fitting:fit")
