"""The random forest grown without Spark, with Spark's result: for what fits into one machine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loadcast.errors import ConfigError, InputError
from loadcast.kernels.forest import fit
from loadcast.kernels.forest.bins import MOST_BINS
from loadcast.kernels.forest.grow import Growth
from loadcast.kernels.forest.saved_nodes import saved_nodes
from loadcast.model_settings import ForestSettings
from loadcast.models.forest import build_forest
from loadcast.models.forest_family import ForestModel, node_table
from loadcast.models.forest_subset import features_drawn
from loadcast.models.tree_shape import MalformedForestError
from loadcast.settings import Settings

#: Of the statistics that nodes split together have in Spark: what decides which of them are.
GROUP_MB = 512
_BLOCK_ROWS = 8_192


def load_kernels() -> None:
    """Load the compiled code, which otherwise the first fit does; compiles it where that is to do."""
    fit.load()


def grown_nodes(rows: fit.TrainingRows, settings: ForestSettings, threads: int) -> pa.Table:
    """The nodes of a forest grown on at least one row, as Spark ML saves them.

    Raises ConfigError for more bins than a byte can tell apart.
    """
    _check_bins(settings)
    drawn = features_drawn(settings.feature_subset_strategy, rows.n_features)
    how = Growth(
        settings.num_trees,
        settings.max_depth,
        settings.seed,
        drawn,
        GROUP_MB << 20,
        threads,
        settings.min_instances_per_node,
        settings.random_splits,
    )
    return saved_nodes(*fit.fit_forest(rows, settings.max_bins, how))


def check_rows(settings: Settings) -> None:
    """Raise ConfigError for settings that fit_rows does not take."""
    _check_bins(settings.forest)


def fit_rows(matrix: NDArray[np.float32], labels: NDArray[Any], settings: Settings) -> ForestModel:
    """The model of rows (n, features) and their labels (n,) of schema.CLASS_NAMES, by one thread.

    The trees draw rows and thresholds as Spark does of a table with one partition. Raises InputError for so few rows
    that a tree has drawn none.
    """

    def blocks(indices: NDArray[np.int64] | None) -> Iterable[NDArray[np.float64]]:
        if indices is not None:
            yield matrix[indices].astype(np.float64)
            return
        for first in range(0, len(matrix), _BLOCK_ROWS):
            yield matrix[first : first + _BLOCK_ROWS].astype(np.float64)

    rows = fit.TrainingRows([fit.Piece(len(matrix), blocks)], labels.astype(np.uint8), [len(matrix)], matrix.shape[1])
    nodes = grown_nodes(rows, settings.forest, threads=1)
    try:
        return ForestModel(build_forest(node_table(nodes), matrix.shape[1]))
    except MalformedForestError as error:  # a leaf without a row
        raise InputError(
            f"Found {len(matrix)} training rows, of which a tree of the forest has drawn none; wanted more. "
            "Move testSplitStart, ask for fewer folds, or run ETL on more data."
        ) from error


def _check_bins(settings: ForestSettings) -> None:
    if settings.max_bins > MOST_BINS:
        raise ConfigError(
            f"forest.maxBins: found {settings.max_bins}, wanted at most {MOST_BINS} for backtests, tuning and "
            "randomSplits, which Spark's own fit is not used for. Set a smaller one, or leave it out."
        )
