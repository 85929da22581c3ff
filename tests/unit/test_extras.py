"""Parts that are not installed: named in one line, with the command that adds them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from loadcast.cli.common import friendly
from loadcast.errors import EnvironmentNotReadyError
from loadcast.extras import EXTRAS, missing_named, require

ROOT = Path(__file__).resolve().parents[2]
NAME = re.compile(r"^[a-z][\w-]*", re.MULTILINE)
MODULES = {
    "xgboost-cpu": "xgboost",
    "resvg-py": "resvg_py",
    "mlflow-skinny": "mlflow",
    "databricks-sdk": "databricks",
    "azure-synapse-spark": "azure.synapse.spark",
    "azure-ai-ml": "azure.ai.ml",
}


def test_each_requirement_of_an_extra_is_known() -> None:
    for extra, modules in EXTRAS.items():
        required = NAME.findall((ROOT / f"requirements-{extra}.in").read_text(encoding="utf-8"))
        assert {MODULES.get(name, name) for name in required} <= set(modules)


@pytest.mark.parametrize(("extra", "module"), [(extra, module) for extra in EXTRAS for module in EXTRAS[extra]])
def test_a_missing_part_is_named_with_its_command(extra: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # what is None there counts as not installed

    @click.command()
    @friendly
    def command() -> None:
        __import__(module)

    result = CliRunner().invoke(command)
    assert result.exit_code == EnvironmentNotReadyError.exit_code
    assert result.stderr == (
        f"loadcast: {module} is not installed, and this command needs it. Add it: pip install 'loadcast[{extra}]'\n"
    )


def test_a_namespace_that_only_an_extra_brings_is_its(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.ai", None)
    with pytest.raises(EnvironmentNotReadyError, match=r"loadcast\[amlcompute\]"), missing_named():
        __import__("azure.ai.ml")


def test_a_module_of_no_extra_is_not_blamed_on_one() -> None:
    with pytest.raises(ModuleNotFoundError), missing_named():
        __import__("no_such_module")


def test_what_is_installed_is_not_missed() -> None:
    require("spark")


def test_a_required_part_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadcast.extras.find_spec", lambda module: None if module == "numba" else module)
    with pytest.raises(EnvironmentNotReadyError, match=r"^numba is not installed.* pip install 'loadcast\[spark\]'$"):
        require("spark")
