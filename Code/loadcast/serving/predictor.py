"""A loaded bundle that answers: records in, classes and probabilities out."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from loadcast import schema
from loadcast.artefacts.info import Info
from loadcast.kernels.encode import cold_start, feature_matrix
from loadcast.logs.events import MODEL, log_event
from loadcast.serving.bundle import Bundle, load_bundle
from loadcast.serving.request_contract import RequestContract

Answers = dict[str, dict[str, Any]]


class Predictor:
    """Scores feature records with one bundle; safe to share between threads, for nothing in it changes."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        bundle.model.warm()
        self.contract = RequestContract(bundle.encoders.features)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Predictor:
        """Load the bundle at `path`. Raises ArtefactError."""
        begin_s = time.perf_counter()
        bundle = load_bundle(path)
        took_s, family = time.perf_counter() - begin_s, bundle.info.model or "forest"
        log_event(
            MODEL,
            logging.INFO,
            "model",
            "A model was loaded.",
            folder=str(bundle.folder),
            family=family,
            duration_s=took_s,
        )
        return cls(bundle)

    @property
    def info(self) -> Info:
        """The bundle's `info`."""
        return self._bundle.info

    def predict(self, table: pa.Table) -> Answers:
        """One answer per row, in order, keyed "0", "1", …; servers that training never saw included.

        `table` holds the columns of `contract.schema`.
        """
        encoders = self._bundle.encoders
        answers = self._bundle.model.predict(feature_matrix(table, encoders))
        hours = pc.strftime(table.column(schema.HOUR).cast(pa.timestamp("s")), format=schema.TIME_FORMAT).to_pylist()
        rows = zip(
            table.column(schema.SERVER).to_pylist(),
            hours,
            answers.labels.tolist(),
            answers.probabilities.tolist(),
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
