"""The two functions of the public sample's scoring script: `init` once, then `run` for every batch."""

from __future__ import annotations

import os

from loadcast.errors import ArtefactError
from loadcast.serving.predictor import Answers, Predictor

_loaded: dict[str, Predictor] = {}


def init(path: str | os.PathLike[str] = "Model") -> None:
    """Load the bundle at `path`, which `run` then uses. Raises ArtefactError."""
    _loaded["predictor"] = Predictor.load(path)


def run(payload: str | bytes | list[dict[str, object]]) -> Answers:
    """Score a batch: JSON text, its bytes, or a list of records.

    Answers a dict ready for json.dumps, as Docs/API.md describes. Raises RequestError for a batch that breaks the
    contract, and ArtefactError before `init`.
    """
    if not _loaded:
        raise ArtefactError("No model is loaded yet. Call init(path) with the model folder first.")
    predictor = _loaded["predictor"]
    if isinstance(payload, bytes):
        return predictor.score(payload).answers()
    if isinstance(payload, str):
        return predictor.score_text(payload).answers()
    return predictor.score_table(predictor.contract.read_records(payload)).answers()
