"""Nodes of a forest saved as Spark ML saves a RandomForestClassificationModel.

Source: EnsembleModelReadWrite of Spark ML 4: `metadata`, `treesMetadata` with the metadata of each tree, `data`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.ml.classification import RandomForestClassifier
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from loadcast import schema
from loadcast.models.forest_family import SAVED_CLASS
from loadcast.spark.saved_folders import write_table, write_text
from loadcast.spark.session import SPARK_VERSION
from loadcast.spark.types import to_struct

_TREE_CLASS = "org.apache.spark.ml.classification.DecisionTreeClassificationModel"
_TREE = "dtc"
#: Parameters that a forest has, and a tree has not.
_OF_FORESTS = frozenset({"bootstrap", "featureSubsetStrategy", "numTrees", "subsamplingRate"})
_PARAMS = ("paramMap", "defaultParamMap")
_CLASSES = max(schema.CLASS_NAMES) + 1
#: As Spark names the columns of a table of tuples.
_TREES_SCHEMA = pa.schema(
    [
        pa.field("_1", pa.int32(), nullable=False),
        pa.field("_2", pa.string()),
        pa.field("_3", pa.float64(), nullable=False),
    ]
)


def save_nodes(
    spark: SparkSession, forest: RandomForestClassifier, nodes: pa.Table, n_features: int, folder: Path
) -> None:
    """Save the nodes of what `forest` would have grown on rows of so many features into a folder that is new.

    By this process: Spark would first load what it writes tables with, for seconds.
    """
    metadata = _metadata(spark, forest)
    n_trees = int(metadata["paramMap"]["numTrees"])
    about = metadata | {"class": SAVED_CLASS, "numFeatures": n_features, "numClasses": _CLASSES, "numTrees": n_trees}
    trees = [range(n_trees), [_json(_of_tree(metadata, number)) for number in range(n_trees)], [1.0] * n_trees]
    arrays = [pa.array(column, field.type) for column, field in zip(trees, _TREES_SCHEMA, strict=True)]
    write_text(folder / "metadata", _json(about))
    write_table(folder / "treesMetadata", pa.Table.from_arrays(arrays, schema=_TREES_SCHEMA), to_struct(_TREES_SCHEMA))
    write_table(folder / "data", nodes, _NODES)


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"))


def _metadata(spark: SparkSession, forest: RandomForestClassifier) -> dict[str, Any]:
    """What Spark saves of the classifier itself."""
    forest._transfer_params_to_java()
    jvm: Any = spark._jvm
    writer = jvm.org.apache.spark.ml.util.DefaultParamsWriter
    if SPARK_VERSION.startswith("3."):
        nothing = jvm.scala.Option.empty()
        text = writer.getMetadataToSave(forest._java_obj, spark.sparkContext._jsc.sc(), nothing, nothing)
    else:
        text = writer.getMetadataToSave(forest._java_obj, spark._jsparkSession)
    metadata: dict[str, Any] = json.loads(text)
    return metadata


def _of_tree(forest: dict[str, Any], number: int) -> dict[str, Any]:
    """The metadata of a tree."""
    params = {
        kind: {name: value for name, value in forest[kind].items() if name not in _OF_FORESTS} for kind in _PARAMS
    }
    return forest | {"class": _TREE_CLASS, "uid": f"{_TREE}_{forest['uid'].rpartition('_')[2]}_{number}"} | params


def _struct(*fields: tuple[str, T.DataType]) -> T.StructType:
    """Numbers are never null, says Spark, lists and structs might be."""
    nested = (T.ArrayType, T.StructType)
    return T.StructType([T.StructField(name, kind, isinstance(kind, nested)) for name, kind in fields])


_NUMBERS = T.ArrayType(T.DoubleType(), False)
_SPLIT = _struct(
    ("featureIndex", T.IntegerType()), ("leftCategoriesOrThreshold", _NUMBERS), ("numCategories", T.IntegerType())
)
_NODE = _struct(
    ("id", T.IntegerType()),
    ("prediction", T.DoubleType()),
    ("impurity", T.DoubleType()),
    ("impurityStats", _NUMBERS),
    ("rawCount", T.LongType()),
    ("gain", T.DoubleType()),
    ("leftChild", T.IntegerType()),
    ("rightChild", T.IntegerType()),
    ("split", _SPLIT),
)
#: saved_nodes.NODES_SCHEMA as Spark's.
_NODES = _struct(("treeID", T.IntegerType()), ("nodeData", _NODE))
