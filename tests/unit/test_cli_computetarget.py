"""`loadcast computetarget`: both files are written or none, nothing is overwritten, and no secret is repeated."""

from __future__ import annotations

import base64
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from loadcast.cli.main import main
from loadcast.errors import ConfigError, EnvironmentNotReadyError, OutputError
from loadcast.experiments import attaching
from loadcast.experiments.compute import ComputeTarget, parse_compute, read_compute
from loadcast.experiments.connections import Checked, check_connection
from loadcast.experiments.runconfig import read_runconfig

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
DSVM = ("--name", "dockerdsvm", "--address", "10.0.0.4", "--username", "me")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, in which nothing is yet."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> tuple[int, str]:
    """Exit code and all that `loadcast computetarget` prints."""
    result = CliRunner(env={"COLUMNS": "200"}).invoke(main, ["computetarget", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def files(project: Path) -> list[str]:
    folder = project / "aml_config"
    return sorted(os.listdir(folder)) if folder.exists() else []


def test_a_target_is_attached_listed_shown_and_detached(project: Path) -> None:
    assert run("attach", "local", "--name", "mine", "--python-location", "/opt/python") == (
        0,
        "mine is attached: aml_config/mine.compute, aml_config/mine.runconfig.\n",
    )
    code, listing = run("list")
    assert code == 0
    assert "│ mine │ local │ this machine │ /opt/python │" in listing
    code, shown = run("show", "mine")
    assert code == 0
    assert "│ pythonLocation     │ /opt/python │" in shown
    assert "│ run configurations │ mine" in shown
    assert run("detach", "mine") == (
        0,
        "mine is detached. Removed: aml_config/mine.compute, aml_config/mine.runconfig.\n",
    )
    assert files(project) == []


@pytest.mark.parametrize(
    "words",
    [
        ("remotedocker", *DSVM, "--password", "env:PW"),
        (*DSVM, "--password", "env:PW", "--type", "remotedocker"),
        ("-n", "dockerdsvm", "-a", "10.0.0.4", "-u", "me", "-w", "env:PW", "-t", "remotedocker"),
        ("remotedocker", "-t", "remotedocker", *DSVM, "-w", "env:PW"),
    ],
)
def test_the_words_of_the_retired_command_are_taken(project: Path, words: tuple[str, ...]) -> None:
    assert run("attach", *words, "--no-check")[0] == 0
    assert read_compute(project, "dockerdsvm") == parse_compute(
        {
            "type": "remotedocker",
            "address": "10.0.0.4",
            "username": "me",
            "password": "env:PW",
            "baseDockerImage": attaching.DEFAULT_IMAGE,
        }
    )


def test_each_option_is_a_field(project: Path) -> None:
    options = {
        "--private-key-file": "~/.ssh/id",
        "--ssh-port": "2222",
        "--host-key": HOST_KEY,
        "--python-location": "python3",
        "--spark-submit-location": "/usr/bin/spark-submit",
        "--yarn-deploy-mode": "client",
    }
    words = [word for option in options.items() for word in option]
    assert run("attach", "cluster", *DSVM, *words, "--no-check")[0] == 0
    fields = read_compute(project, "dockerdsvm").document()
    assert [fields.pop(name) for name in ("type", "address", "username")] == ["cluster", "10.0.0.4", "me"]
    assert sorted(map(str, fields.values())) == sorted(options.values())
    assert (
        run(
            "attach",
            "localdocker",
            "--name",
            "d",
            "--base-docker-image",
            "debian:13",
            "--no-shared-volumes",
            "--no-check",
        )[0]
        == 0
    )
    assert read_compute(project, "d").document() == {
        "type": "localdocker",
        "baseDockerImage": "debian:13",
        "sharedVolumes": False,
    }
    assert run("attach", "spark", "--name", "s", "--master", "spark://h:7077")[0] == 0
    assert read_compute(project, "s").master == "spark://h:7077"


@pytest.mark.parametrize(
    ("kind", "spark_file", "prepares"),
    [
        ("remotedocker", "Config/dsvm_spark_dependencies.yml", True),
        ("cluster", "Config/hdi_spark_dependencies.yml", True),
        ("remote", None, True),
        ("local", None, False),
    ],
)
def test_the_run_configuration_names_the_files_of_config(
    project: Path, kind: str, spark_file: str | None, prepares: bool
) -> None:
    (project / "Config").mkdir()
    for name in ("conda", "dsvm_spark", "hdi_spark"):
        (project / "Config" / f"{name}_dependencies.yml").touch()
    assert run("attach", kind, *(DSVM if kind != "local" else DSVM[:2]), "--no-check")[0] == 0
    config = read_runconfig(project, "dockerdsvm")
    assert (config.target, config.framework) == ("dockerdsvm", "PySpark")
    assert config.conda_dependencies_file == "Config/conda_dependencies.yml"
    assert (config.spark_dependencies_file, config.prepare_environment) == (spark_file, prepares)


def test_the_run_configuration_names_no_file_that_is_not_there(project: Path) -> None:
    assert run("attach", "remotedocker", *DSVM, "--no-check")[0] == 0
    config = read_runconfig(project, "dockerdsvm")
    assert (config.conda_dependencies_file, config.spark_dependencies_file) == (None, None)


@pytest.mark.skipif(shutil.which("ssh-keyscan") is None, reason="OpenSSH's client is not installed")
def test_who_does_not_answer_is_not_attached(project: Path) -> None:
    code, output = run("attach", "remote", "-n", "x", "--address", "127.0.0.1", "-u", "me", "--ssh-port", "1")
    assert code == EnvironmentNotReadyError.exit_code
    assert "Nobody answers as an SSH server at 127.0.0.1, port 1" in output
    assert files(project) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("attach", "remotedocker", "--name", "x"), "address: found nothing, and type remotedocker needs it"),
        (("attach", "adla", "--name", "x"), "retired in February 2024, wanted synapse or cluster instead"),
        (("attach", "synapse", "--name", "x"), "sparkPool: found nothing, and type synapse needs it"),
        (("attach", "--name", "x"), "type: found nothing, wanted one of local"),
        (("attach", "local", "--name", "x", "--address", "h"), "address: type local has no such field"),
        (("attach", "local", "--name", "../x"), "wanted a name of up to 64 letters"),
        (("attach", "local", "-t", "remote", "--name", "x"), "The type stands there twice"),
        (("attach", "local"), "Missing option '--name'"),
        (
            ("attach", "remote", "-n", "x", "--address=-oProxyCommand=x", "-u", "me"),
            "address: found '-oProxyCommand=x'",
        ),
        (("show", "x"), "There is no compute target x"),
        (("detach", "x"), "There is no compute target x"),
        (("detach", "../x"), "wanted a name of up to 64 letters"),
    ],
)
def test_what_cannot_be_is_one_message_and_nothing_is_written(project: Path, words: tuple[str, ...], said: str) -> None:
    code, output = run(*words)
    assert code == ConfigError.exit_code
    assert said in output
    assert "Traceback" not in output
    assert files(project) == []


def test_a_password_is_never_repeated_nor_written(project: Path) -> None:
    code, output = run("attach", "remotedocker", *DSVM, "--password", "hunter22", "--no-check", "--debug")
    assert code == ConfigError.exit_code
    assert "wanted env:NAME or file:PATH" in output
    assert "hunter22" not in output
    assert files(project) == []


@pytest.mark.parametrize("suffix", ["compute", "runconfig"])
def test_no_file_is_overwritten(project: Path, suffix: str) -> None:
    (project / "aml_config").mkdir()
    there = project / "aml_config" / f"mine.{suffix}"
    there.write_text("mine")
    code, output = run("attach", "local", "--name", "mine")
    assert (code, there.read_text()) == (ConfigError.exit_code, "mine")
    assert f"There is aml_config/mine.{suffix} already" in output
    assert files(project) == [there.name]


def test_one_file_alone_is_not_left(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OutputError("Cannot write it: No space left on device.")

    monkeypatch.setattr(attaching, "write_runconfig", fail)
    assert run("attach", "local", "--name", "mine") == (
        OutputError.exit_code,
        "loadcast: Cannot write it: No space left on device.\n",
    )
    assert files(project) == []


def test_what_the_check_brings_is_shown_and_the_host_key_pinned(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[ComputeTarget] = []

    def check(target: ComputeTarget) -> Checked:
        asked.append(target)
        return Checked(HOST_KEY, {"cores": "8", "java": "17.0.2"})

    monkeypatch.setattr(attaching, "check_connection", check)
    code, output = run("attach", "remote", *DSVM)
    assert code == 0
    assert "│ cores │ 8" in output
    assert [target.host_key for target in asked] == [None]
    assert read_compute(project, "dockerdsvm").host_key == HOST_KEY


def test_a_project_is_found_from_any_of_its_folders(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("attach", "local", "--name", "mine")[0] == 0
    (project / "Code" / "deep").mkdir(parents=True)
    monkeypatch.chdir(project / "Code" / "deep")
    assert "mine" in run("list")[1]
    assert run("attach", "local", "--name", "other")[1].startswith("other is attached: ../../aml_config/other.compute")
    assert files(project) == ["mine.compute", "mine.runconfig", "other.compute", "other.runconfig"]
    monkeypatch.chdir(project.parent)
    assert run("detach", "other", "--project", str(project))[0] == 0


def test_this_machine_needs_no_connection() -> None:
    assert check_connection(parse_compute({"type": "local"})) == Checked(None, {})


@pytest.mark.parametrize(
    ("kind", "facts", "wanted"),
    [
        (
            "localdocker",
            {"docker": "none"},
            "this machine: found no docker, wanted it for a target of type localdocker",
        ),
        ("remotedocker", {"docker": "none"}, "10.0.0.4: found no docker"),
        ("remotedocker", {"docker": "/usr/bin/docker", "python": "sh: 1: python3: not found"}, "wanted Python 3.8"),
        ("remote", {"python": "Python 3.7.9"}, "10.0.0.4: python3 is Python 3.7.9, wanted Python 3.8 or newer"),
        ("cluster", {"python": "none"}, "wanted Python 3.8 or newer"),
    ],
)
def test_a_machine_without_what_its_type_needs_is_not_attached(
    project: Path, monkeypatch: pytest.MonkeyPatch, kind: str, facts: dict[str, str], wanted: str
) -> None:
    monkeypatch.setattr(attaching, "check_connection", lambda target: Checked(None, facts))
    words = (kind, *(DSVM[:2] if kind == "localdocker" else DSVM))
    code, output = run("attach", *words)
    assert (code, output.count("\n"), files(project)) == (EnvironmentNotReadyError.exit_code, 1, [])
    assert wanted in output
    assert run("attach", *words, "--no-check")[0] == 0


def test_what_a_target_has_or_may_lack_is_no_fault(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"python": "Python 3.13.0rc1", "docker": "/usr/bin/docker", "spark-submit": "none"}
    monkeypatch.setattr(attaching, "check_connection", lambda target: Checked(None, facts))
    assert "spark-submit on its PATH" not in run("attach", "remotedocker", *DSVM)[1]
    assert "no spark-submit on its PATH; say where it is" in run("attach", "cluster", "-n", "hdi", *DSVM[2:])[1]
    assert len(files(project)) == 4


def test_a_host_key_is_shown_whole(project: Path) -> None:
    blob = (7).to_bytes(4, "big") + b"ssh-rsa" + bytes(range(45))
    key = f"ssh-rsa {base64.b64encode(blob).decode()}"
    assert key.endswith("=")
    assert run("attach", "remote", *DSVM, "--host-key", key, "--no-check")[0] == 0
    assert key in run("show", "dockerdsvm")[1]


def test_detaching_leaves_other_run_configurations(project: Path) -> None:
    run("attach", "local", "--name", "one")
    run("attach", "local", "--name", "two")
    folder = project / "aml_config"
    (folder / "three.runconfig").write_text("Target: one\n")
    (folder / "one.runconfig").write_text("Target: two\n")
    code, output = run("detach", "one")
    assert (code, files(project)) == (0, ["one.runconfig", "three.runconfig", "two.compute", "two.runconfig"])
    assert output.endswith("Run configurations that still name it: three.\n")


def test_a_broken_target_is_listed_beside_the_others_and_can_be_detached(project: Path) -> None:
    run("attach", "local", "--name", "good")
    (project / "aml_config" / "broken.compute").write_text("type: local\nadress: x\n")
    code, output = run("list")
    assert code == ConfigError.exit_code
    assert "│ good" in output
    assert "broken.compute: adress: an unknown field; the nearest known field is address." in output
    assert run("detach", "broken")[0] == 0
    assert run("list")[0] == 0


def test_without_targets_the_list_says_how_to_attach_one() -> None:
    assert run("list") == (
        0,
        "There are no compute targets. Attach one: loadcast computetarget attach TYPE --name NAME\n",
    )
