"""Answers of the service in columns, and the JSON that they become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from loadcast import schema
from loadcast.serving.answer_rule import Fields

_NAMES = tuple(schema.CLASS_NAMES.values())


@dataclass(frozen=True, eq=False)
class Scored:
    """n answers, in the order of the records.

    `servers`, `hours` (yyyy-MM-dd HH:mm:ss): n texts. `labels`: (n,) of schema.CLASS_NAMES. `probabilities`:
    (n, classes) in their order. `cold_start`: (n,), whether training never saw the server. `further`: fields that not
    all bundles' answers have.
    """

    servers: Sequence[str]
    hours: Sequence[str]
    labels: NDArray[np.intp]
    probabilities: NDArray[np.float64]
    cold_start: NDArray[np.bool_]
    further: Fields = field(default_factory=dict)

    @property
    def n_records(self) -> int:
        """How many answers these are."""
        return len(self.servers)

    def answers(self) -> dict[str, dict[str, Any]]:
        """One answer per record, keyed "0", "1", …, as Docs/API.md describes."""
        rows = zip(
            self.servers,
            self.hours,
            self.labels.tolist(),
            self.probabilities.tolist(),
            self.cold_start.tolist(),
            strict=True,
        )
        low, medium, high = _NAMES
        answers = {
            str(number): {
                schema.SERVER: server,
                schema.HOUR: hour,
                schema.PREDICTION: label,
                schema.LABEL: schema.CLASS_NAMES[label],
                "probability": {low: share[0], medium: share[1], high: share[2]},
                "cold_start": unseen,
            }
            for number, (server, hour, label, share, unseen) in enumerate(rows)
        }
        for name, values in self.further.items():
            for answer, value in zip(answers.values(), values, strict=True):
                answer[name] = value
        return answers

    def to_json(self) -> bytes:
        """The answers as JSON."""
        return orjson.dumps(self.answers())
