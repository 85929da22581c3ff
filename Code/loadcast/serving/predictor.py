"""A loaded bundle that answers: records in, classes and probabilities out."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import numpy as np
import pyarrow as pa

from loadcast.artefacts.info import Info
from loadcast.errors import ArtefactError, RequestError
from loadcast.logs.events import MODEL, log_event
from loadcast.serving.answer_rule import AnswerRule
from loadcast.serving.bundle import Bundle, load_bundle
from loadcast.serving.bundle_contract import contract_of
from loadcast.serving.columns import Columns, MatrixBuilder, columns_of
from loadcast.serving.fast_request import FastReader
from loadcast.serving.request_contract import RequestContract
from loadcast.serving.scored import Scored

#: Of probabilities: a processor may add in another order where a family of models leaves that open.
_TOLERANCE = 1e-9
Answers = dict[str, dict[str, Any]]


class Predictor:
    """Scores feature records with one bundle; safe to share between threads, for nothing in it changes."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        bundle.model.warm()
        self.contract = contract_of(bundle)
        # The quick way knows loadcast's own contract only.
        is_own = type(self.contract) is RequestContract
        self._reader = FastReader(self.contract) if is_own else None
        self._builder = MatrixBuilder(bundle.encoders)
        self._answer_rule = AnswerRule.of(bundle.info)

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
        predictor = cls(bundle)
        predictor.check()
        return predictor

    def check(self) -> None:
        """Answer the records that the bundle keeps with their answers. Raises ArtefactError where these differ."""
        kept = self.info.self_check
        if kept is None:
            return
        try:
            scored = self.score_table(self.contract.read_records(kept.records))
            differs = np.abs(scored.probabilities - np.array(kept.probabilities, dtype=np.float64)).max(initial=0.0)
            is_same = scored.labels.tolist() == kept.predictions and differs <= _TOLERANCE
        except (RequestError, ValueError, TypeError) as error:
            raise ArtefactError(
                f"The records by which the model in {self._bundle.folder} is checked cannot be used. Train again."
            ) from error
        if not is_same:
            raise ArtefactError(
                f"The model in {self._bundle.folder} answers otherwise than it did in training. "
                "Serve it with the version of loadcast that `versions` in its info names, or train again."
            )

    @property
    def info(self) -> Info:
        """The bundle's `info`."""
        return self._bundle.info

    def score(self, body: bytes) -> Scored:
        """Answers to a request's body, in order. Raises RequestError that names every fault."""
        columns = self._reader.read(body) if self._reader else None
        return self.score_table(self.contract.read_request(body)) if columns is None else self.score_columns(columns)

    def score_text(self, body: str) -> Scored:
        """The same for text. Raises RequestError."""
        try:
            return self.score(body.encode("utf-8"))
        except UnicodeEncodeError:  # half a surrogate pair: the contract words what is wrong
            return self.score_table(self.contract.read_request(body))

    def score_table(self, table: pa.Table) -> Scored:
        """Answers to records that are read already; `table` holds the columns of `contract.schema`."""
        return self.score_columns(columns_of(table, self._bundle.encoders.features))

    def score_columns(self, columns: Columns) -> Scored:
        """The same for columns."""
        matrix, cold_start = self._builder.matrix(columns)
        answers = self._bundle.model.predict(matrix)
        further = self._answer_rule.fields(columns.servers, answers.probabilities)
        return Scored(columns.servers, columns.hours, answers.labels, answers.probabilities, cold_start, further)

    def predict(self, table: pa.Table) -> Answers:
        """One answer per row, in order, keyed "0", "1", …; servers that training never saw included.

        `table` holds the columns of `contract.schema`.
        """
        return self.score_table(table).answers()
