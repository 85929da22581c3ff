"""What is added up of a model's own answers on the train and the test rows, whatever else is counted of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loadcast.kernels.calibration import Calibration
from loadcast.kernels.decisions import DecisionRule, DecisionTally
from loadcast.kernels.scores import log_losses


class PartScores:
    """Of the train part, then of the test part: minus the logarithms of the true class's probability, added up;
    calibration; decisions."""

    def __init__(self, rule: DecisionRule) -> None:
        self._rule = rule
        self.losses = [0.0, 0.0]
        self.calibrations = [Calibration.none(), Calibration.none()]
        self.decisions = [DecisionTally.none(), DecisionTally.none()]

    def add(
        self,
        is_test: NDArray[np.bool_],
        truth: NDArray[np.int32],
        labels: NDArray[np.intp],
        probabilities: NDArray[np.float64],
    ) -> None:
        """Add n observed rows: true classes and answered ones (n,), probabilities (n, 3)."""
        losses = log_losses(probabilities, truth)
        for flag in (False, True):
            part = is_test == flag
            answers = truth[part], labels[part], probabilities[part]
            self.losses[flag] += float(losses[part].sum())
            self.calibrations[flag] = self.calibrations[flag].plus(Calibration.of(*answers))
            self.decisions[flag] = self.decisions[flag].plus(DecisionTally.of(self._rule, *answers))
