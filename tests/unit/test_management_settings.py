"""Environments and accounts: local settings behind the documented commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loadcast.cli.main import main
from loadcast.errors import ArtefactError, ConfigError
from loadcast.registry.locations import settings_file
from loadcast.registry.settings import current_account, current_environment


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tmp_path


def run(project: Path, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--project", str(project)])


def test_without_settings_services_run_here_in_the_default_account(project: Path) -> None:
    assert (current_environment(project).target, current_account(project).name) == ("local", "default")
    assert json.loads(run(project, "env", "show", "-o", "json").output)["target"] == "local"


def test_the_documented_lines_set_up_a_cluster(project: Path) -> None:
    for line in (
        "env setup -c -n demo --location eastus2 --cluster -z 5 --yes",
        "env show -g demorg -n demo",
        "env set -g demorg -n demo",
        "account modelmanagement create --location eastus2 -n demoacc -g demorg --sku-instances 4 --sku-name S3",
        "account modelmanagement set -n demoacc -g demorg",
    ):
        done = run(project, *line.split())
        assert (done.exit_code, done.stderr) == (0, ""), line
    known = current_environment(project)
    assert (known.target, known.agents, known.location) == ("k8s", 5, "eastus2")
    assert current_account(project).name == "demoacc"


def test_the_first_is_used_and_others_when_they_are_set(project: Path) -> None:
    assert run(project, "env", "setup", "-n", "first", "--target", "docker").exit_code == 0
    assert run(project, "env", "setup", "-n", "second", "--base-image", "debian").exit_code == 0
    assert current_environment(project).name == "first"
    assert run(project, "env", "set", "-n", "second").exit_code == 0
    assert (current_environment(project).name, current_environment(project).base_image) == ("second", "debian")
    run(project, "account", "modelmanagement", "create", "-n", "one")
    run(project, "account", "modelmanagement", "create", "-n", "two")
    assert current_account(project).name == "one"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("env set -n none", "There is no environment none. Make it: loadcast env setup -n NAME"),
        ("env set -n demo -g other", "wanted that of demo, which is demorg"),
        ("env setup -n ../x", "The environment's name"),
        ("env setup -n demo --namespace Not/One", "namespace: "),
        ("account modelmanagement set -n none", "There is no account none"),
        ("account modelmanagement set -n ../../x", "The account's name"),
    ],
)
def test_what_is_not_there_is_said(project: Path, line: str, said: str) -> None:
    run(project, "env", "setup", "-n", "demo")
    done = run(project, *line.split())
    assert (done.exit_code, said in done.stderr, done.stderr.count("\n")) == (ConfigError.exit_code, True, 1)


def test_settings_that_cannot_be_read_are_named(project: Path) -> None:
    run(project, "env", "setup", "-n", "demo")
    settings_file(project).write_text('{"formatVersion": 2}')
    done = run(project, "env", "show")
    assert (done.exit_code, "its formatVersion is 2" in done.stderr) == (ArtefactError.exit_code, True)
