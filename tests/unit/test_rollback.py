"""Going back to an earlier run of an output folder, and which runs are kept for that."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadcast import paths
from loadcast.errors import ArtefactError
from loadcast.storage.publish import list_runs, open_run, roll_back, stage_run


def published_run(output: Path, *artefacts: str) -> str:
    with stage_run(output) as staging:
        for name in artefacts:
            (staging / name).mkdir()
    return open_run(output).name


def test_a_rollback_leads_to_the_run_before_and_its_model(tmp_path: Path) -> None:
    first = published_run(tmp_path, paths.FOREST_MODEL)
    second = published_run(tmp_path)
    third = published_run(tmp_path, paths.FOREST_MODEL)
    assert [run.name for run in list_runs(tmp_path)] == [first, second, third]
    assert roll_back(tmp_path).name == second
    assert open_run(tmp_path).name == second
    assert open_run(tmp_path, paths.MODEL).name == first
    assert [run.withdrawn for run in list_runs(tmp_path)] == [False, False, True]


def test_a_run_that_was_rolled_back_is_not_gone_back_to_and_does_not_stay(tmp_path: Path) -> None:
    first, bad = published_run(tmp_path), published_run(tmp_path)
    roll_back(tmp_path)
    third = published_run(tmp_path)
    assert bad not in [run.name for run in list_runs(tmp_path)]
    assert roll_back(tmp_path).name == first
    with pytest.raises(ArtefactError, match=f"no run before the current one, {first}"):
        roll_back(tmp_path)
    assert third in [run.name for run in list_runs(tmp_path)]


def test_a_rollback_to_a_time_without_a_model_leaves_the_service_none(tmp_path: Path) -> None:
    published_run(tmp_path)
    published_run(tmp_path, paths.FOREST_MODEL)
    roll_back(tmp_path)
    with pytest.raises(ArtefactError, match="holds no published model"):
        open_run(tmp_path, paths.MODEL)


def test_the_last_two_models_stay_however_many_runs_follow(tmp_path: Path) -> None:
    models = [published_run(tmp_path, paths.FOREST_MODEL) for _ in range(3)]
    plain = [published_run(tmp_path) for _ in range(3)]
    assert [run.name for run in list_runs(tmp_path)] == [*models[-2:], *plain[-2:]]


@pytest.mark.parametrize("runs", [0, 1])
def test_there_is_nothing_to_go_back_to(runs: int, tmp_path: Path) -> None:
    for _ in range(runs):
        published_run(tmp_path)
    with pytest.raises(ArtefactError, match=r"holds no (published run|run before the current one)"):
        roll_back(tmp_path)
