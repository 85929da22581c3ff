"""Files of pipelines: what they may say, and what is said of those that are wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from loadcast.errors import ConfigError
from loadcast.experiments.pipeline_file import read_pipeline


def written(folder: Path, steps: str, name: str = "name: monthly") -> Path:
    path = folder / "pipeline.yml"
    path.write_text(f"{name}\nsteps:\n{steps}")
    return path


def test_steps_come_after_those_that_they_name_or_take_from(tmp_path: Path) -> None:
    made = read_pipeline(
        written(
            tmp_path,
            "  a: {script: a.py, arguments: [1, two], outputs: [x, folder]}\n"
            "  b: {script: b.py, inputs: {one: a/x, other: a/folder/deep}}\n"
            "  c: {script: c.py, after: [b], allow_reuse: false, target: vm, run_config: vm}\n",
        )
    )
    assert [*made.sorter().static_order()] == ["a", "b", "c"]
    assert made.steps["a"].arguments == ("1", "two")
    assert not made.steps["c"].allow_reuse


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("  a: {script: a.py, aftr: [b]}", "step a: aftr: an unknown field; the nearest known field is after"),
        ("  a: {arguments: [x]}", "step a: script: found nothing, wanted a value"),
        ("  a: {script: a.py, after: [bee]}\n  bees: {script: b.py}", "bee is no step; the nearest known step is bees"),
        ("  a: {script: a.py, after: [b]}\n  b: {script: b.py, after: [a]}", "found a circle"),
        ("  a: {script: a.py, after: [a]}", "found a circle, a before a"),
        ("  a: {script: a.py}\n  b: {script: b.py, inputs: {x: a/y}}", "found a/y, wanted an output of a: none"),
        ("  a: {script: a.py, outputs: [../x]}", "wanted a path that stays inside its folder"),
        ("  a: {script: a.py, outputs: [/x]}", "wanted a path that stays inside its folder"),
        ("  a: {script: -x}", "wanted a path without control characters"),
        ("  'a b': {script: a.py}", "wanted a name of letters"),
        ("  a: 3", "steps.a: found no fields"),
        ("  a:", "steps.a: found no fields"),
        ("  []", "steps: found none"),
        ("  - a", "steps: found none"),
    ],
)
def test_a_fault_is_told_with_its_step(tmp_path: Path, steps: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_pipeline(written(tmp_path, steps))
    assert said in str(raised.value)
    assert str(tmp_path / "pipeline.yml") in str(raised.value)


def test_the_pipeline_of_the_page_is_read(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "Docs" / "EXPERIMENTS.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(name:.*?)```", page, re.DOTALL)
    (tmp_path / "monthly.yml").write_text(text)
    made = read_pipeline(tmp_path / "monthly.yml")
    assert [*made.sorter().static_order()] == ["etl", "train", "publish"]


def test_a_pipeline_has_a_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name: found nothing"):
        read_pipeline(written(tmp_path, "  a: {script: a.py}", "# none"))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yml"):
        read_pipeline(tmp_path / "none.yml")
