"""Pipelines on this machine: their order, what is taken over, and how they go on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadcast.api.experiments import submit_script
from loadcast.experiments.pipelines import run_pipeline
from loadcast.experiments.records import RunRecord, list_records
from loadcast.experiments.submission import Submission, follow

STEP = """
import os, pathlib, sys, time
name, *more = sys.argv[1:]
print("begun", flush=True)
with open(os.environ["TRACE"], "a") as trace: trace.write(f"{name} begins\\n")
if "waits" in more:
    while open(os.environ["TRACE"]).read().count("begins") < 3: time.sleep(0.02)
time.sleep(600 if "sleeps" in more else 0)
got = [path.read_text() for path in sorted(pathlib.Path("inputs").rglob("*")) if path.is_file()] \\
    if os.path.isdir("inputs") else []
open("outputs/said", "w").write("+".join([*got, name]))
with open(os.environ["TRACE"], "a") as trace: trace.write(f"{name} ends\\n")
sys.exit("fails" in more and not os.path.exists("mended"))
"""
PIPELINE = """
name: monthly
steps:
  etl: {{script: step.py, arguments: [etl], outputs: [said]}}
  train: {{script: step.py, arguments: [train, {train}], inputs: {{logs: etl/said}}, outputs: [said]}}
  stats: {{script: step.py, arguments: [stats, {stats}], inputs: {{logs: etl/said}}, outputs: [said]}}
  report: {{script: step.py, arguments: [report], inputs: {{a: train/said, b: stats/said}}, allow_reuse: {reuse}}}
"""


class Project:
    """A project with a pipeline, and the trace that its steps leave."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.trace = folder / "project", folder / "trace"
        (self.folder / "aml_config").mkdir(parents=True)
        subprocess.run(["git", "init", "-q", str(self.folder)], check=True)
        (self.folder / "step.py").write_text(STEP)
        (self.folder / "aml_config" / "local.compute").write_text("type: local\n")
        variables = f"EnvironmentVariables: {{TRACE: '{self.trace}'}}"
        (self.folder / "aml_config" / "local.runconfig").write_text(
            f"Target: local\nFramework: Python\nPrepareEnvironment: false\n{variables}\n"
        )
        self.write()

    def write(self, train: str = "x", stats: str = "x", reuse: str = "true") -> None:
        (self.folder / "monthly.yml").write_text(PIPELINE.format(train=train, stats=stats, reuse=reuse))

    def start(self, *words: str) -> subprocess.Popen[str]:
        self.trace.write_text("")
        argv = [sys.executable, "-m", "loadcast", *words]
        return subprocess.Popen(
            argv, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def run(self, *words: str, code: int = 0) -> str:
        with self.start(*words) as process:
            said = process.communicate(timeout=180)[0]
        assert process.returncode == code, said
        return said

    def traced(self) -> list[str]:
        return self.trace.read_text().splitlines()

    def wait_for(self, line: str) -> None:
        until = time.monotonic() + 60
        while line not in self.traced():
            assert time.monotonic() < until
            time.sleep(0.05)

    def pipelines(self) -> list[RunRecord]:
        return [record for record in list_records(self.folder).records if record.steps]

    def said(self, step: str) -> str:
        record = [record for record in list_records(self.folder).records if record.step == step][-1]
        return (self.folder / ".loadcast" / "runs" / record.id / "outputs" / "said").read_text()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_steps_run_in_order_and_side_by_side_and_get_what_was_made_before(project: Project) -> None:
    project.write("waits", "waits")  # each of the two ends only when the other has begun
    said = project.run("pipeline", "submit", "monthly.yml")
    traced = project.traced()
    assert traced[:2] == ["etl begins", "etl ends"]
    assert traced[-2:] == ["report begins", "report ends"]
    assert project.said("report") == "etl+train+etl+stats+report"
    assert "[etl] begun\n" in said
    (record,) = project.pipelines()
    assert record.state == "completed"
    steps = [step for step in list_records(project.folder).records if step.parent == record.id]
    assert [step.state for step in steps] == ["completed"] * 4


def test_what_was_asked_the_same_is_taken_over(project: Project) -> None:
    project.run("pipeline", "submit", "monthly.yml")
    assert "taken over from run" in project.run("pipeline", "submit", "monthly.yml")
    assert project.traced() == []
    project.write(reuse="false")
    project.run("pipeline", "submit", "monthly.yml")
    assert project.traced() == ["report begins", "report ends"]
    (project.folder / "other.py").write_text("a file of the project has changed")
    project.run("pipeline", "submit", "monthly.yml")
    assert len(project.traced()) == 8


def test_a_step_that_fails_holds_up_those_after_it_and_can_be_resumed(project: Project) -> None:
    project.write(train="fails")
    said = project.run("pipeline", "submit", "monthly.yml", code=1)
    assert "stats ends" in project.traced()
    assert "report begins" not in project.traced()
    assert "Steps that did not complete: train, report." in said
    (project.folder / "mended").touch()
    (record,) = project.pipelines()
    project.run("pipeline", "resume", record.id)
    assert [line for line in project.traced() if line.endswith("begins")] == ["train begins", "report begins"]
    assert project.said("report") == "etl+train+etl+stats+report"
    assert [record.state for record in project.pipelines()] == ["completed"]


def test_a_killed_client_is_told_and_its_pipeline_goes_on(project: Project) -> None:
    project.write(train="sleeps")
    with project.start("pipeline", "submit", "monthly.yml") as client:
        project.wait_for("train begins")
        client.send_signal(signal.SIGKILL)
    said = project.run("experiment", "list")
    (record,) = project.pipelines()
    assert record.state == "lost"
    assert "running" in said  # the step goes on
    assert "cancelled" in project.run("experiment", "cancel", record.id)
    assert "running" not in project.run("experiment", "list")


def test_ctrl_c_ends_the_command_at_once(project: Project) -> None:
    project.write(train="sleeps")
    with project.start("pipeline", "submit", "monthly.yml") as client:
        project.wait_for("train begins")
        client.send_signal(signal.SIGINT)
        said = client.communicate(timeout=30)[0]
    assert client.returncode == 130, said
    assert "Steps that run go on" in said
    project.run("experiment", "cancel", project.pipelines()[0].id)


def test_an_output_that_is_missing_is_named(project: Project) -> None:
    project.write()
    text = (project.folder / "monthly.yml").read_text()
    (project.folder / "monthly.yml").write_text(text.replace("outputs: [said]", "outputs: [said, more]", 1))
    said = project.run("pipeline", "submit", "monthly.yml", code=1)
    assert "[etl] failed: wanted outputs/more, which run" in said
    assert project.traced() == ["etl begins", "etl ends"]


def test_a_step_that_has_ended_when_it_is_looked_at_is_no_other_run_s(project: Project) -> None:
    said: list[tuple[str, str]] = []

    class Heard:
        def event(self, step: str, text: str) -> None:
            said.append((step, text))

        def log(self, step: str, block: bytes) -> None:
            said.append((step, block.decode()))

    def submit(folder: Path, wanted: Submission) -> RunRecord:
        return follow(folder, submit_script(folder, wanted), lambda _: None)

    project.trace.write_text("")
    record = run_pipeline(project.folder, project.folder / "monthly.yml", submit, Heard())
    assert record.state == "completed"
    assert ("etl", "begun\n") in said
    assert not [text for _, text in said if "taken over" in text]
