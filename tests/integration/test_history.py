"""The history in MLflow, on a real database: each run once, brought up to date, whole, without secrets, offline."""

from __future__ import annotations

import math
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from loadcast.errors import ConfigError, OutputError, ServiceError
from loadcast.experiments import history, history_files
from loadcast.experiments.locations import LOG, LOGGED, OUTPUTS, history_database, run_folder
from loadcast.experiments.records import RunRecord, write_record
from loadcast.run_logger import RunLogger
from submitted import OTHER, RUN, made_up_record, submit

SECRET = "abcTHESECRETdef"
SIGNED = f"https://account.blob.core.windows.net/logs?sig={SECRET}"


@pytest.fixture
def project(tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(history.TRACKING_VARIABLE, raising=False)
    folder = tmp_path / "a project; $(x) 'ä' #%20"
    history_database(folder).parent.mkdir(parents=True)
    shutil.copy(template, history_database(folder))
    return folder


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        pytest.fail("the history went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def client_of(project: Path) -> MlflowClient:
    return MlflowClient(history.tracking_uri(project))


def runs_of(project: Path, experiment: str = "forecast") -> list[Run]:
    client = client_of(project)
    number = client.get_experiment_by_name(experiment).experiment_id
    return list(client.search_runs([number], run_view_type=ViewType.ALL, order_by=["attributes.start_time"]))


def told(project: Path, **changes: Any) -> Run:
    """MLflow's run after a record with these changes was told."""
    record = submit(project, **changes)
    history.record_run(record, run_folder(project, record.id))
    (run,) = [run for run in runs_of(project) if run.data.tags["loadcast.run"] == record.id]
    return run


def files_of(project: Path, run: Run) -> dict[str, bytes]:
    folder = Path(client_of(project).download_artifacts(run.info.run_id, ""))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_is_told_whole(project: Path) -> None:
    folder = run_folder(project, RUN)
    submit(project)
    logger = RunLogger(folder / LOGGED)
    logger.log("test/model/accuracy", 0.75)
    logger.log("loss", [3, math.nan, 1])
    logger.log_text("published", "runs/x")
    run = told(
        project, arguments=("a b", "--x=1"), snapshot="0" * 64, environment="1" * 64, git_commit="abc", note="fine"
    )
    assert run.info.run_name == RUN
    assert run.info.status == "FINISHED"
    assert (run.info.end_time - run.info.start_time) == 120_000
    assert run.data.params == {
        "script": "Code/train.py",
        "target": "local",
        "arguments": "'a b' --x=1",
        "snapshot": "0" * 64,
        "environment": "1" * 64,
    }
    assert {name: value for name, value in run.data.metrics.items() if name != "loss"} == {"test/model/accuracy": 0.75}
    losses = client_of(project).get_metric_history(run.info.run_id, "loss")
    assert [metric.step for metric in losses] == [0, 1, 2]
    assert [losses[0].value, losses[2].value] == [3, 1]
    wanted = {"log.published": "runs/x", "loadcast.state": "completed", "loadcast.exit_code": "0"}
    wanted |= {"mlflow.source.git.commit": "abc", "version.python": "3.11.7", "mlflow.note.content": "fine"}
    assert wanted.items() <= run.data.tags.items()


def test_a_run_is_told_once_and_brought_up_to_date(project: Path) -> None:
    folder = run_folder(project, RUN)
    first = told(project, state="queued", end=None, exit_code=None)
    assert first.info.status == "SCHEDULED"
    for number in range(3):
        RunLogger(folder / LOGGED).log("loss", number)
        run = told(project, state="running", end=None, exit_code=None)
        assert (run.info.run_id, run.info.status) == (first.info.run_id, "RUNNING")
    (folder / OUTPUTS).mkdir()
    (folder / OUTPUTS / "late.json").write_text("{}")
    run = told(project, state="failed", exit_code=3)
    assert (run.info.run_id, run.info.status) == (first.info.run_id, "FAILED")
    history_of_loss = client_of(project).get_metric_history(run.info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history_of_loss] == [(0, 0), (1, 1), (2, 2)]
    assert set(files_of(project, run)) == {"outputs/late.json"}


def test_sync_tells_what_changed_and_nothing_else(project: Path) -> None:
    submit(project)
    record = submit(project, id=OTHER, parent=RUN, state="running")
    submit(project, id="20261130T041944-cccccc", tracked=False)
    assert [history.sync(project) for _ in range(3)] == [2, 0, 0]
    write_record(project, record.changed(state="lost"))
    assert [history.sync(project), history.sync(project)] == [1, 0]
    parent, child = sorted(runs_of(project), key=lambda run: str(run.info.run_name))
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id


def test_two_that_tell_of_a_run_at_once_make_one_of_it(project: Path) -> None:
    submit(project)
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(history.sync, [project] * 4)) == 1
    assert len(runs_of(project)) == 1


@pytest.mark.parametrize("call", ["log_batch", "log_artifacts", "set_terminated", "set_tag"])
def test_what_was_cut_off_is_told_again(project: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Cut(BaseException):
        pass

    def cut(*args: Any, **options: Any) -> None:
        raise Cut

    submit(project)
    RunLogger(run_folder(project, RUN) / LOGGED).log("loss", [1, 2])
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, call, cut)
        with pytest.raises(Cut):
            history.sync(project)
    assert history.sync(project) == 1
    (run,) = runs_of(project)
    assert (run.data.metrics, run.info.status) == ({"loss": 2}, "FINISHED")


def test_what_somebody_deleted_stays_deleted(project: Path) -> None:
    client = client_of(project)
    client.delete_run(told(project).info.run_id)
    submit(project, state="failed")
    assert history.sync(project) == 0
    (run,) = runs_of(project)
    assert (run.info.lifecycle_stage, run.info.status) == ("deleted", "FINISHED")


def test_a_deleted_experiment_comes_back_for_a_new_run(project: Path) -> None:
    client_of(project).delete_experiment(told(project).info.experiment_id)
    assert told(project, id=OTHER).info.lifecycle_stage == "active"


def test_many_numbers_and_texts_go_in_parts(project: Path) -> None:
    submit(project)
    logger = RunLogger(run_folder(project, RUN) / LOGGED)
    logger.log("loss", range(2_500))
    for number in range(150):
        logger.log_text(f"text {number:03} {'x' * 240}", str(number))
    run = told(project)
    assert run.data.metrics == {"loss": 2_499}
    assert sum(name.startswith("log.text") for name in run.data.tags) == 150


HOSTILE = "q\"'; $(x) \n\x1b[31m \udcff [bold]"


def test_hostile_texts_are_told_harmlessly(project: Path) -> None:
    record = submit(
        project, experiment=HOSTILE, script=HOSTILE, arguments=(HOSTILE,), note=HOSTILE, versions={HOSTILE: "1"}
    )
    history.record_run(record, run_folder(project, RUN))
    assert history.sync(project) == 0
    (experiment,) = [item for item in client_of(project).search_experiments() if item.name != "Default"]
    assert experiment.name.isprintable()


def write_secrets(record: RunRecord, folder: Path) -> None:
    """Marked secrets wherever a run could have them."""
    logger = RunLogger(folder / LOGGED)
    logger.log_text("data", SIGNED)
    for name in (LOG, "driver.log", str(record.git_diff), f"{OUTPUTS}/deep/a.json", f"{OUTPUTS}/a.svg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f'first\n"{SIGNED}"\nAccountKey={SECRET}; last')
    (folder / OUTPUTS / f"sig={SECRET}.json").write_text("{}")


def test_no_secret_reaches_the_history(project: Path) -> None:
    texts = dict.fromkeys(("script", "target", "note", "git_commit", "experiment"), SIGNED)
    record = submit(project, arguments=("--data", SIGNED), versions={"x": SIGNED}, git_diff="diff.patch", **texts)
    write_secrets(record, run_folder(project, RUN))
    history.record_run(record, run_folder(project, RUN))
    (experiment,) = [item for item in client_of(project).search_experiments() if item.name != "Default"]
    (run,) = runs_of(project, experiment.name)
    kept = files_of(project, run)
    assert set(kept) == {"logs/log.txt", "logs/driver.log", "diff.patch", "outputs/deep/a.json", "outputs/a.svg"}
    assert all(content.startswith(b"first") and content.endswith(b"last") for content in kept.values())
    state = [path for path in (project / ".loadcast").rglob("*") if path.is_file() and "runs" not in path.parts]
    assert len(state) > len(kept)
    for path in state:
        assert SECRET.encode() not in path.read_bytes(), path
        assert SECRET not in str(path)


def test_of_a_long_log_the_end_is_kept(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_files, "MOST_BYTES", 100)
    submit(project)
    folder = run_folder(project, RUN)
    (folder / LOG).write_text("".join(f"line {number} ünïcode\n" for number in range(1_000)))
    (folder / OUTPUTS).mkdir()
    (folder / OUTPUTS / "large.json").write_text("x" * 101)
    kept = files_of(project, told(project))
    lines = kept["logs/log.txt"].decode().splitlines()
    assert lines[0].endswith("are left out here")
    assert lines[1:] == [f"line {number} ünïcode" for number in range(1_000 - len(lines) + 1, 1_000)]
    assert set(kept) == {"logs/log.txt"}


def test_links_and_other_files_are_left_out(project: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.json").write_text("private")
    submit(project)
    outputs = run_folder(project, RUN) / OUTPUTS
    outputs.mkdir()
    (outputs / "link.json").symlink_to(tmp_path / "elsewhere.json")
    (outputs / "folder.json").mkdir()
    (outputs / "model.bin").touch()
    (outputs / "PICTURE.PNG").write_bytes(b"\x89PNG sig=")
    assert files_of(project, told(project)) == {"outputs/PICTURE.PNG": b"\x89PNG sig="}


def test_a_damaged_database_is_told_in_one_line(project: Path) -> None:
    submit(project)
    history_database(project).write_bytes(b"not a database" * 1000)
    with pytest.raises(ServiceError, match=r"^MLflow at sqlite:.* was not told of the runs: .* loadcast history sync$"):
        history.sync(project)


def test_a_server_that_does_not_answer_is_told_without_its_password(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"http://user:{SECRET}@127.0.0.1:9"

    def fail(*args: Any) -> None:
        raise MlflowException(f"{uri}/api does not answer\nat all")

    submit(project)
    monkeypatch.setenv(history.TRACKING_VARIABLE, uri)
    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", fail)
    with pytest.raises(ServiceError, match=r"^MLflow at http://…@127\.0\.0\.1:9 was not told") as caught:
        history.sync(project)
    assert SECRET not in str(caught.value)


def test_a_project_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / ".loadcast").touch()
    with pytest.raises(OutputError, match=r"Cannot write in .*Not a directory|File exists"):
        history.record_run(made_up_record(), run_folder(tmp_path, RUN))


def test_the_address_of_the_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(history.TRACKING_VARIABLE, raising=False)
    assert history.tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/.loadcast/mlflow.db"
    with pytest.raises(ConfigError, match="question mark"):
        history.tracking_uri(tmp_path / "what?")
    monkeypatch.setenv(history.TRACKING_VARIABLE, "http://127.0.0.1:5001")
    assert history.tracking_uri(tmp_path / "what?") == "http://127.0.0.1:5001"


def test_mlflow_keeps_to_itself() -> None:
    assert {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}.items() <= history.environment().items()
