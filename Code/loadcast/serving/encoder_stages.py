"""The encoders of a bundle as Spark 2.1 to 4 saved them: string indexers, one-hot encoders, the scaler.

Spark 2 has a stage for each column, a pipeline for many; Spark 3 one stage for all. What both compute is the same.

Source: StringIndexerModel, OneHotEncoder (of Spark 2), OneHotEncoderModel and StandardScalerModel of Spark ML.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadcast import paths
from loadcast.models.saved import SavedFiles, class_of, params_of

KEEP, SKIP, ERROR = "keep", "skip", "error"
_HOT_MODEL, _HOT_TRANSFORMER = "OneHotEncoderModel", "OneHotEncoder"
_DENSE = 1  # the type tag of a dense vector in Spark's Parquet form; 0 is sparse
_SHOWN_CHARACTERS = 100

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Indexer:
    """One column's index: `levels` in index order; `unseen` says what becomes of another level: KEEP, SKIP, ERROR.

    Kept, it has the index after the last level; skipped, its row has no answer.
    """

    column: str
    output: str
    levels: tuple[str, ...]
    unseen: str

    @property
    def n_categories(self) -> int:
        """Levels, and the unseen one where that is kept."""
        return len(self.levels) + (self.unseen == KEEP)


@dataclass(frozen=True)
class OneHot:
    """One column's slots: index i is slot i, and an index of no slot is all 0."""

    column: str
    output: str
    n_slots: int


def read_indexers(files: SavedFiles) -> dict[str, Indexer]:
    """The string indexers by their output columns. Raises ArtefactError."""
    indexers: dict[str, Indexer] = {}
    with files.reading(paths.STRING_INDEX_MODEL):
        for stage in files.stages(paths.STRING_INDEX_MODEL):
            for indexer in _indexers_of(files, stage):
                if indexer.output in indexers:
                    raise files.fault(stage, f"makes the column {indexer.output[:_SHOWN_CHARACTERS]} a second time")
                indexers[indexer.output] = indexer
    return indexers


def _indexers_of(files: SavedFiles, stage: str) -> Iterator[Indexer]:
    params = params_of(files.metadata(stage, "StringIndexerModel"))
    unseen = _choice(files, stage, params, (KEEP, SKIP, ERROR))
    row = files.row(f"{stage}/data")
    labels = row["labelsArray"] if "labelsArray" in row else [row["labels"]]
    for column, output, levels in zip(*_columns(files, stage, params), labels, strict=True):
        if not all(isinstance(level, str) for level in levels):
            raise files.fault(stage, f"has a level of {column[:_SHOWN_CHARACTERS]} that is no text")
        yield Indexer(column, output, tuple(levels), unseen)


def read_one_hots(files: SavedFiles, indexers: Mapping[str, Indexer]) -> dict[str, OneHot]:
    """The one-hot encoders of indexed columns, by their output columns. Raises ArtefactError."""
    one_hots: dict[str, OneHot] = {}
    with files.reading(paths.ONE_HOT_MODEL):
        for stage in files.stages(paths.ONE_HOT_MODEL):
            for one_hot in _one_hots_of(files, stage, indexers):
                if one_hot.output in one_hots:
                    raise files.fault(stage, f"makes the column {one_hot.output[:_SHOWN_CHARACTERS]} a second time")
                one_hots[one_hot.output] = one_hot
    return one_hots


def _one_hots_of(files: SavedFiles, stage: str, indexers: Mapping[str, Indexer]) -> Iterator[OneHot]:
    metadata = files.metadata(stage, _HOT_MODEL, _HOT_TRANSFORMER)
    params = params_of(metadata)
    columns, outputs = _columns(files, stage, params)
    unknown = [column for column in columns if column not in indexers]
    if unknown:
        raise files.fault(stage, f"encodes {unknown[0][:_SHOWN_CHARACTERS]}, which {paths.STRING_INDEX_MODEL} has not")
    wanted = [indexers[column].n_categories for column in columns]
    keeps = False
    if class_of(metadata).rpartition(".")[2] == _HOT_MODEL:
        keeps = _choice(files, stage, params, (KEEP, ERROR)) == KEEP
        sizes = files.row(f"{stage}/data")["categorySizes"]
        if sizes != wanted:
            raise files.fault(
                stage, f"has the sizes {str(sizes)[:_SHOWN_CHARACTERS]}, which do not fit {paths.STRING_INDEX_MODEL}"
            )
    drops = params.get("dropLast", True)
    if not isinstance(drops, bool):
        raise files.fault(stage, f"has {repr(drops)[:_SHOWN_CHARACTERS]} for dropLast, wanted true or false")
    for column, output, size in zip(columns, outputs, wanted, strict=True):
        yield OneHot(column, output, size + keeps - drops)


def read_scaler(files: SavedFiles, size: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each of `size` columns, as the scaler uses them: 0 and 1 where it does not.

    Raises ArtefactError.
    """
    folder = paths.SCALE_MODEL
    with files.reading(folder):
        params = params_of(files.metadata(folder, "StandardScalerModel"))
        with_mean, with_std = params.get("withMean", False), params.get("withStd", True)
        if not isinstance(with_mean, bool) or not isinstance(with_std, bool):
            raise files.fault(folder, "does not say, by true or false, withMean and withStd")
        row = files.row(f"{folder}/data")
        mean = _vector(files, row["mean"], size) if with_mean else np.zeros(size)
        std = _vector(files, row["std"], size) if with_std else np.ones(size)
    return mean, std


def _vector(files: SavedFiles, value: Mapping[str, Any], size: int) -> Floats:
    """A vector as Spark ML saves it, dense or sparse."""
    is_dense = value["type"] == _DENSE
    given = len(value["values"]) if is_dense else value["size"]
    if given != size:
        raise files.fault(paths.SCALE_MODEL, f"has a vector of size {given}, wanted {size}")
    if is_dense:
        return np.array(value["values"], dtype=np.float64)
    indices = np.array(value["indices"], dtype=np.intp)
    if len(indices) and not (indices[0] >= 0 and (np.diff(indices) > 0).all() and indices[-1] < size):
        raise files.fault(paths.SCALE_MODEL, f"has a vector with indices that are not 0 to {size - 1}, each once")
    dense = np.zeros(size)
    dense[indices] = np.array(value["values"], dtype=np.float64)
    return dense


def _columns(files: SavedFiles, stage: str, params: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Input and output columns: one of each in Spark 2, in Spark 3 one or many."""
    inputs: Any
    outputs: Any
    inputs, outputs = (
        params[f"{side}Cols"] if f"{side}Cols" in params else [params.get(f"{side}Col")] for side in ("input", "output")
    )
    if not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in (inputs, outputs)
    ) or len(inputs) != len(outputs):
        raise files.fault(stage, "does not name as many input columns as output columns")
    return inputs, outputs


def _choice(files: SavedFiles, stage: str, params: Mapping[str, Any], choices: tuple[str, ...]) -> str:
    """What a stage does with an invalid value; error is Spark's own default, which Spark 2.1 does not always save."""
    choice = params.get("handleInvalid", ERROR)
    if choice not in choices:
        shown = repr(choice)[:_SHOWN_CHARACTERS]
        raise files.fault(stage, f"has {shown} for handleInvalid, wanted {' or '.join(choices)}")
    return str(choice)
