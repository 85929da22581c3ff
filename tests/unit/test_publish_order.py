"""Runs are ordered by their publishing: clocks name them, and decide nothing. What is damaged is told, and mended."""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from loadcast import paths
from loadcast.cli.main import main
from loadcast.errors import OutputError
from loadcast.storage import runs
from loadcast.storage.publish import FolderStore, list_runs, open_run, roll_back, stage_run


def set_clock(monkeypatch: pytest.MonkeyPatch, ahead: timedelta) -> None:
    """Let runs be named by a clock that is wrong by so much."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + ahead

    monkeypatch.setattr(runs, "datetime", Clock)


def publish(output: Path, text: str, model: bool = False) -> str:
    with stage_run(output) as staging:
        (staging / paths.QUALITY).write_text(text)
        if model:
            (staging / paths.FOREST_MODEL).mkdir()
            (staging / paths.FOREST_MODEL / "data").write_text(text)
    return open_run(output).name


def text_of(output: Path, link: str = paths.CURRENT) -> str:
    return (open_run(output, link) / paths.QUALITY).read_text()


def command(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, [*words])
    return done.exit_code, done.output


def test_a_model_named_by_a_fast_clock_outlives_the_runs_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock(monkeypatch, timedelta(hours=1))
    publish(tmp_path, "model", model=True)
    monkeypatch.undo()
    for number in range(4):
        publish(tmp_path, str(number))
        assert text_of(tmp_path, paths.MODEL) == "model"
        assert text_of(tmp_path) == str(number)


def test_a_clock_that_goes_back_changes_neither_order_nor_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []
    for number in range(5):
        set_clock(monkeypatch, -timedelta(hours=number))
        names.append(publish(tmp_path, str(number)))
        assert [run.name for run in list_runs(tmp_path)] == names[-2:]
    assert sorted(names, reverse=True) == names
    assert roll_back(tmp_path).name == names[-2]
    assert text_of(tmp_path) == "3"


def forget_records(output: Path) -> None:
    """Let the runs be those of a version that wrote no records."""
    for record in output.glob(f"{paths.RUNS}/*/{paths.COMPLETE}"):
        record.unlink()


def test_runs_of_the_version_before_go_on_being_kept_and_gone_back_to(tmp_path: Path) -> None:
    names = [publish(tmp_path, "first", model=True), publish(tmp_path, "second")]
    forget_records(tmp_path)
    names.append(publish(tmp_path, "third"))
    assert [run.name for run in list_runs(tmp_path)] == names
    assert roll_back(tmp_path).name == names[1]
    forget_records(tmp_path)
    assert roll_back(tmp_path).name == names[0]
    publish(tmp_path, "fourth")
    assert [text_of(tmp_path), text_of(tmp_path, paths.MODEL)] == ["fourth", "first"]


def test_runs_of_the_version_before_with_a_wrong_clock_are_not_lost_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock(monkeypatch, timedelta(hours=2))
    model = publish(tmp_path, "model", model=True)
    set_clock(monkeypatch, timedelta(hours=1))
    fast = publish(tmp_path, "fast")
    monkeypatch.undo()
    right = publish(tmp_path, "right")
    forget_records(tmp_path)
    with pytest.raises(ValueError, match="it ends here"), stage_run(tmp_path):
        raise ValueError("it ends here")
    assert {run.name for run in list_runs(tmp_path)} >= {model, right}
    new = publish(tmp_path, "new")
    assert text_of(tmp_path, paths.MODEL) == "model"
    assert {run.name for run in list_runs(tmp_path)} - {fast} == {model, right, new}
    assert roll_back(tmp_path).name == right


def test_a_damaged_record_costs_no_run(tmp_path: Path) -> None:
    names = [publish(tmp_path, text, model=text == "first") for text in ("first", "second")]
    for garbage in (b"", b"{", b"[]", b'{"sequence": 1, "published": [{"run": "../..", "model": true}], "files": {}}'):
        (open_run(tmp_path) / paths.COMPLETE).write_bytes(garbage)
        names.append(publish(tmp_path, "next"))
        assert {run.name for run in list_runs(tmp_path)} >= {names[0], *names[-2:]}
        assert text_of(tmp_path, paths.MODEL) == "first"


def test_no_run_is_removed_where_the_pointer_is_gone(tmp_path: Path) -> None:
    first, second = publish(tmp_path, "first"), publish(tmp_path, "second", model=True)
    (tmp_path / paths.CURRENT).unlink()
    with pytest.raises(ValueError, match="it ends here"), stage_run(tmp_path):
        raise ValueError("it ends here")
    assert {first, second} <= {run.name for run in list_runs(tmp_path)}
    third = publish(tmp_path, "third")
    assert [run.name for run in list_runs(tmp_path)] == [second, third]
    assert text_of(tmp_path, paths.MODEL) == "second"


def test_a_lock_that_was_removed_and_taken_by_another_ends_the_run(tmp_path: Path) -> None:
    publish(tmp_path, "old", model=True)

    def lose() -> None:
        with stage_run(tmp_path) as staging:
            (staging / paths.QUALITY).write_text("loser")
            (tmp_path / ".lock").unlink()
            publish(tmp_path, "winner")

    with pytest.raises(OutputError, match="Lost the lock"):
        lose()
    assert text_of(tmp_path) == "winner"
    assert [(tmp_path / paths.RUNS / run.name / paths.QUALITY).read_text() for run in list_runs(tmp_path)] == [
        "old",
        "winner",
    ]


def test_a_first_run_that_loses_its_lock_just_before_it_is_current_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = FolderStore.replace

    def too_late(store: FolderStore, *arguments: Any) -> None:
        (tmp_path / ".lock").unlink()
        replace(store, *arguments)

    monkeypatch.setattr(FolderStore, "replace", too_late)
    with pytest.raises(OutputError, match="Lost the lock"):
        publish(tmp_path, "loser")
    assert list((tmp_path / paths.RUNS).iterdir()) == []


def test_a_pointer_to_nowhere_is_told_and_repaired(tmp_path: Path) -> None:
    publish(tmp_path, "first", model=True)
    second = publish(tmp_path, "second")
    publish(tmp_path, "third", model=True)
    shutil.rmtree(open_run(tmp_path))
    code, said = command("runs", "list", str(tmp_path))
    assert code == 7
    assert second in said
    assert "loadcast runs repair" in said
    code, said = command("runs", "repair", str(tmp_path))
    assert code == 0, said
    assert second in said
    assert (text_of(tmp_path), text_of(tmp_path, paths.MODEL)) == ("second", "first")
    assert command("runs", "list", str(tmp_path))[0] == 0
    publish(tmp_path, "fourth")
    assert roll_back(tmp_path).name == second


def test_garbage_for_a_pointer_is_told_and_repaired(tmp_path: Path) -> None:
    first = publish(tmp_path, "first")
    (tmp_path / paths.CURRENT).unlink()
    os.symlink("runs/../../etc", tmp_path / paths.CURRENT)
    with pytest.raises(Exception, match="loadcast runs repair"):
        open_run(tmp_path)
    assert command("runs", "repair", str(tmp_path))[0] == 0
    assert open_run(tmp_path).name == first


def test_a_list_of_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    for output in (tmp_path, tmp_path / "none"):
        code, said = command("runs", "list", str(output))
        assert code == 7
        assert "holds no published run" in said
