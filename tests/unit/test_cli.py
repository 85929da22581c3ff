"""The command line: help, errors in one message, exit codes; nothing here starts Spark."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import commands
from loadcast import __version__
from loadcast.cli.demo import Demo
from loadcast.cli.main import main
from loadcast.errors import ConfigError, InputError
from loadcast.settings import DEMO_SERVERS

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("etl", "train", "O16Npreprocessing", "webservice", "scoring_webservice", "download_model")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    values = {"dataFile": str(tmp_path / "none" / "*.csv"), "duration": "ONE_MONTH", "output": str(tmp_path / "output")}
    path.write_text(json.dumps(values))
    return path


def test_version_is_the_packages() -> None:
    assert CliRunner().invoke(main, ["--version"]).output == f"loadcast, version {__version__}\n"


@pytest.mark.parametrize("words", commands.lines(main), ids=" ".join)
def test_each_command_has_a_help_text(words: list[str]) -> None:
    result = CliRunner().invoke(main, [*words, "--help"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 5
    assert "--debug" in result.output


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_entry_script_shows_its_help(script: str) -> None:
    command = [sys.executable, str(ROOT / "Code" / f"{script}.py"), "--help"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "Usage:" in result.stdout
    assert result.stderr == ""


def test_a_missing_input_is_one_message_with_its_exit_code(config: Path) -> None:
    result = CliRunner().invoke(main, ["etl", str(config)])
    assert result.exit_code == InputError.exit_code
    assert result.stderr.startswith("loadcast: dataFile ")
    assert "Traceback" not in result.output


def test_debug_shows_the_traceback_with_the_same_exit_code(config: Path) -> None:
    result = CliRunner().invoke(main, ["etl", str(config), "--debug"])
    assert result.exit_code == InputError.exit_code
    assert result.stderr.startswith("Traceback")
    assert "loadcast.errors.InputError: dataFile " in result.stderr.splitlines()[-2]


def test_a_faulty_configuration_names_the_key(config: Path) -> None:
    config.write_text(json.dumps({**json.loads(config.read_text()), "lowTreshold": 3}))
    result = CliRunner().invoke(main, ["train", str(config)])
    assert result.exit_code == ConfigError.exit_code
    assert "lowTreshold: an unknown key" in result.stderr


def test_training_before_etl_says_what_to_run(config: Path) -> None:
    result = CliRunner().invoke(main, ["train", str(config)])
    assert "Run python Code/etl.py CONFIG first" in result.stderr


def test_export_without_a_model_says_what_to_run(config: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["export", str(config), str(tmp_path / "bundle")])
    assert "holds no published model" in result.stderr


def test_filter_ip_takes_no_other_word(config: Path) -> None:
    assert CliRunner().invoke(main, ["etl", str(config), "TRUE"]).exit_code == 2


def test_a_spark_setting_without_a_value_is_refused(config: Path) -> None:
    result = CliRunner().invoke(main, ["etl", str(config), "--conf", "spark.driver.memory"])
    assert "wanted KEY=VALUE" in result.stderr


def test_the_readme_has_a_line_for_each_command() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    typed = ["loadcast " + " ".join(words) for words in commands.lines(main)]
    assert [command for command in typed if not re.search(rf"{command}[ `\n]", page)] == []


def commands_of_demo(in_clone: bool) -> list[str]:
    demo = Demo(ROOT, in_clone)
    steps = [*demo.steps(), demo.service_step("output/demo"), demo.forecast_step("http://x")]
    return [" ".join(command) for _, command in steps]


def test_the_demo_runs_the_commands_of_the_readme() -> None:
    shown = commands_of_demo(in_clone=True)
    assert [text.split(" ")[1] for text in shown[1:]] == [
        "Code/etl.py",
        "Code/etl.py",
        "Code/train.py",
        "Code/webservice.py",
        "Code/scoring_webservice.py",
    ]
    assert all(server in shown[-1] for server in DEMO_SERVERS)


def test_outside_a_clone_the_demo_runs_subcommands() -> None:
    shown = [text.split(" ")[:2] for text in commands_of_demo(in_clone=False)]
    assert shown == [["loadcast", name] for name in ("sample", "etl", "etl", "train", "serve", "score")]


_HELP_OF_ALL = """
import sys
from click.testing import CliRunner
from loadcast.cli.main import main
for words in sys.argv[1:]:
    result = CliRunner().invoke(main, [*words.split(), "--help"])
    assert result.exit_code == 0, (words, result.output)
print(*sorted({name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)))
"""


def test_help_imports_click_and_nothing_slow() -> None:
    words = ["", *(" ".join(words) for words in commands.lines(main))]
    done = subprocess.run(
        [sys.executable, "-I", "-c", _HELP_OF_ALL, *words], capture_output=True, text=True, check=True
    )
    slow = {"pandas", "pyspark", "pyarrow", "numpy", "numba", "pydantic", "flask", "requests", "azure", "rich"}
    assert slow & set(done.stdout.split()) == set()


def test_a_command_imports_no_other_commands() -> None:
    code = "import sys; from loadcast.cli.main import main; main.get_command(None, 'serve'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if name.startswith("loadcast.cli.")}
    assert loaded == {f"loadcast.cli.{name}" for name in ("main", "common", "logs", "usage", "serve")}


def test_an_unknown_command_is_told() -> None:
    result = CliRunner().invoke(main, ["srve"])
    assert (result.exit_code, "No such command 'srve'" in result.stderr) == (2, True)
