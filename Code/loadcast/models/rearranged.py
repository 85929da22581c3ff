"""A model whose features stand in another order than the matrix's columns, or do not use all of these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loadcast.models.forest import Floats, with_features
from loadcast.models.forest_family import ForestModel
from loadcast.models.model import Model, Prediction
from loadcast.models.tree_shape import Ints

NO_COLUMN = -1


@dataclass(frozen=True, eq=False)
class Arrangement:
    """Where each of a model's k features comes from in a matrix of `width` columns.

    `columns` (k,): its column, or NO_COLUMN. A feature without a column is 0, unless `unseen` has it: (feature, start,
    stop) for one that is 1 where the columns from `start` to `stop` are all 0, as of a level that training never saw.
    """

    columns: Ints
    unseen: tuple[tuple[int, int, int], ...]
    width: int

    @property
    def is_identity(self) -> bool:
        """Whether the features are the columns, in order."""
        return np.array_equal(self.columns, np.arange(self.width))


@dataclass(frozen=True, eq=False)
class RearrangedModel(Model):
    """Answers as `model` does, once the matrix is brought into its order."""

    model: Model
    arrangement: Arrangement

    @property
    def n_features(self) -> int:
        return self.arrangement.width

    def probabilities(self, matrix: Floats) -> Floats:
        return self.predict(matrix).probabilities

    def predict(self, matrix: Floats) -> Prediction:
        """Labels and probabilities, both as `model` has them."""
        if matrix.ndim != 2 or matrix.shape[1] != self.n_features:
            raise ValueError(f"the matrix is {matrix.shape}, wanted (rows, {self.n_features})")
        columns = self.arrangement.columns
        arranged = np.where(columns == NO_COLUMN, 0.0, matrix[:, columns])
        for feature, start, stop in self.arrangement.unseen:
            arranged[:, feature] = ~matrix[:, start:stop].any(axis=1)
        return self.model.predict(arranged)


def rearranged(model: Model, arrangement: Arrangement) -> Model:
    """The model on matrices of the other order; a forest only renames the features of its nodes."""
    if arrangement.is_identity:
        return model
    if isinstance(model, ForestModel) and (arrangement.columns != NO_COLUMN).all():
        return ForestModel(with_features(model.forest, arrangement.columns, arrangement.width))
    return RearrangedModel(model, arrangement)
