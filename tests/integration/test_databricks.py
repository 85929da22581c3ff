"""Scripts submitted to Databricks: the real SDK, and a workspace of the tests' own that runs what it is given."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from databricks_workspace import CLUSTER, NODE, RUNTIME, TOKEN, USER, FakeWorkspace, running_workspace
from loadcast.cli.main import main
from loadcast.experiments.records import RunRecord, find_record, list_records
from loadcast.experiments.services import databricks_client, folder_runner
from loadcast.experiments.services.databricks_client import DatabricksJobs
from loadcast.experiments.services.folder_runner import FolderRunner
from loadcast.experiments.submission import Submission, cancel, follow, refresh, submit

pytestmark = pytest.mark.integration

VOLUME = "/Volumes/main/loadcast/files"
SECRET = "sesame 'open'\nü $(id)"
HOSTILE = ("two words", "a;b", "$(id)", "'\"", "line\nbreak", "ü", "-x", "{{job.run_id}}")
SHOW = """
import json, os, subprocess, sys
from helper import NAME
from loadcast_log import log
print(json.dumps([NAME, sys.argv[1:], os.environ["PLAIN"], len(os.environ.get("MY_KEY", ""))]))
print("to standard error", file=sys.stderr)
subprocess.run(["echo", "of a child"])
log("score", 0.5)
with open("outputs/a b.txt", "w") as file:
    file.write(os.environ["LOADCAST_RUN_ID"])
sys.exit(3)
"""
SLOW = """
import time
print("begun", flush=True)
open("outputs/begun", "w").close()
for number in range(60):
    print(number, flush=True)
    time.sleep(0.05)
"""
#: What loadcast.run_logger does, of which the job's Python need not know here.
LOG = """
import json, os, time
def log(name, value):
    with open(os.environ["LOADCAST_RUN_LOG"], "a") as file:
        file.write(json.dumps({"time": time.time(), "kind": "metric", "name": name, "value": [value]}) + "\\n")
"""
FILES = {"show.py": SHOW, "slow.py": SLOW, "helper.py": "NAME = 'helped'", "loadcast_log.py": LOG, "ok.py": "print(1)"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeWorkspace]:
    with running_workspace(tmp_path_factory.mktemp("databricks")) as running:
        yield running


@pytest.fixture(autouse=True)
def project(tmp_path: Path, workspace: FakeWorkspace, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a target `brick`, which is the working folder."""
    folder = tmp_path / "a project"
    (folder / "Code").mkdir(parents=True)
    (folder / "aml_config").mkdir()
    for name, content in FILES.items():
        (folder / "Code" / name).write_text(content)
    (folder / "Code" / "unique.py").write_text(f"# {tmp_path}")
    (folder / "aml_config" / "brick.compute").write_text(
        f"type: databricks\naddress: {workspace.url}\ntoken: env:MY_TOKEN\nfolder: {VOLUME}/loadcast\n"
        f"sparkVersion: {RUNTIME}\nnodeType: {NODE}\nworkers: 0\n"
    )
    (folder / "aml_config" / "brick.runconfig").write_text(
        "Target: brick\nPrepareEnvironment: false\nEnvironmentVariables: {PLAIN: in the clear}\n"
    )
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    monkeypatch.setattr(folder_runner, "POLL_S", (0.05, 0.2))
    return folder


def loadcast(*words: str, code: int = 0) -> str:
    """What a command writes."""
    result = CliRunner(env={"COLUMNS": "200"}).invoke(main, words)
    assert result.exit_code == code, result.output
    return result.output


def followed(project: Path, record: RunRecord) -> tuple[RunRecord, str]:
    said: list[bytes] = []
    ended = follow(project, record, said.append)
    return ended, b"".join(said).decode()


def wait_until(holds: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def with_secret(project: Path) -> None:
    config = project / "aml_config" / "brick.runconfig"
    config.write_text(config.read_text().replace("clear}", 'clear, MY_KEY: "file:secret.txt"}'))
    (project / "secret.txt").write_text(SECRET)
    (project / ".amlignore").write_text("secret.txt\n")


def test_a_target_is_attached_once_it_answers_and_says_what_it_has(
    project: Path, workspace: FakeWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--address", workspace.url, "--token", "env:MY_TOKEN", "--folder", VOLUME, "--spark-version", RUNTIME)
    said = loadcast("computetarget", "attach", "databricks", "--name", "new", *words, "--node-type", NODE)
    assert USER in said
    assert f"{NODE}: 4 cores, 16 GB" in said
    assert "16.4 LTS" in loadcast("computetarget", "test", "new")
    unknown = loadcast("computetarget", "attach", "databricks", "--name", "x", *words, "--node-type", "huge", code=2)
    assert f"nodeType: found huge, wanted one that Databricks at {workspace.url[7:]} has, such as {NODE}" in unknown
    shared = ("databricks", *words[:4], "--cluster-id", CLUSTER, "--folder")
    assert "shared, running" in loadcast("computetarget", "attach", *shared, f"{VOLUME}/x", "--name", "shared")
    missing = loadcast("computetarget", "attach", *shared, "/Volumes/main/loadcast/none", "--name", "x", code=3)
    assert "does not have what was asked for: Volume does not exist." in missing
    monkeypatch.setenv("MY_TOKEN", "wrong-token")
    refused = loadcast("computetarget", "test", "new", code=3)
    assert "refuses: Invalid access token." in refused
    assert "wrong-token" not in refused


def test_a_script_runs_there_with_its_secrets_and_its_results_come_back(
    project: Path, workspace: FakeWorkspace
) -> None:
    with_secret(project)
    before = len(workspace.requests)
    said = loadcast("experiment", "submit", "-c", "brick", "Code/show.py", *HOSTILE, code=3)
    lines = said[said.index('["helped') :].splitlines()
    assert json.loads(lines[0]) == ["helped", [*HOSTILE], "in the clear", len(SECRET)]
    (record,) = list_records(project).records
    assert lines[1:] == ["to standard error", "of a child", f"Run {record.id} failed."]
    assert (record.state, record.exit_code) == ("failed", 3)
    folder = project / ".loadcast" / "runs" / record.id
    assert (folder / "outputs" / "a b.txt").read_text() == record.id
    assert json.loads((folder / "logged.jsonl").read_text())["name"] == "score"
    # The secret went to the keeper of secrets, which has forgotten it, and stands nowhere else.
    assert workspace.secrets == {}
    part = "sesame"
    told = {url for _, url, body in workspace.requests[before:] if part.encode() in body or part in url}
    assert told == {"/api/2.0/secrets/put"}
    kept = [path for top in (workspace.root, project / ".loadcast") for path in top.rglob("*") if path.is_file()]
    assert not [path for path in kept if part.encode() in path.read_bytes()]
    # Nothing is sent twice.
    loadcast("experiment", "submit", "-c", "brick", "Code/ok.py")
    archives = [url for method, url, _ in workspace.requests[before:] if method == "PUT" and "/snapshots/" in url]
    assert len([url for url in archives if "/files/" in url]) == 1
    assert len([url for _, url, _ in workspace.requests if url == "/api/2.0/workspace/import"]) == 1


def test_a_run_is_followed_as_it_writes_and_ended_when_it_is_cancelled(project: Path, workspace: FakeWorkspace) -> None:
    record = submit(project, Submission("brick", "Code/slow.py"))
    job, seen = workspace.jobs[-1], []

    def say(block: bytes) -> None:
        assert job.life == "RUNNING" or seen  # what comes first comes while it runs
        seen.append(block)
        if b"3\n" in b"".join(seen) and job.process and job.process.poll() is None and not job.cancelled:
            assert cancel(project, record).state == "cancelled"

    ended = follow(project, record, say)
    assert b"".join(seen).startswith(b"begun\n0\n1\n2\n3\n")
    assert (ended.state, ended.exit_code) == ("cancelled", None)
    assert job.process is not None
    assert job.process.poll() is not None
    assert (project / ".loadcast" / "runs" / record.id / "outputs" / "begun").exists()
    assert (project / ".loadcast" / "runs" / record.id / "log.txt").read_bytes() == b"".join(seen)


def test_a_client_that_is_killed_loses_nothing_and_a_cut_connection_neither(
    project: Path, workspace: FakeWorkspace
) -> None:
    before = len(workspace.jobs)
    words = (sys.executable, "-m", "loadcast", "experiment", "submit", "-c", "brick", "Code/slow.py")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        assert client.stdout is not None
        wait_until(lambda: b"begun" in client.stdout.readline())  # type: ignore[union-attr]
        os.kill(client.pid, signal.SIGKILL)
    (record,) = list_records(project).records
    assert refresh(project, [record])[0].state == "running"
    parts = iter([0.0, 1.0, 0.5, 0.5])  # of files that are read
    workspace.comes = lambda method, path: next(parts, 1) if (method, path[:14]) == ("GET", "/api/2.0/fs/fi") else 1
    ended, said = followed(project, record)
    workspace.comes = lambda method, path: 1
    assert next(parts, None) is None
    assert ended.state == "completed"
    assert said.splitlines() == ["begun", *map(str, range(60))]
    assert len(workspace.jobs) == before + 1


class Died(BaseException):
    """A client's end."""


@pytest.mark.parametrize(
    ("owner", "step"),
    [(FolderRunner, "send"), (DatabricksJobs, "submit"), (FolderRunner, "start")],
)
def test_a_client_that_ends_at_any_step_submits_once(
    project: Path, workspace: FakeWorkspace, owner: Any, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(workspace.jobs)

    def dying(*arguments: Any) -> Any:
        original(*arguments)
        raise Died

    original = getattr(owner, step)
    with monkeypatch.context() as patched:
        patched.setattr(owner, step, dying)
        with pytest.raises(Died):
            submit(project, Submission("brick", "Code/ok.py"))
    (record,) = list_records(project).records
    if step == "submit":  # a run that nobody has written down is found, and can be ended
        (known,) = refresh(project, [record])
        assert known.state != "preparing"
    ended, said = followed(project, find_record(project, record.id))
    assert (ended.state, said) == ("completed", "1\n")
    assert len(workspace.jobs) == before + 1


def test_what_has_no_cluster_yet_waits_and_can_be_cancelled_and_a_cluster_that_fails_is_told(
    project: Path, workspace: FakeWorkspace
) -> None:
    workspace.has_clusters.clear()
    with_secret(project)
    record = submit(project, Submission("brick", "Code/ok.py"))
    assert record.state == "queued"
    assert [*workspace.secrets] == [f"loadcast-{record.id}"]
    assert cancel(project, record).state == "cancelled"
    assert workspace.secrets == {}
    workspace.has_clusters.set()
    workspace.cluster_fails = "CLUSTER_ERROR"
    said = loadcast("experiment", "submit", "-c", "brick", "Code/ok.py", code=1)
    assert f"Databricks at {workspace.url[7:]}: CLUSTER_ERROR: It could not be launched." in said


def test_packages_are_written_down_once_and_installed_as_a_run_begins(project: Path, workspace: FakeWorkspace) -> None:
    config = project / "aml_config" / "brick.runconfig"
    config.write_text(config.read_text().replace("false", "true"))
    conda = project / "aml_config" / "conda_dependencies.yml"
    conda.write_text("dependencies: [python=3.12, pip, {pip: [pyspark==4.3.0, pydantic>=2]}]")
    assert "pydantic>=2" in loadcast("experiment", "prepare", "-c", "brick")
    (written,) = (workspace.volume / "loadcast" / "environments").iterdir()
    before = written.stat().st_mtime_ns
    loadcast("experiment", "submit", "-c", "brick", "Code/ok.py")
    assert (written.read_text(), written.stat().st_mtime_ns) == ("pydantic>=2\n", before)
    (task,) = workspace.jobs[-1].asked["tasks"]
    assert task["libraries"] == [{"requirements": f"{VOLUME}/loadcast/environments/{written.name}"}]
    conda.write_text("dependencies: [gdal=3]")
    refused = loadcast("experiment", "prepare", "-c", "brick", code=2)
    assert "found gdal=3, wanted packages of pip's list alone" in refused


def test_a_secret_of_a_key_vault_is_refused_and_not_left_out(project: Path, workspace: FakeWorkspace) -> None:
    config = project / "aml_config" / "brick.runconfig"
    config.write_text(config.read_text().replace("clear}", 'clear, MY_KEY: "keyvault:name"}'))
    before = len(workspace.jobs)
    refused = loadcast("experiment", "submit", "-c", "brick", "Code/ok.py", code=2)
    assert "EnvironmentVariables.MY_KEY: found keyvault:, which synapse and amlcompute read; on databricks" in refused
    assert len(workspace.jobs) == before


def test_a_workspace_that_is_away_or_lets_nobody_in_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databricks_client, "LOOK_S", 1)
    for name in [name for name in os.environ if name.startswith(("DATABRICKS_", "ARM_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(project / "none"))
    monkeypatch.setenv("PATH", str(project))  # nor is there a command line of Azure's that is logged in
    file = project / "aml_config" / "brick.compute"
    content = file.read_text()
    file.write_text(content.replace("env:MY_TOKEN", "env:NO_TOKEN"))
    said = loadcast("computetarget", "test", "brick", code=2)
    assert "token env:NO_TOKEN: the environment has no such variable" in said
    file.write_text(content.replace("token: env:MY_TOKEN\n", ""))
    assert "lets nobody in: default auth:" in loadcast("computetarget", "test", "brick", code=3)
    file.write_text(re.sub("http://.*", "http://127.0.0.1:9", content))
    assert "Databricks at 127.0.0.1:9 cannot be reached: " in loadcast("computetarget", "test", "brick", code=3)
