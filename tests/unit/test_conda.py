"""Conda files: the packages in them, and a hash that changes with the packages alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadcast.errors import ConfigError
from loadcast.experiments.conda import Environment, parse_conda, read_conda

ROOT = Path(__file__).resolve().parents[2]
FILE = """\
name: one
channels:
  - conda-forge
dependencies:
  - python=3.11
  - openjdk=17
  - pip
  - pip:
      - numpy==2.4.6
      - pandas<3
"""
SAME = """\
# Another name, order and spacing; comments.
name: another
channels: [conda-forge]
dependencies:
  - pip:
      - pandas<3   # why
      - 'numpy==2.4.6 '
  - pip
  - openjdk=17
  - python=3.11
"""


def environment(folder: Path, text: str) -> Environment:
    path = folder / "conda.yml"
    path.write_text(text)
    return read_conda(path)


def test_the_shipped_file_is_read() -> None:
    shipped = read_conda(ROOT / "Config" / "conda_dependencies.yml")
    assert (shipped.python, shipped.conda, shipped.channels) == ("3.11", ("openjdk=17", "pip"), ("conda-forge",))
    assert any(line.startswith("pyspark==") for line in shipped.pip)


def test_packages_are_told_apart(tmp_path: Path) -> None:
    assert environment(tmp_path, FILE) == Environment(
        "3.11", ("openjdk=17", "pip"), ("numpy==2.4.6", "pandas<3"), ("conda-forge",)
    )


def test_the_hash_is_that_of_the_packages(tmp_path: Path) -> None:
    assert environment(tmp_path, FILE).content_hash() == environment(tmp_path, SAME).content_hash()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("3.11", "3.12"),
        ("2.4.6", "2.4.7"),
        ("openjdk=17", "openjdk=21"),
        ("  - pip\n", ""),
        ("- conda-forge", "- other"),
        ("      - pandas<3\n", ""),
    ],
)
def test_another_package_is_another_hash(tmp_path: Path, before: str, after: str) -> None:
    assert before in FILE
    changed = environment(tmp_path, FILE.replace(before, after))
    assert changed.content_hash() != environment(tmp_path, FILE).content_hash()


@given(st.permutations(["a", "b=1", "c", "d>2"]), st.permutations(["x==1", "y", "z<3"]))
def test_no_order_changes_the_hash(conda: list[str], pip: list[str]) -> None:
    plain = Environment("3.11", ("a", "b=1", "c", "d>2"), ("x==1", "y", "z<3"))
    assert Environment("3.11", tuple(conda), tuple(pip)).content_hash() == plain.content_hash()


def test_a_package_of_pip_is_none_of_condas() -> None:
    assert Environment(None, ("a",), ()).content_hash() != Environment(None, (), ("a",)).content_hash()
    assert len(Environment(None, (), ()).content_hash()) == 64


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("python=3.11", "3.11"),
        ("python = 3.11", "3.11"),
        ("python=3.11.4=h123_0", "3.11.4"),
        ("python==3.11.4", "==3.11.4"),
        ("python>=3.11,<3.13", ">=3.11,<3.13"),
        ("python 3.11", "3.11"),
        ("conda-forge::python=3.11", "3.11"),
        ("python", None),
    ],
)
def test_pythons_version_is_read(line: str, wanted: str | None) -> None:
    assert parse_conda({"dependencies": [line]}) == Environment(wanted, (), ())


@pytest.mark.parametrize("line", ["python-dateutil=2", "python_abi", "pythonnet", "ipython=8"])
def test_other_packages_are_not_python(line: str) -> None:
    assert parse_conda({"dependencies": [line]}) == Environment(None, (line,), ())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "dependencies: found nothing, wanted a value"),
        ({"dependencies": ["a\x07"]}, "wanted a package on one line, without control characters"),
        ({"dependencies": ["a\nb"]}, "wanted a package on one line, without control characters"),
        ({"dependencies": [" "]}, "wanted a package on one line"),
        ({"dependencies": [{"pip": ["a\x1b[31m"]}]}, "wanted a package on one line, without control characters"),
        ({"dependencies": [{"pip": "numpy"}]}, "wanted a package, or pip: with a list of packages"),
        ({"dependencies": [{"npm": []}]}, "wanted a package, or pip: with a list of packages"),
        ({"dependencies": [{"pip": [], "conda": []}]}, "wanted a package, or pip: with a list of packages"),
        ({"dependencies": [5]}, "wanted packages as text"),
        ({"dependencies": "numpy"}, "dependencies: found 'numpy'"),
        ({"dependencies": ["python=3.11", "python=3.12"]}, "found python 2 times, wanted it once"),
        ({"dependency": []}, "dependency: an unknown field; the nearest known field is dependencies"),
        ({"dependencies": [], "channels": ["a\x00"]}, r"channels\.0: found .*wanted a package on one line"),
    ],
)
def test_a_faulty_file_is_an_error_that_says_what_is_wanted(data: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        parse_conda(data, "Conda file x")
    assert str(caught.value).isprintable() or "\n" in str(caught.value)


def test_a_token_in_an_address_is_not_shown() -> None:
    line = "https://me:s3cretpass@packages.example/a.whl\x07"
    with pytest.raises(ConfigError) as caught:
        parse_conda({"dependencies": [{"pip": [line]}]})
    assert "s3cretpass" not in str(caught.value)
