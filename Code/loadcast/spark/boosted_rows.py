"""Boosted trees grown in one process, by one thread: the half of their family for what runs side by side already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadcast import schema
from loadcast.model_settings import BoostedSettings
from loadcast.models.boosted import MISSING, build_boosted
from loadcast.models.boosted_family import BoostedModel, boosted_nodes
from loadcast.settings import Settings
from loadcast.spark.boosting import load_xgboost, parameters
from loadcast.spark.grown import read_grown


def fit_rows(matrix: NDArray[np.float32], labels: NDArray[Any], settings: Settings) -> BoostedModel:
    """The model of rows (n, features) and their labels (n,) of schema.CLASS_NAMES.

    Raises EnvironmentNotReadyError where xgboost is missing.
    """
    return fit_variants(matrix, labels, [settings])[0]


def fit_variants(matrix: NDArray[np.float32], labels: NDArray[Any], variants: Sequence[Settings]) -> list[BoostedModel]:
    """The same for each of some settings; rows are sorted into bins, a third of a fit, once for as many as can be."""
    xgboost = load_xgboost()
    classes, binned = labels - min(schema.CLASS_NAMES), dict[int, Any]()
    for bins in {settings.boosted.max_bins for settings in variants}:
        binned[bins] = xgboost.QuantileDMatrix(matrix, classes, missing=float(MISSING), max_bin=bins, nthread=1)
    return [_grown(binned[settings.boosted.max_bins], matrix.shape[1], settings.boosted) for settings in variants]


def _grown(rows: Any, width: int, own: BoostedSettings) -> BoostedModel:
    """The model of binned rows with so many features."""
    grown = load_xgboost().train(parameters(own, threads=1), rows, own.num_rounds)
    trees = read_grown(bytes(grown.save_raw("json")), own.model_dump(by_alias=True))
    base = np.array(trees.metadata["baseMargins"], dtype=np.float32)
    return BoostedModel(build_boosted(boosted_nodes(trees.nodes), base, width))
