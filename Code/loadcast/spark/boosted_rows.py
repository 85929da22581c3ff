"""Boosted trees grown in one process, by one thread: the half of their family for what runs side by side already."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadcast import schema
from loadcast.extras import missing_named
from loadcast.models.boosted import MISSING, build_boosted
from loadcast.models.boosted_family import BoostedModel, boosted_nodes
from loadcast.settings import Settings
from loadcast.spark.boosted_task import parameters
from loadcast.spark.grown import read_grown


def fit_rows(matrix: NDArray[np.float32], labels: NDArray[Any], settings: Settings) -> BoostedModel:
    """The model of rows (n, features) and their labels (n,) of schema.CLASS_NAMES.

    Raises EnvironmentNotReadyError where xgboost is missing.
    """
    with missing_named():
        import xgboost  # here: only workers need it
    own = settings.boosted
    classes = labels - min(schema.CLASS_NAMES)
    rows = xgboost.QuantileDMatrix(matrix, classes, missing=float(MISSING), max_bin=own.max_bins, nthread=1)
    grown = xgboost.train(parameters(own, threads=1), rows, own.num_rounds)
    trees = read_grown(bytes(grown.save_raw("json")), own.model_dump(by_alias=True))
    base = np.array(trees.metadata["baseMargins"], dtype=np.float32)
    return BoostedModel(build_boosted(boosted_nodes(trees.nodes), base, matrix.shape[1]))
