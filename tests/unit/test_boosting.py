"""How xgboost is loaded."""

from __future__ import annotations

import os

import pytest

from loadcast.spark.boosting import load_xgboost

_WAITING = "OMP_WAIT_POLICY"


@pytest.mark.parametrize(("given", "wanted"), [(None, "passive"), ("active", "active")])
def test_its_threads_sleep_while_they_wait_unless_told_otherwise(
    given: str | None, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("xgboost")
    monkeypatch.delenv(_WAITING, raising=False)
    if given:
        monkeypatch.setenv(_WAITING, given)
    assert load_xgboost().__name__ == "xgboost"
    assert os.environ[_WAITING] == wanted
