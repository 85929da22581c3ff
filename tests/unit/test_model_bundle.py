"""The bundle in Model/: small, and good enough to answer straight after a clone."""

from __future__ import annotations

from pathlib import Path

from bundles import random_features, records
from loadcast.serving import api

MODEL = Path(__file__).resolve().parents[2] / "Model"


def test_it_is_at_most_two_megabytes() -> None:
    assert sum(file.stat().st_size for file in MODEL.rglob("*") if file.is_file()) <= 2_000_000


def test_the_public_samples_two_functions_answer_from_it() -> None:
    api.init(str(MODEL))
    asked = records(random_features(48))
    answers = api.run(asked)
    assert list(answers) == [str(number) for number in range(48)]
    for record, answer in zip(asked, answers.values(), strict=True):
        assert answer["ServerIP"] == record["ServerIP"]
        assert answer["label"] in answer["probability"]
        assert abs(sum(answer["probability"].values()) - 1) < 1e-9
