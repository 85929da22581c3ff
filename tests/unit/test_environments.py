"""Environments on a target, with stand-ins for the tools that make them, which write down what they are asked."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from loadcast.experiments.agent.environments import has_environment, make_environment
from loadcast.experiments.agent.images import has_image, make_image
from loadcast.experiments.agent.state import Refused

NAME = "ab" * 32
#: Keeps its words in a file of its name, and does as much of its work as others look at.
_TOOL = """#!{python}
import json, os, sys
folder = os.path.dirname(os.path.abspath(sys.argv[0]))
name = os.path.basename(sys.argv[0])
with open(os.path.join(folder, name + ".said"), "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if name == "java":
    print('openjdk version "17.0.9" 2023-10-17', file=sys.stderr)
if sys.argv[1:2] == ["build"]:
    print(open(os.path.join(sys.argv[-1], "Dockerfile")).read(), file=open(os.path.join(folder, "Dockerfile"), "w"))
if sys.argv[1:3] == ["image", "inspect"]:
    sys.exit(not os.path.exists(os.path.join(folder, "Dockerfile")))
if os.path.exists(os.path.join(folder, "fails")):
    sys.exit(3)
if name in ("conda", "uv"):
    os.makedirs(sys.argv[sys.argv.index("--prefix") + 1 if "--prefix" in sys.argv else -1])
"""


class Tools:
    """A folder of stand-ins, which is all that the PATH has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str) -> None:
        (self.folder / name).write_text(_TOOL.format(python=sys.executable))
        (self.folder / name).chmod(0o755)

    def asked(self, name: str) -> list[list[str]]:
        path = self.folder / f"{name}.said"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return Tools(folder)


def spec(**more: Any) -> dict[str, Any]:
    return {"python": None, "channels": [], "conda": [], "pip": [], **more}


def test_conda_is_asked_for_its_packages_from_their_channels(tools: Tools, tmp_path: Path) -> None:
    tools.add("conda")
    asked = spec(python="3.11", channels=["conda-forge"], conda=["openjdk=17"])
    make_environment(str(tmp_path / "base"), NAME, asked)
    folder = tmp_path / "base" / "environments" / NAME
    (words,) = tools.asked("conda")
    assert words == [
        *("create", "--yes", "--quiet", "--prefix", str(folder), "--channel", "conda-forge"),
        *("python=3.11", "pip", "openjdk=17"),
    ]
    assert has_environment(str(tmp_path / "base"), NAME)
    make_environment(str(tmp_path / "base"), NAME, asked)
    assert len(tools.asked("conda")) == 1


@pytest.mark.parametrize(
    ("packages", "has_java", "lacking"),
    [
        (["pip", "openjdk=17"], True, None),
        (["openjdk>=11", "pip=24"], True, None),
        (["conda-forge::openjdk"], True, None),
        (["openjdk=21"], True, "openjdk=21"),
        (["openjdk=17", "pip"], False, "openjdk=17"),
        (["pip", "gcc", "openjdk=17"], True, "gcc"),
    ],
)
def test_without_conda_a_java_that_is_there_will_do(
    tools: Tools, tmp_path: Path, packages: list[str], has_java: bool, lacking: str | None
) -> None:
    tools.add("uv")
    if has_java:
        tools.add("java")
    if lacking is None:
        make_environment(str(tmp_path), NAME, spec(conda=packages))
        assert tools.asked("uv")[0][0] == "venv"
    else:
        with pytest.raises(Refused, match=f"found no conda, wanted it for {lacking}: install conda"):
            make_environment(str(tmp_path), NAME, spec(conda=packages))
        assert not has_environment(str(tmp_path), NAME)


def test_what_fails_leaves_nothing(tools: Tools, tmp_path: Path) -> None:
    tools.add("uv")
    (tools.folder / "fails").touch()
    with pytest.raises(Refused, match="uv ended with 3"):
        make_environment(str(tmp_path), NAME, spec())
    assert [path.name for path in (tmp_path / "environments").iterdir()] == [f"{NAME}.lock"]


def test_an_image_is_built_once_by_the_agent_within_it(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools.add("docker")
    agent = tmp_path / "agent-1.pyz"
    agent.write_bytes(b"agent")
    monkeypatch.setattr(sys, "argv", [str(agent)])
    asked = spec(image="debian:13-slim", pip=["a==1", "b; python_version < '3.12'"])
    assert not has_image(NAME)
    assert make_image(str(tmp_path / "base"), NAME, asked) == f"loadcast-environment:{NAME}"
    assert has_image(NAME)
    first, copy, run = (tools.folder / "Dockerfile").read_text().strip().splitlines()
    assert (first, copy) == ("FROM debian:13-slim", "COPY agent.pyz /opt/loadcast/agent.pyz")
    words = json.loads(run.removeprefix("RUN "))
    assert words[:-1] == ["python3", "/opt/loadcast/agent.pyz", "/opt/loadcast", "environment", NAME]
    assert json.loads(words[-1]) == {**asked, "image": None}
    make_image(str(tmp_path / "base"), NAME, asked)
    assert [words[0] for words in tools.asked("docker")].count("build") == 1
    assert list((tmp_path / "base").iterdir()) == []


def test_an_image_is_named_by_a_hash_alone(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="wanted a hash"):
        make_image(str(tmp_path), "--privileged", spec(image="debian"))
