"""What answers say beside class and probabilities: decisions where a bundle has a rule for them, and learned bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadcast import schema
from loadcast.artefacts.info import Info
from loadcast.kernels.decisions import DecisionRule
from loadcast.kernels.labels import ABSOLUTE, Bounds, LabelRule

#: Further fields of answers, by name: a value for each record.
Fields = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class AnswerRule:
    """What a bundle's answers say further. `bounds` of classes are named where they were learned, not configured."""

    decisions: DecisionRule
    bounds: LabelRule

    @classmethod
    def of(cls, info: Info) -> AnswerRule:
        """The rule of a bundle."""
        return cls(info.decision_rule, info.label_rule)

    @property
    def has_costs(self) -> bool:
        """Whether answers have a decision, with its expected cost."""
        return self.decisions.costs is not None

    @property
    def has_confidence(self) -> bool:
        """Whether answers say if they are as sure as was wanted."""
        return self.decisions.min_confidence is not None

    @property
    def has_bounds(self) -> bool:
        """Whether answers name the bounds of classes."""
        return self.bounds.name != ABSOLUTE

    def fields(self, servers: Sequence[str], probabilities: NDArray[np.float64]) -> Fields:
        """The further fields of n answers: their servers, and probabilities (n, 3)."""
        found: dict[str, Sequence[Any]] = {}
        if not self.decisions.is_empty:
            made = self.decisions.decide(probabilities)
            if made.labels is not None and made.expected_costs is not None:
                found[schema.DECISION] = made.labels.tolist()
                found[schema.EXPECTED_COST] = made.expected_costs.tolist()
            if made.confident is not None:
                found[schema.CONFIDENT] = made.confident.tolist()
        if self.has_bounds:
            of_server = {server: as_json(self.bounds.bounds(server)) for server in dict.fromkeys(servers)}
            found[schema.BOUNDS] = [of_server[server] for server in servers]
        return found


def as_json(bounds: Bounds) -> dict[str, Any]:
    """Bounds as answers have them: low, high and source."""
    return asdict(bounds)
