"""A loaded bundle that answers: records in, classes and probabilities out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from loadcast import schema
from loadcast.kernels.encode import cold_start, feature_matrix
from loadcast.kernels.forest import classes, probabilities, votes
from loadcast.serving.bundle import Bundle, load_bundle
from loadcast.serving.contract import RequestContract

Answers = dict[str, dict[str, Any]]


class Predictor:
    """Scores feature records with one bundle; safe to share between threads, for nothing in it changes."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.contract = RequestContract(bundle.encoders.features)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Predictor:
        """Load the bundle at `path`. Raises ArtefactError."""
        return cls(load_bundle(path))

    @property
    def info(self) -> Mapping[str, Any]:
        """The bundle's `info`."""
        return self._bundle.info

    def predict(self, table: pa.Table) -> Answers:
        """One answer per row, in order, keyed "0", "1", …; servers that training never saw included.

        `table` holds the columns of `contract.schema`.
        """
        encoders = self._bundle.encoders
        raw = votes(self._bundle.forest, feature_matrix(table, encoders))
        shares = probabilities(raw)[:, list(schema.CLASS_NAMES)].tolist()
        hours = pc.strftime(table.column(schema.HOUR).cast(pa.timestamp("s")), format=schema.TIME_FORMAT).to_pylist()
        rows = zip(
            table.column(schema.SERVER).to_pylist(),
            hours,
            classes(raw).tolist(),
            shares,
            cold_start(table, encoders).tolist(),
            strict=True,
        )
        names = tuple(schema.CLASS_NAMES.values())
        return {
            str(number): {
                schema.SERVER: server,
                schema.HOUR: hour,
                schema.PREDICTION: prediction,
                schema.LABEL: schema.CLASS_NAMES[prediction],
                "probability": dict(zip(names, share, strict=True)),
                "cold_start": unseen,
            }
            for number, (server, hour, prediction, share, unseen) in enumerate(rows)
        }
