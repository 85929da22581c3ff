"""The random forest of Spark ML: the half of its family that fits.

On one machine, where the rows fit, our own kernels grow it: the same forest, bit for bit, several times sooner. Else
Spark does. Splits at random are ours alone, wherever Spark runs.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from pyspark.ml.classification import RandomForestClassifier
from pyspark.sql import DataFrame

from loadcast import paths, schema
from loadcast.errors import ConfigError
from loadcast.kernels.forest.bins import MOST_BINS
from loadcast.model_settings import ForestSettings
from loadcast.models.forest_growth import GROUP_MB, grown_nodes, load_kernels
from loadcast.models.forest_subset import feature_subset
from loadcast.settings import Settings
from loadcast.spark.fitting import FEATURES, Fitted, TrainingTable, number_of_features
from loadcast.spark.forest_saving import save_nodes
from loadcast.spark.rows_here import MOST_BYTES, BytesOfRow, read_rows
from loadcast.spark.session import SPARK_VERSION, is_local
from loadcast.spark.table_partitions import table_partitions
from loadcast.spark.task_slots import threads_here

#: Of Spark, whose forest and saved form ours is held against in tests. Series save differently, and may draw so. Splits
#: at random have none to be equal to, and are saved in this one's form, whichever series runs.
_SPARK_SERIES = "4.3."
_BYTES_OF_TREE = 5


def fit(training: DataFrame, settings: Settings) -> Callable[[str], None]:
    """Grow the forest on training rows; gives what saves it at an address.

    The grown forest stays in the JVM: wrapping it takes pyspark a thousand small questions about its parameters, half
    a second, and only to save it.
    """
    grown = _forest(settings.forest, number_of_features(training))._fit_java(training)
    return lambda address: grown.save(address)


def fit_here(table: TrainingTable, settings: Settings) -> Fitted | None:
    """As fit, in this process; None where Spark does: on a cluster, for too many rows or bins, for what it has errors
    for.

    Raises ConfigError for splits at random where this process can't.
    """
    fitted = _grown_here(table, settings.forest)
    if fitted is None and settings.forest.random_splits:
        raise ConfigError(
            "forest.randomSplits: found true, wanted it with training rows, one or more without nulls, that fit into "
            f"{MOST_BYTES >> 30} GB, a byte for each number. Leave it out, and Spark grows the forest."
        )
    return fitted


def _grown_here(table: TrainingTable, settings: ForestSettings) -> Fitted | None:
    is_as_sparks = SPARK_VERSION.startswith(_SPARK_SERIES) and is_local(table.spark.sparkContext.master)
    if not (settings.random_splits or is_as_sparks) or settings.max_bins > MOST_BINS:
        return None
    threads = threads_here(table.spark)
    with ThreadPoolExecutor(1) as pool:
        loaded = pool.submit(load_kernels)  # a second's work, of another kind than reading
        partitions = table_partitions(table.spark, table.address)
        rows = read_rows(table, partitions, _bytes_of_row(settings), threads) if partitions else None
        loaded.result()
    if rows is None:
        return None
    nodes = grown_nodes(rows, settings, threads)
    forest = _forest(settings, rows.n_features)
    save = partial(save_nodes, table.spark, forest, nodes, rows.n_features)
    return Fitted(lambda staging: save(staging.folder / paths.FOREST_MODEL), rows.n_features)


def _bytes_of_row(settings: ForestSettings) -> BytesOfRow:
    """What a row takes: a byte for each number, and some for each tree."""
    return lambda width: width + _BYTES_OF_TREE * settings.num_trees


def _forest(settings: ForestSettings, n_features: int) -> RandomForestClassifier:
    forest = RandomForestClassifier(
        featuresCol=FEATURES,
        labelCol=schema.LABEL,
        numTrees=settings.num_trees,
        maxDepth=settings.max_depth,
        seed=settings.seed,
        maxBins=settings.max_bins,
        featureSubsetStrategy=feature_subset(settings.feature_subset_strategy, n_features),
        cacheNodeIds=True,
        maxMemoryInMB=GROUP_MB,
    )
    if settings.min_instances_per_node > 1:  # else Spark's own default, which it saves as such
        forest.setMinInstancesPerNode(settings.min_instances_per_node)
    return forest
