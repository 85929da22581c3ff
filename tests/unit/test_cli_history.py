"""`loadcast history`: what it shows of runs, with and without MLflow's pages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from loadcast.cli.history import history
from loadcast.errors import ArtefactError, ConfigError, EnvironmentNotReadyError
from loadcast.experiments import history_pages
from loadcast.experiments.history import TRACKING_VARIABLE
from loadcast.experiments.locations import LOGGED, RECORD, run_folder
from loadcast.experiments.records import read_record, write_record
from loadcast.run_logger import RunLogger
from submitted import OTHER, RUN, START, submit

HOSTILE = "[red]x[/red] \x1b[31m;$(y)\n'"


def ran(project: Path, *words: str) -> Result:
    return CliRunner().invoke(history, [*words, "--project", str(project)])


def shown(project: Path, *words: str) -> str:
    result = ran(project, *words)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    assert result.stdout.replace("\n", "").isprintable()
    return result.stdout


def rows(text: str) -> list[list[str]]:
    """The cells of a table's lines."""
    return [line.split() for line in text.splitlines() if line.strip()]


def log(project: Path, run: str, **numbers: Any) -> None:
    for name, value in numbers.items():
        RunLogger(run_folder(project, run) / LOGGED).log(f"test/{name}", value)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two runs that differ in an argument, a version, metrics and two files."""
    submit(tmp_path, {"a.py": b"1\n", "b.py": b"1\n"}, snapshot="0" * 64, arguments=("CONFIG", "FALSE"))
    versions = {"loadcast": "0.1.0", "python": "3.12.0"}
    code = {"a.py": b"2\n", "b.py": b"1\n", "c.py": b""}
    later = {"start": START.replace(hour=3), "end": None, "state": "running", "exit_code": None}
    submit(tmp_path, code, id=OTHER, snapshot="1" * 64, versions=versions, arguments=("CONFIG", "FILTER_IP"), **later)
    log(tmp_path, RUN, accuracy=[0.5, 0.75], loss=1, rows=1000)
    log(tmp_path, OTHER, accuracy=0.875, rows=1000, extra=2)
    return tmp_path


def test_runs_are_listed_with_their_metrics(project: Path) -> None:
    lines = rows(shown(project, "list", "--metric", "test/accuracy", "--metric", "test/loss"))
    (first,) = [line for line in lines if line[0] == RUN]
    (second,) = [line for line in lines if line[0] == OTHER]
    assert first[1:5] == ["forecast", "local", "Code/train.py", "completed"]
    assert first[-3:] == ["120", "0.75", "1"]
    assert second[-2:] == ["0.875", "–"]
    assert lines.index(first) < lines.index(second)


def test_the_list_says_what_it_leaves_out(project: Path) -> None:
    text = shown(project, "list", "--last", "1")
    assert OTHER in text
    assert RUN not in text
    assert "The newest 1 of 2 runs; --last 2 lists all." in text
    assert "There are no runs yet" in shown(project, "list", "--experiment", "other")


def test_no_runs_are_no_error(tmp_path: Path) -> None:
    assert "There are no runs yet" in shown(tmp_path, "list")


def test_a_damaged_record_is_told_beside_the_others(project: Path) -> None:
    (run_folder(project, OTHER) / RECORD).write_text("{")
    result = ran(project, "list")
    assert result.exit_code == 0
    assert RUN in result.stdout
    assert result.stderr.startswith("loadcast: ")
    assert "it is not JSON" in result.stderr
    (run_folder(project, RUN) / RECORD).write_text("{")
    assert ran(project, "list").exit_code == ArtefactError.exit_code


def test_a_run_is_shown_whole(project: Path) -> None:
    RunLogger(run_folder(project, RUN) / LOGGED).log_text("published", "runs/x")
    text = shown(project, "show", "20261130T02")
    for wanted in (RUN, "completed, exit code 0", "argument 2", "FALSE", "0" * 12, "published", "runs/x"):
        assert wanted in text
    assert ["test/accuracy", "0.75", "2"] in rows(text)


def test_comparing_shows_what_differs_alone(project: Path) -> None:
    text = shown(project, "compare", RUN, OTHER)
    lines = rows(text)
    for wanted in (
        ["argument", "2", "FALSE", "FILTER_IP"],
        ["version", "of", "python", "3.11.7", "3.12.0"],
        ["accuracy", "0.75", "0.875", "+0.125", "+16.7%"],
        ["loss", "1", "–"],
        ["extra", "–", "2"],
        ["a.py", "changed", "+1", "-1"],
        ["c.py", "added", "+0", "-0"],
        ["+2"],
    ):
        assert wanted in lines
    assert [line[0] for line in lines if line[0] in ("Parameters", "Code", "Metrics")] == [
        "Parameters",
        "Code",
        "Metrics",
    ]
    for equal in ("CONFIG", "test/rows", "b.py", "experiment"):
        assert equal not in text
    assert ["rows", "1,000", "1,000", "+0", "+0.0%"] in rows(shown(project, "compare", RUN, OTHER, "--all"))


def test_of_many_metrics_those_are_compared_that_tell_most(project: Path) -> None:
    deep = "test/model/perClass/low/f1"
    for run, number in ((RUN, 0.5), (OTHER, 0.25)):
        RunLogger(run_folder(project, run) / LOGGED).log(deep, number)
        RunLogger(run_folder(project, run) / LOGGED).log("seconds/total", number)
    text = shown(project, "compare", RUN, OTHER)
    assert "1 more that differ, below test/model: --metric test/model shows those" in text
    assert rows(text)[-2][0] == "total"  # what differs between any two runs comes last
    wanted = ["f1", "0.5", "0.25", "-0.25", "-50.0%"]
    assert wanted not in rows(text)
    assert wanted in rows(shown(project, "compare", RUN, OTHER, "--all"))
    narrowed = rows(shown(project, "compare", RUN, OTHER, "--metric", "test/model"))
    assert wanted in narrowed
    assert "accuracy" not in [line[0] for line in narrowed]


def test_runs_that_do_not_differ(project: Path) -> None:
    write_record(project, read_record(project, RUN).changed(id=OTHER))
    (run_folder(project, OTHER) / LOGGED).write_bytes((run_folder(project, RUN) / LOGGED).read_bytes())
    said = [" ".join(line) for line in rows(shown(project, "compare", RUN, OTHER))]
    assert said[-3:] == ["Parameters: the same", "Code: the same", "Metrics: the same"]


def test_code_that_is_not_kept_hides_no_other_difference(project: Path) -> None:
    (run_folder(project, OTHER) / "snapshot.json").unlink()
    text = shown(project, "compare", RUN, OTHER)
    assert "FILTER_IP" in text
    assert "not known" in text


def test_three_runs_stand_beside_each_other(project: Path) -> None:
    third = "20261130T041944-bbbbbb"
    submit(project, {"a.py": b"1\n", "b.py": b"1\n"}, id=third, snapshot="0" * 64, arguments=("CONFIG", "FALSE"))
    text = shown(project, "compare", RUN, OTHER, third)
    assert ["argument", "2", "FALSE", "FILTER_IP", "FALSE"] in rows(text)
    assert "Code of 2 against 1" in text
    assert "Code of 3 against 1: the same" in text


def test_a_metric_of_all_runs(project: Path) -> None:
    lines = rows(shown(project, "metrics", "test/accuracy"))
    assert [line[-4:] for line in lines if line[0] == RUN] == [["2", "0.5", "0.75", "0.75"]]
    result = ran(project, "metrics", "test/acuracy")
    assert result.exit_code == ConfigError.exit_code
    assert "found 'test/acuracy', wanted a metric of a run, such as test/accuracy" in result.stderr


def test_code_is_listed_compared_and_put_back(project: Path) -> None:
    assert [line[-1] for line in rows(shown(project, "code", RUN))] == ["a.py", "b.py"]
    assert shown(project, "code", OTHER, "--diff", RUN).splitlines()[:5] == [
        "--- a/a.py",
        "+++ b/a.py",
        "@@ -1 +1 @@",
        "-1",
        "+2",
    ]
    assert "has the 2 files of" in shown(project, "restore", RUN, str(project / "back"))
    assert (project / "back" / "a.py").read_bytes() == b"1\n"


def test_what_runs_hold_drives_no_terminal_and_is_no_markup(project: Path) -> None:
    for run in (RUN, OTHER):
        submit(project, {HOSTILE: run.encode()}, id=run, experiment=HOSTILE, arguments=(HOSTILE, run), note=HOSTILE)
    for words in (
        ["list"],
        ["show", RUN],
        ["compare", RUN, OTHER, "--all"],
        ["code", RUN],
        ["code", RUN, "--diff", OTHER],
    ):
        assert r"\x1b" in shown(project, *words).replace("\n", "").replace(" ", "")
    assert "[red]x[/red]" in shown(project, "show", RUN)


@pytest.mark.parametrize(
    "words", [["show", "x"], ["compare", "2026", OTHER], ["code", "x"], ["restore", "x", "there"], ["metrics", "x"]]
)
def test_mistakes_are_told_in_one_line(project: Path, words: list[str]) -> None:
    result = ran(project, *words)
    assert result.exit_code == ConfigError.exit_code
    assert result.stderr.startswith("loadcast: ")
    assert result.stderr.count("\n") == 1


def test_one_run_is_not_compared(project: Path) -> None:
    assert "Wanted two runs or more" in ran(project, "compare", RUN).stderr


def test_looking_back_needs_no_mlflow(project: Path) -> None:
    program = "import sys; sys.modules['mlflow'] = None; from loadcast.cli.main import main; main()"
    argv = [sys.executable, "-c", program, "history", "compare", RUN, OTHER, "--project", str(project)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert RUN in done.stdout


def test_the_pages_are_for_this_machine_alone_and_no_address_is_an_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRACKING_VARIABLE, "postgresql://user:SECRET@host/db")
    with pytest.raises(EnvironmentNotReadyError, match="make history-ui"):
        history_pages.pages_plan(tmp_path, 5001)
    command = tmp_path / history_pages.FOLDER / "bin" / "mlflow"
    command.parent.mkdir(parents=True)
    command.touch(0o755)
    plan = history_pages.pages_plan(tmp_path, 5001)
    assert plan.argv == [str(command), "server", "--host", "127.0.0.1", "--port", "5001", "--workers", "1"]
    assert plan.address == "http://127.0.0.1:5001/#/experiments?workflowType=machine_learning"
    assert plan.environment["MLFLOW_BACKEND_STORE_URI"] == os.environ[TRACKING_VARIABLE]
    assert plan.environment["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_pages_that_are_not_installed_are_told(project: Path) -> None:
    result = ran(project, "ui")
    assert result.exit_code == EnvironmentNotReadyError.exit_code
    assert "have an environment of their own" in result.stderr
