"""Plans of targets, without any machine."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from loadcast.errors import ConfigError, EnvironmentNotReadyError
from loadcast.experiments import machines, targets
from loadcast.experiments.compute import ComputeTarget, parse_compute
from loadcast.experiments.conda import Environment
from loadcast.experiments.machines import SshMachine, ThisMachine
from loadcast.experiments.plan import AGENT, RUN_ID, Plan, at
from loadcast.experiments.remote_agent import Agent
from loadcast.experiments.target_types import Job
from loadcast.experiments.targets import Local, type_of

HASH = "ab" * 32
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3sXrK0VQqp9kQ3v0c4mZ9x0yYc2n1mXo5pQbq3tJ7m"
REMOTE = {"type": "remote", "address": "10.0.0.4", "username": "me", "hostKey": HOST_KEY, "ssh_port": 2222}


def plan(fields: dict[str, object], job: Job) -> Plan:
    target = parse_compute(fields)
    made = type_of(target).plan(target, job)
    assert isinstance(made, Plan)
    return made


def agent_of(target: ComputeTarget) -> Agent:
    runner = type_of(target).runner(target, "vm", Path())
    assert isinstance(runner, Agent)
    return runner


def test_the_interpreter_is_the_users_or_the_environments_or_the_machines() -> None:
    job, made = Job(("Code/a.py", "x y"), {"A": "1"}), Job(("Code/a.py",), {}, HASH)
    assert plan({"type": "local"}, job).argv == (sys.executable, "Code/a.py", "x y")
    assert plan(REMOTE, job).argv == ("python3", "Code/a.py", "x y")
    assert plan(REMOTE, job).environment == {"A": "1"}
    assert plan(REMOTE, made).argv == ((at(f"environments/{HASH}/bin/python"),), "Code/a.py")
    assert plan({**REMOTE, "pythonLocation": "/opt/python"}, made).argv == ("/opt/python", "Code/a.py")


def test_sparks_settings_and_the_shared_folder_are_variables() -> None:
    job = Job(("a.py",), {}, spark={"spark.executor.memory": "2g", "spark.app.name": "a b;c"})
    made = plan({**REMOTE, "nativeSharedDirectory": "~/share"}, job).environment
    arguments = made["PYSPARK_SUBMIT_ARGS"]
    assert isinstance(arguments, str)
    assert shlex.split(arguments) == [
        *("--conf", "spark.executor.memory=2g", "--conf", "spark.app.name=a b;c", "pyspark-shell"),
    ]
    assert made["AZUREML_NATIVE_SHARE_DIRECTORY"] == (at("~/share"),)


DOCKER = {"type": "localdocker", "baseDockerImage": "debian:13-slim"}


def test_a_container_sees_the_runs_folder_and_its_variables_and_is_removed_when_the_run_is_cancelled() -> None:
    job = Job(("Code/a.py", "x y"), {"A": "1"}, HASH, {"spark.executor.memory": "2g"}, ("KEY",))
    made = plan({**DOCKER, "nativeSharedDirectory": "~/share"}, job)
    container = ("loadcast-", RUN_ID)
    variables = ("LOADCAST_RUN_ID", "LOADCAST_RUN_LOG", "PYTHONUNBUFFERED", "A", "PYSPARK_SUBMIT_ARGS")
    shared = "AZUREML_NATIVE_SHARE_DIRECTORY"
    assert made.argv == (
        *("docker", "run", "--rm", "--init", "--name", container, "--network", "host"),
        *("--volume", (at("@run"), ":", at("@run")), "--volume", (at("~/share"), ":", at("~/share"))),
        *("--workdir", (at("@run/work"),)),
        *(word for name in (*variables, shared, "KEY") for word in ("--env", name)),
        *("--entrypoint", "sh", f"loadcast-environment:{HASH}", "-c", 'exec "$@" 2>&1', "sh"),
        *(f"/opt/loadcast/environments/{HASH}/bin/python", "Code/a.py", "x y"),
    )
    assert {*made.environment} == {"A", "PYSPARK_SUBMIT_ARGS", shared}
    assert made.on_cancel == (("docker", "rm", "--force", container),)
    bare = plan(DOCKER, Job(("a.py",), {})).argv
    assert bare[-8:] == ("--entrypoint", "sh", "debian:13-slim", "-c", 'exec "$@" 2>&1', "sh", "python3", "a.py")
    assert plan({**DOCKER, "pythonLocation": "/opt/python"}, Job(("a.py",), {})).argv[-2] == "/opt/python"


def test_without_volumes_the_agent_copies() -> None:
    made = plan({**DOCKER, "sharedVolumes": False}, Job(("Code/a.py", "x y"), {"A": "1"}, secrets=("KEY",)))
    assert made.argv == (
        *(({"id": "python"},), ({"id": "agent"},), (at(""),), "container", (RUN_ID,)),
        *("--init", "--name", ("loadcast-", RUN_ID), "--network", "host", "--workdir", "/loadcast-run/work"),
        *("--env", "LOADCAST_RUN_ID", "--env", "LOADCAST_RUN_LOG", "--env", "PYTHONUNBUFFERED"),
        *("--env", "A", "--env", "KEY", "--env", "LOADCAST_RUN_LOG=/loadcast-run/logged.jsonl"),
        *("--entrypoint", "sh", "debian:13-slim", "-c", 'exec "$@" 2>&1', "sh", "python3", "Code/a.py", "x y"),
    )
    assert made.on_cancel == (("docker", "rm", "--force", ("loadcast-", RUN_ID)),)


def test_an_environments_name_says_what_is_in_it_and_below_it() -> None:
    one, other = Environment("3.11", (), ("numpy",)), Environment("3.11", (), ("numpy==2",))
    names = set()
    for fields in ({"type": "local"}, DOCKER, {**DOCKER, "baseDockerImage": "debian:12"}):
        target = parse_compute(fields)
        recipes = [type_of(target).recipe(target, environment) for environment in (one, other)]
        names |= {recipe.name for recipe in recipes}
        assert recipes[0].spec.get("image") == target.base_docker_image
        assert recipes[0].spec["pip"] == ("numpy",)
    assert len(names) == 6


def test_a_machine_by_ssh_needs_a_pinned_key_and_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "sesame")
    monkeypatch.setattr(machines, "ssh_program", lambda name: f"/usr/bin/{name}")  # which need not be there
    target = parse_compute({**REMOTE, "password": "env:MINE"})
    machine = agent_of(target).machine
    assert isinstance(machine, SshMachine)
    words = machine.command(["echo", "a b", "$(id)"])
    assert words[-3:] == ["--", "10.0.0.4", "echo 'a b' '$(id)'"]
    assert {"StrictHostKeyChecking=yes", "BatchMode=no"} <= {*words}
    assert "sesame" not in " ".join(words) + repr(machine)
    assert machine.environment()["SSH_ASKPASS_REQUIRE"] == "force"
    unpinned = parse_compute({name: value for name, value in REMOTE.items() if name != "hostKey"})
    with pytest.raises(ConfigError, match="Target vm has no hostKey"):
        agent_of(unpinned)


def test_a_spark_master_gets_the_script_by_spark_submit() -> None:
    spark = {"type": "spark", "master": "spark://host:7077"}
    job = Job(("Code/etl.py", "a b"), {"A": "1"}, None, {"spark.executor.memory": "2g"})
    made = plan(spark, job)
    submit = str(Path(sys.executable).with_name("spark-submit"))
    assert made.argv == (
        *(submit, "--master", "spark://host:7077", "--name", ("loadcast-", RUN_ID)),
        *("--conf", "spark.executor.memory=2g", "Code/etl.py", "a b"),
    )
    assert made.environment == {"A": "1", "PYSPARK_DRIVER_PYTHON": sys.executable, "PYSPARK_PYTHON": sys.executable}
    theirs = plan({**spark, "pythonLocation": "/opt/python", "sparkSubmitLocation": "/opt/spark-submit"}, job)
    assert theirs.argv[0] == "/opt/spark-submit"
    assert theirs.environment["PYSPARK_PYTHON"] == "/opt/python"
    environment = plan(spark, Job(("a.py",), {}, HASH))
    assert environment.argv[0] == (at(f"environments/{HASH}/bin/spark-submit"),)
    assert environment.environment["PYSPARK_PYTHON"] == (at(f"environments/{HASH}/bin/python"),)


def test_a_cluster_is_asked_by_the_agent_on_its_head_node() -> None:
    job = Job(("Code/etl.py", "a b"), {"B": "2", "A": "1"}, HASH, {"spark.executor.memory": "2g"}, ("KEY",))
    made = plan({**REMOTE, "type": "cluster"}, job)
    assert made.argv[:-1] == (*AGENT, "cluster", (RUN_ID,))
    assert isinstance(made.argv[-1], str)
    assert json.loads(made.argv[-1]) == {
        **{"mode": "cluster", "submit": "spark-submit", "python": None, "environment": HASH},
        **{"spark": {"spark.executor.memory": "2g"}, "words": ["Code/etl.py", "a b"]},
        **{"variables": ["A", "B"], "secrets": ["KEY"]},
    }
    assert made.environment == {"A": "1", "B": "2"}
    assert made.on_cancel == ((*AGENT, "end-application", (RUN_ID,)),)
    theirs = {"pythonLocation": "/opt/python", "sparkSubmitLocation": "/opt/spark-submit", "yarnDeployMode": "client"}
    asked = plan({**REMOTE, "type": "cluster", **theirs}, Job(("a.py",), {})).argv[-1]
    assert isinstance(asked, str)
    assert {"mode": "client", "submit": "/opt/spark-submit", "python": "/opt/python"}.items() <= json.loads(
        asked
    ).items()


def test_a_cluster_runs_scripts_and_brings_its_own_spark() -> None:
    target = parse_compute({**REMOTE, "type": "cluster"})
    with pytest.raises(ConfigError, match=r"found -m as its first word, and a cluster runs scripts: wanted \$file"):
        type_of(target).plan(target, Job(("-m", "module"), {}))
    needed = Environment("3.11", (), ("pyspark==4.3.0", "PySpark[sql]", "pyspark-extension", "numpy"))
    recipe = type_of(target).recipe(target, needed)
    assert recipe.spec["pip"] == ("pyspark-extension", "numpy")
    assert recipe.spec["archive"] is True


def test_a_type_that_nobody_has_brought_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    target = parse_compute(REMOTE).model_copy(update={"type": "mainframe"})
    known = "amlcompute, cluster, databricks, local, localdocker, remote, remotedocker, spark, synapse"
    wanted = f"Targets of type mainframe cannot be submitted to yet, wanted one of {known}"
    with pytest.raises(ConfigError, match=wanted):
        type_of(target)
    point = EntryPoint("mainframe", "loadcast.experiments.targets:Local", targets.ENTRY_POINTS)
    monkeypatch.setattr(targets, "entry_points", lambda group: [point])
    assert type_of(target) is Local


def test_a_request_holds_all_that_the_agent_needs() -> None:
    made = Plan(("python", (at("@run/work"),)), {"A": "1"}, (("docker", "rm"),)).request([("a.py", HASH, True)])
    assert made == {
        "argv": ["python", ({"at": "@run/work"},)],
        "environment": {"A": "1"},
        "onCancel": [["docker", "rm"]],
        "entries": [["a.py", HASH, True]],
    }


@dataclass(frozen=True)
class HalfMachine(ThisMachine):
    """This machine, to which only the beginning of what is sent gets through."""

    def command(self, words: Sequence[str]) -> list[str]:
        return ["sh", "-c", 'head -c 100 | "$@"', "sh", *words]


def test_an_agent_that_came_in_part_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentNotReadyError, match="it came in part"):
        Agent(HalfMachine(), str(tmp_path / "base"), sys.executable).states(["a"])
    assert [*(tmp_path / "base").iterdir()] == [tmp_path / "base" / "runs"]
    assert Agent(ThisMachine(), str(tmp_path / "base"), sys.executable).states(["a"]) == {"a": None}
