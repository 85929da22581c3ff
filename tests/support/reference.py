"""The service's answers column by column, as plainly as can be: the slow reference of serving.columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from loadcast import schema
from loadcast.kernels.encode import Encoders, scaled_columns, string_index
from loadcast.serving.bundle import Bundle


def cold_start(table: pa.Table, encoders: Encoders) -> NDArray[np.bool_]:
    """Which rows are of a server that training never saw, or that has little history: (n,)."""
    if known := encoders.features.known_hours:
        return np.array([hours < 504 for hours in table.column(known).to_pylist()], dtype=bool)
    if schema.SERVER not in encoders.levels:
        return np.zeros(table.num_rows, dtype=bool)
    unseen: NDArray[np.bool_] = string_index(table, schema.SERVER, encoders) == len(encoders.levels[schema.SERVER])
    return unseen


def feature_matrix(table: pa.Table, encoders: Encoders) -> NDArray[np.float64]:
    """The model's input: (n, features), columns as `encoders.vector` orders them.

    `table` holds the columns of the feature set's `request_schema`. A one-hot column has one slot per training level,
    all 0 for an unseen one.
    """
    n = table.num_rows
    matrix = np.zeros((n, encoders.n_features))
    at = 0
    for column in encoders.only_indexed:
        matrix[:, at] = string_index(table, column, encoders)
        at += 1
    for column in encoders.for_encode:
        slots = len(encoders.levels[column])
        index = string_index(table, column, encoders)
        seen = np.flatnonzero(index < slots)
        matrix[seen, at + index[seen]] = 1.0
        at += slots
    for column in encoders.features.plain:
        matrix[:, at] = table.column(column).to_numpy()
        at += 1
    matrix[:, at:] = scaled_columns(table, encoders)
    return matrix


def answers(bundle: Bundle, table: pa.Table) -> dict[str, dict[str, Any]]:
    """One answer per row of the request contract's table, in order, keyed "0", "1", …."""
    predicted = bundle.model.predict(feature_matrix(table, bundle.encoders))
    hours = pc.strftime(table.column(schema.HOUR).cast(pa.timestamp("s")), format=schema.TIME_FORMAT).to_pylist()
    rows = zip(
        table.column(schema.SERVER).to_pylist(),
        hours,
        predicted.labels.tolist(),
        predicted.probabilities.tolist(),
        cold_start(table, bundle.encoders).tolist(),
        strict=True,
    )
    return {
        str(number): {
            schema.SERVER: server,
            schema.HOUR: hour,
            schema.PREDICTION: prediction,
            schema.LABEL: schema.CLASS_NAMES[prediction],
            "probability": dict(zip(schema.CLASS_NAMES.values(), share, strict=True)),
            "cold_start": unseen,
        }
        for number, (server, hour, prediction, share, unseen) in enumerate(rows)
    }
