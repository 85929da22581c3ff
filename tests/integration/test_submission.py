"""Scripts submitted to this machine: the real agent, and clients that end at any step."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from azurite import KEY
from loadcast import Experiment, ExperimentRun, ScriptRun
from loadcast.errors import ArtefactError, ConfigError, EnvironmentNotReadyError
from loadcast.experiments import remote_agent, submission
from loadcast.experiments.locations import run_folder
from loadcast.experiments.machines import ConnectionLost
from loadcast.experiments.records import list_records
from loadcast.experiments.submission import Submission, cancel, follow, hand_over, prepare, refresh, submit

SCRIPT = """
import json, os, sys
print(json.dumps([sys.argv[1:], os.environ.get("PLAIN"), os.environ.get("SECRET")]))
open("outputs/result.json", "w").write("{}")
sys.exit(int(sys.argv[1]))
"""
CONFIG = """
ArgumentVector: [$file]
Target: local
Framework: Python
PrepareEnvironment: false
EnvironmentVariables: {PLAIN: in the clear, SECRET: "env:MY_SECRET"}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "a project"
    (folder / "Code").mkdir(parents=True)
    (folder / "aml_config").mkdir()
    (folder / "Code" / "script.py").write_text(SCRIPT)
    (folder / "aml_config" / "local.compute").write_text("type: local\n")
    (folder / "aml_config" / "local.runconfig").write_text(CONFIG)
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    monkeypatch.setenv("MY_SECRET", "sesame")
    return folder


def run_of(*arguments: str, **more: Any) -> Submission:
    return Submission("local", "./Code/script.py", arguments, **more)


def followed(project: Path, record: Any) -> tuple[Any, str]:
    said: list[bytes] = []
    ended = follow(project, record, said.append)
    return ended, b"".join(said).decode()


def test_an_ended_run_is_looked_up_and_not_asked_for_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = project / "aml_config" / "local.runconfig"
    config.write_text(config.read_text() + "TrackedRun: false\n")
    record = submit(project, run_of("0"))
    (run_folder(project, record.id) / ".bringing-999999999-abc" / "outputs").mkdir(parents=True)  # of a killed client
    ended, said = followed(project, record)
    assert (ended.state, ended.tracked) == ("completed", False)
    assert not [path for path in run_folder(project, ended.id).iterdir() if path.name.startswith(".")]
    monkeypatch.setattr(remote_agent, "run_on", lambda *_: pytest.fail("the target was asked"))
    assert followed(project, ended) == (ended, said)
    assert cancel(project, ended) == ended
    assert refresh(project, [ended]) == [ended]


class Died(BaseException):
    """What ends a client."""


STEPS = ("_install", "send", "start", "states", "collect")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_client_that_ends_at_any_step_loses_no_run(
    project: Path, step: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying(self: Any, *arguments: Any, **options: Any) -> Any:
        if after:
            original(self, *arguments, **options)
        raise Died

    original: Callable[..., Any] = getattr(remote_agent.Agent, step)
    with monkeypatch.context() as patched:
        patched.setattr(remote_agent.Agent, step, dying)
        with pytest.raises(Died):
            follow(project, submit(project, run_of("0")), lambda _: None)
    (record,) = list_records(project).records
    ended, said = followed(project, record)
    assert ended.state == "completed"
    assert json.loads(said)[0] == ["0"]
    assert said.count("\n") == 1
    assert (run_folder(project, ended.id) / "outputs" / "result.json").exists()


def test_handing_over_twice_runs_once(project: Path) -> None:
    record = submit(project, run_of("0"))
    hand_over(project, record)
    ended, said = followed(project, hand_over(project, record))
    assert (ended.state, said.count("\n")) == ("completed", 1)


def test_a_network_that_comes_back_is_waited_for(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failures = remote_agent.run_on, [3]

    def unreliable(*arguments: Any) -> bytes:
        if failures[0]:
            failures[0] -= 1
            raise ConnectionLost("no route to host")
        return real(*arguments)

    monkeypatch.setattr(remote_agent, "run_on", unreliable)
    monkeypatch.setattr(remote_agent.time, "sleep", lambda _: None)
    assert submit(project, run_of("0")).state in ("running", "completed")
    monkeypatch.setattr(remote_agent, "PATIENCE_S", 0.0)
    failures[0] = 10**9
    times = iter(range(0, 10**6, 100))
    monkeypatch.setattr(remote_agent.time, "monotonic", lambda: float(next(times)))
    with pytest.raises(EnvironmentNotReadyError, match=r"cannot be reached: no route to host\. Runs there go on"):
        submit(project, run_of("0"))


def test_a_run_that_is_cancelled_while_its_environment_is_made_does_not_start(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = remote_agent.Agent.send

    def cancelled_meanwhile(*arguments: Any) -> int:
        (record,) = list_records(project).records
        assert cancel(project, record).state == "cancelled"
        return send(*arguments)

    monkeypatch.setattr(remote_agent.Agent, "send", cancelled_meanwhile)
    monkeypatch.setattr(remote_agent.Agent, "start", lambda *_: pytest.fail("it was started"))
    assert submit(project, run_of("0")).state == "cancelled"


def test_a_run_that_was_never_started_can_be_cancelled(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(submission, "hand_over", lambda *_: None)
        submit(project, run_of("0"))
    (record,) = list_records(project).records
    assert cancel(project, record).state == "cancelled"
    assert followed(project, list_records(project).records[0])[1] == ""


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Submission("local", "Code/none.py"), "Code/none.py is not among the project's files"),
        (Submission("local", "../outside.py"), "is not in the project"),
        (Submission("local", "/etc/passwd"), "is not in the project"),
        (Submission("local", "Code/script.py", (f"AccountKey={KEY}",)), "An argument looks like a key"),
        (Submission("none", "Code/script.py"), "none.runconfig"),
        (Submission("local", "Code/script.py", target="none"), "There is no compute target none"),
        (Submission("local", None), "Found no script"),
    ],
)
def test_what_cannot_be_submitted_is_told_before_anything_is_kept(
    project: Path, wrong: Submission, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        submit(project, wrong)
    assert KEY not in str(caught.value)
    assert list_records(project).records == ()


def test_a_secret_that_is_not_there_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_SECRET")
    with pytest.raises(ConfigError, match="SECRET env:MY_SECRET: the environment has no such variable"):
        submit(project, run_of("0"))


def test_a_damaged_request_is_told(project: Path) -> None:
    record = submit(project, run_of("0"))
    (run_folder(project, record.id) / "request.json").write_text("{")
    with pytest.raises(ArtefactError, match="Submit the script again"):
        hand_over(project, record)


def test_an_environment_is_made_once_whoever_hands_the_run_over(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    (project / "aml_config" / "conda_dependencies.yml").write_text(f"dependencies:\n- python={version}\n")
    config = project / "aml_config" / "local.runconfig"
    config.write_text(config.read_text().replace("PrepareEnvironment: false", "PrepareEnvironment: true"))
    (project / "Code" / "script.py").write_text("import sys; print(sys.prefix)")

    def dying(*_: Any) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(remote_agent.Agent, "prepare", dying)
        with pytest.raises(Died):
            submit(project, run_of("0"))
    (record,) = list_records(project).records
    ended, said = followed(project, record)
    assert ended.state == "completed"
    assert Path(said.strip()).parent == project / ".loadcast" / "target" / "environments"
    assert Path(said.strip()).name == ended.environment
    assert not prepare(project, "local", lambda _: None)


def test_an_environment_that_cannot_be_made_is_told_and_leaves_nothing(project: Path) -> None:
    (project / "aml_config" / "conda_dependencies.yml").write_text("dependencies:\n- python=3.99\n")
    with pytest.raises(EnvironmentNotReadyError, match="The environment was not made on this machine: "):
        prepare(project, "local", lambda _: None)
    made = project / ".loadcast" / "target" / "environments"
    assert [path for path in made.iterdir() if path.is_dir()] == []


def test_a_notebook_submits_waits_and_looks_back(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "Code" / "script.py").write_text(
        "import sys; from loadcast.run_logger import run_logger; run_logger().log('score', 0.5); print(sys.argv[1])"
    )
    experiment = Experiment("mine", project)
    run = experiment.submit(ScriptRun(project, "Code/script.py", ["a b"]))
    assert run.wait_for_completion(show_output=True) == "completed"
    assert capsys.readouterr().out == "a b\n"
    assert run.get_metrics() == {"score": 0.5}
    assert run.get_details()["arguments"] == ("a b",)
    assert [known.id for known in experiment.runs()] == [run.id]
    assert ExperimentRun.find(run.id[:18], project).get_status() == "completed"
    assert run.cancel() == "completed"
