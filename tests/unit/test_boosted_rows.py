"""Boosted trees that one process grows are xgboost's own."""

from __future__ import annotations

import numpy as np
import pytest

import refits
from loadcast import schema
from loadcast.models.registry import family_named, fit_rows_of, fit_variants_of
from loadcast.spark.boosting import parameters


def test_they_answer_as_the_library_does_with_missing_values_told_apart() -> None:
    xgboost = pytest.importorskip("xgboost")
    random = np.random.default_rng(1)
    matrix = np.where(random.random((900, 5)) < 0.2, schema.MISSING, random.normal(size=(900, 5))).astype(np.float32)
    labels = 1 + (matrix[:, 0] > 0).astype(np.int32) + (matrix[:, 1] == schema.MISSING)
    settings = refits.make_settings(
        model="boosted", boosted={"numRounds": 30, "learningRate": 0.3, "minChildWeight": 1.0}
    )
    model = fit_rows_of(family_named("boosted"))(matrix, labels, settings)
    rows = xgboost.QuantileDMatrix(matrix, labels - 1, missing=schema.MISSING, max_bin=settings.boosted.max_bins)
    library = xgboost.train(parameters(settings.boosted, 1), rows, settings.boosted.num_rounds)
    wanted = library.predict(xgboost.DMatrix(matrix, missing=schema.MISSING))
    answers = model.predict(matrix.astype(np.float64))
    assert np.abs(answers.probabilities - wanted).max() < 1e-6
    assert (answers.labels == labels).mean() > 0.8


def test_several_settings_at_once_give_the_models_of_each_alone() -> None:
    pytest.importorskip("xgboost")
    random = np.random.default_rng(2)
    matrix = random.normal(size=(700, 6)).astype(np.float32)
    labels = 1 + (matrix[:, 0] > 0).astype(np.int32) + (matrix[:, 1] > 1)
    family = family_named("boosted")
    several = [
        refits.make_settings(model="boosted", boosted={"numRounds": rounds, "maxBins": bins, "minChildWeight": 2.0})
        for rounds, bins in ((3, 64), (9, 64), (5, 7), (3, 64))
    ]
    together = fit_variants_of(family)(matrix, labels, several)
    for settings, model in zip(several, together, strict=True):
        alone = fit_rows_of(family)(matrix, labels, settings)
        wide = matrix.astype(np.float64)
        assert np.array_equal(alone.predict(wide).probabilities, model.predict(wide).probabilities)
    assert not np.array_equal(together[0].probabilities(wide), together[1].probabilities(wide))
