"""Plans of targets, without any machine."""

from __future__ import annotations

import shlex
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from loadcast.errors import ConfigError
from loadcast.experiments import machines, targets
from loadcast.experiments.compute import ComputeTarget, parse_compute
from loadcast.experiments.conda import Environment
from loadcast.experiments.machines import SshMachine
from loadcast.experiments.plan import RUN_ID, Plan, at
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
        *("--entrypoint", f"/opt/loadcast/environments/{HASH}/bin/python", f"loadcast-environment:{HASH}"),
        *("Code/a.py", "x y"),
    )
    assert {*made.environment} == {"A", "PYSPARK_SUBMIT_ARGS", shared}
    assert made.on_cancel == (("docker", "rm", "--force", container),)
    bare = plan(DOCKER, Job(("a.py",), {})).argv
    assert bare[-4:] == ("--entrypoint", "python3", "debian:13-slim", "a.py")
    assert plan({**DOCKER, "pythonLocation": "/opt/python"}, Job(("a.py",), {})).argv[-3] == "/opt/python"


def test_containers_need_a_volume() -> None:
    with pytest.raises(ConfigError, match="sharedVolumes: found false, wanted true"):
        plan({**DOCKER, "sharedVolumes": False}, Job(("a.py",), {}))


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


def test_a_type_that_nobody_has_brought_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = parse_compute({**REMOTE, "type": "cluster"})
    known = "amlcompute, local, localdocker, remote, remotedocker, spark, synapse"
    with pytest.raises(ConfigError, match=f"Targets of type cluster cannot be submitted to yet, wanted one of {known}"):
        type_of(cluster)
    point = EntryPoint("cluster", "loadcast.experiments.targets:Local", targets.ENTRY_POINTS)
    monkeypatch.setattr(targets, "entry_points", lambda group: [point])
    assert type_of(cluster) is Local


def test_a_request_holds_all_that_the_agent_needs() -> None:
    made = Plan(("python", (at("@run/work"),)), {"A": "1"}, (("docker", "rm"),)).request([("a.py", HASH, True)])
    assert made == {
        "argv": ["python", ({"at": "@run/work"},)],
        "environment": {"A": "1"},
        "onCancel": [["docker", "rm"]],
        "entries": [["a.py", HASH, True]],
    }
