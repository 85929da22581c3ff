"""What targets keep and nothing needs is removed, and nothing else: not what runs use, nor what others put there."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from loadcast.cli.experiment import experiment
from loadcast.errors import ConfigError
from loadcast.experiments.agent import removing
from loadcast.experiments.agent.blobs import blob_path
from loadcast.experiments.agent.environments import environment_folder
from loadcast.experiments.agent.state import COMPLETED, FAILED, LOST, RUNNING, STARTING, lock, open_lock, run_folder
from loadcast.experiments.locations import project_id
from loadcast.experiments.locations import run_folder as run_folder_here
from submitted import OTHER, RUN, submit

OURS, THEIRS = "a" * 16, "b" * 16
DAY_S = 86_400
ASKED: dict[str, Any] = {"owner": OURS, "known": [], "keep": [], "environments": [], "days": 30, "dryRun": False}


def digest(letter: str) -> str:
    return letter * 64


def keep_run(base: str, name: str, owner: str = OURS, state: str = COMPLETED, days: float = 40, **request: Any) -> None:
    """A run that ended so many days ago, as the agent keeps it."""
    folder = run_folder(base, name)
    os.makedirs(os.path.join(folder, "work"))
    Path(folder, "state.json").write_text(json.dumps({"state": state, "end": time.time() - days * DAY_S}))
    Path(folder, "request.json").write_text(json.dumps({"project": owner, "entries": [], **request}))
    Path(folder, "work", "result").write_bytes(b"x" * 1000)


def keep_blob(base: str, name: str, days: float = 40) -> None:
    path = Path(blob_path(base, name))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 10)
    os.utime(path, (time.time() - days * DAY_S,) * 2)


def keep_environment(base: str, name: str, *owners: str, days: float = 40) -> None:
    folder = Path(environment_folder(base, name))
    folder.mkdir(parents=True)
    (folder / ".ready").write_text("{}")
    for owner in owners:
        removing.mark_needed(base, name, owner)
        os.utime(os.path.join(base, "needed", f"{name}.{owner}"), (time.time() - days * DAY_S,) * 2)


def pruned(base: Path, **asked: Any) -> list[tuple[str, str]]:
    return [(item["kind"], item["name"]) for item in removing.prune(str(base), {**ASKED, **asked})]


def names(base: Path, folder: str) -> list[str]:
    return sorted(name for name in os.listdir(base / folder) if not name.endswith(".lock"))


def test_only_own_runs_that_have_ended_long_ago_go(tmp_path: Path) -> None:
    base = str(tmp_path)
    for name, state in (("done", COMPLETED), ("failed", FAILED), ("lost", LOST), ("begins", STARTING)):
        keep_run(base, name, state=state)
    keep_run(base, "fresh", days=29)
    keep_run(base, "theirs", owner=THEIRS)
    keep_run(base, "before-there-were-owners", owner="")
    keep_run(base, "known", owner="")
    keep_run(base, "not-brought-back")
    asked: dict[str, Any] = {"known": ["known"], "keep": ["not-brought-back"]}
    gone = [("run", "done"), ("run", "failed"), ("run", "known")]
    kept = names(tmp_path, "runs")
    assert pruned(tmp_path, **asked, dryRun=True) == gone
    assert names(tmp_path, "runs") == kept
    assert pruned(tmp_path, **asked) == gone
    assert names(tmp_path, "runs") == sorted({*kept} - {name for _, name in gone})
    assert pruned(tmp_path, **asked) == []


def test_sizes_are_told(tmp_path: Path) -> None:
    keep_run(str(tmp_path), "done")
    ((size),) = [item["bytes"] for item in removing.prune(str(tmp_path), ASKED)]
    assert 1000 < size < 1500


def test_contents_go_that_no_run_has_and_nobody_asked_for(tmp_path: Path) -> None:
    base = str(tmp_path)
    keep_run(base, "theirs", owner=THEIRS, entries=[["a.py", digest("1"), False]])
    keep_run(base, "done", entries=[["a.py", digest("2"), False]])
    for letter in "123":
        keep_blob(base, digest(letter))
    keep_blob(base, digest("4"), days=1)
    assert ("files", "2 contents") in pruned(tmp_path)
    left = [file.name for file in (tmp_path / "blobs").rglob("*") if file.is_file()]
    assert sorted(left) == [digest("1"), digest("4")]


def test_environments_go_that_this_project_alone_asked_for_and_no_longer_needs(tmp_path: Path) -> None:
    base = str(tmp_path)
    for letter, owners in (("1", [OURS]), ("2", [OURS, THEIRS]), ("3", [THEIRS]), ("4", []), ("5", [OURS])):
        keep_environment(base, digest(letter), *owners)
    keep_environment(base, digest("6"), OURS, days=2)
    keep_environment(base, digest("7"), OURS)
    keep_run(base, "uses-7", owner=THEIRS, state=RUNNING, argv=[[{"at": f"environments/{digest('7')}/bin/python"}]])
    held = open_lock(run_folder(base, "uses-7"))
    try:
        assert lock(held)
        assert pruned(tmp_path, environments=[digest("5")]) == [("environment", digest("1"))]
    finally:
        os.close(held)
    assert names(tmp_path, "environments") == [digest(letter) for letter in "234567"]


def ran(project: Path, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(experiment, [*words, "--project", str(project)])
    return result.exit_code, result.output


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with two runs on this machine, of which the target has one."""
    (tmp_path / "aml_config").mkdir()
    (tmp_path / "aml_config" / "local.compute").write_text("type: local\n")
    submit(tmp_path)
    submit(tmp_path, id=OTHER)
    keep_run(str(tmp_path / ".loadcast" / "target"), RUN, owner="")
    return tmp_path


def test_a_run_is_removed_here_and_there(project: Path) -> None:
    assert ran(project, "remove", RUN, OTHER) == (0, f"Run {RUN} is removed.\nRun {OTHER} is removed.\n")
    assert names(project / ".loadcast", "runs") == names(project / ".loadcast" / "target", "runs") == []
    assert ran(project, "remove", RUN)[0] == ConfigError.exit_code


def test_a_run_that_goes_on_is_not_removed(project: Path) -> None:
    submit(project, state="running", end=None, exit_code=None)
    base = str(project / ".loadcast" / "target")
    Path(run_folder(base, RUN), "state.json").write_text(json.dumps({"state": RUNNING, "keeper": 1}))
    held = open_lock(run_folder(base, RUN))
    try:
        assert lock(held)
        code, said = ran(project, "remove", RUN)
        assert (code, said.count("\n")) == (ConfigError.exit_code, 1)
        assert f"End it first: loadcast experiment cancel {RUN}" in said
        assert "0.0 MB were removed." in ran(project, "prune", "--older-than", "0")[1]
    finally:
        os.close(held)
    assert run_folder_here(project, RUN).exists()
    assert os.path.exists(run_folder(base, RUN))


def test_a_pipeline_goes_with_its_steps(project: Path) -> None:
    submit(project, steps=("train",))
    submit(project, id=OTHER, parent=RUN, step="train")
    assert ran(project, "remove", "--here-only", RUN) == (0, f"Run {OTHER} is removed.\nRun {RUN} is removed.\n")


def test_what_another_target_of_the_same_machine_has_not_given_back_stays(project: Path) -> None:
    (project / "aml_config" / "master.compute").write_text("type: spark\nmaster: spark://host:7077\n")
    submit(project, target="master", state="running", end=None, exit_code=None)
    base = str(project / ".loadcast" / "target")
    Path(run_folder(base, RUN), "request.json").write_text(json.dumps({"project": project_id(project)}))
    assert RUN not in ran(project, "prune", "-t", "local")[1]
    assert names(project / ".loadcast" / "target", "runs") == [RUN]


def test_a_target_is_pruned(project: Path) -> None:
    assert RUN in ran(project, "prune", "--dry-run")[1]
    code, said = ran(project, "prune", "-t", "local")
    assert (code, "0.0 MB were removed." in said, RUN in said) == (0, True, True)
    assert names(project / ".loadcast" / "target", "runs") == []
    assert run_folder_here(project, RUN).exists()
