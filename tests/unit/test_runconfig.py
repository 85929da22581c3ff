"""Run configurations: the public sample's fields, the words of a command line, no secret, no file elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadcast.errors import ConfigError
from loadcast.experiments.compute import list_compute
from loadcast.experiments.runconfig import (
    RunConfig,
    list_runconfigs,
    parse_runconfig,
    read_runconfig,
    write_runconfig,
)
from loadcast.experiments.yaml_files import read_mapping
from loadcast.spark.dependencies import load_spark_dependencies

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = """\
ArgumentVector:
- $file
CondaDependenciesFile: Config/conda_dependencies.yml
EnvironmentVariables: null
Framework: PySpark
PrepareEnvironment: true
SparkDependenciesFile: Config/dsvm_spark_dependencies.yml
Target: dockerdsvm
TrackedRun: true
UseSampling: true
"""
HOSTILE = ["a b", "a'b", 'a"b', ";", "a\nb", "$(x)", "-x", "--", "", "ä", "\x1b[31m", "{}", "*"]


def refused(fields: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_runconfig({"Target": "x", **fields}, "Run configuration x")
    message = str(caught.value)
    assert message.startswith("Run configuration x")
    assert all(line.isprintable() for line in message.splitlines())
    return message


def config(**fields: Any) -> RunConfig:
    return parse_runconfig({"Target": "x", **fields})


def test_a_file_of_the_public_sample_is_read_and_written(tmp_path: Path) -> None:
    folder = tmp_path / "aml_config"
    folder.mkdir()
    (folder / "dockerdsvm.runconfig").write_text(SAMPLE)
    read = read_runconfig(tmp_path, "dockerdsvm")
    assert (read.target, read.framework, read.prepare_environment) == ("dockerdsvm", "PySpark", True)
    assert read.document() == read_mapping(folder / "dockerdsvm.runconfig")


def test_what_is_not_written_has_a_default() -> None:
    assert config().document() == {
        "ArgumentVector": ["$file"],
        "Target": "x",
        "Framework": "PySpark",
        "CondaDependenciesFile": None,
        "SparkDependenciesFile": None,
        "EnvironmentVariables": None,
        "PrepareEnvironment": True,
        "TrackedRun": True,
        "UseSampling": True,
    }


def test_the_file_stands_for_script_and_arguments() -> None:
    assert config().command("etl.py", ["a", "b"]) == ("etl.py", "a", "b")
    around = config(ArgumentVector=["wrapper.py", "$file", "--last"])
    assert around.command("etl.py", ["a"]) == ("wrapper.py", "etl.py", "a", "--last")
    assert config(ArgumentVector=["own.py", 234, "-v"]).command() == ("own.py", "234", "-v")


@given(arguments=st.lists(st.sampled_from(HOSTILE) | st.text(max_size=20), max_size=5))
def test_arguments_stay_as_they_are(arguments: list[str]) -> None:
    assert config(ArgumentVector=["a", "$file", "z"]).command("s.py", arguments) == ("a", "s.py", *arguments, "z")


def test_hostile_words_may_stand_in_the_vector() -> None:
    assert config(ArgumentVector=["own.py", *HOSTILE]).command() == ("own.py", *HOSTILE)


def test_a_script_is_named_once() -> None:
    with pytest.raises(ConfigError, match=r"Found no script, and \$file in the ArgumentVector"):
        config().command()
    with pytest.raises(ConfigError, match=r"Found the script 'etl.py', and the ArgumentVector names its own"):
        config(ArgumentVector=["own.py"]).command("etl.py")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"Target": None}, "Target: found nothing, wanted a value"),
        ({"Target": "../x"}, "Target: found '../x', wanted the name of a compute target"),
        ({"Target": "-x"}, "wanted the name of a compute target"),
        ({"Framework": "pyspark"}, "Framework: found 'pyspark', wanted 'Python' or 'PySpark'"),
        ({"ArgumentVector": []}, "ArgumentVector: found [], wanted at least one"),
        ({"ArgumentVector": "$file"}, "ArgumentVector: found '$file', wanted a list"),
        ({"ArgumentVector": ["$file", "$file"]}, "wanted $file once at most"),
        ({"ArgumentVector": ["a\0"]}, "ArgumentVector.0: found 'a\\x00', wanted text without NUL"),
        ({"ArgumentVector": [True]}, "ArgumentVector.0: found True, wanted text"),
        ({"ArgumentVector": [["a"]]}, "ArgumentVector.0: found ['a'], wanted text"),
        ({"PrepareEnvironment": "yes"}, "PrepareEnvironment: found 'yes', wanted true or false"),
        ({"CondaDependenciesFile": "/etc/x.yml"}, "wanted a path below the project's folder"),
        ({"CondaDependenciesFile": "../x.yml"}, "wanted a path below the project's folder"),
        ({"CondaDependenciesFile": "a/../../x.yml"}, "wanted a path below the project's folder"),
        ({"SparkDependenciesFile": "~/x.yml"}, "wanted a path below the project's folder"),
        ({"SparkDependenciesFile": "-x.yml"}, "wanted a path without control characters"),
        ({"EnvironmentVariables": ["A=1"]}, "EnvironmentVariables: wanted a mapping of names and values"),
        ({"EnvironmentVariables": {"A B": "1"}}, "EnvironmentVariables.A B: wanted a variable's name"),
        ({"EnvironmentVariables": {"1A": "1"}}, "wanted a variable's name"),
        ({"EnvironmentVariables": {"A=B": "1"}}, "wanted a variable's name"),
        ({"EnvironmentVariables": {"A": "x\0"}}, "EnvironmentVariables.A: wanted text without NUL"),
        ({"EnvironmentVariables": {"A": True}}, "EnvironmentVariables.A: wanted text"),
        ({"argumentVector": []}, "the nearest known field is ArgumentVector"),
        ({"CondaDependencyFile": "x"}, "the nearest known field is CondaDependenciesFile"),
        ({"EnvironmentVariable": {}}, "the nearest known field is EnvironmentVariables"),
        ({"zzz": 1}, "known fields: ArgumentVector, Target, Framework"),
    ],
)
def test_a_fault_says_what_was_found_and_wanted(fields: dict[str, Any], said: str) -> None:
    assert said in refused(fields)


def test_the_target_has_to_be_named() -> None:
    with pytest.raises(ConfigError, match="Target: found nothing, wanted a value"):
        parse_runconfig({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AZURE_STORAGE_KEY", "hunter22"),
        ("MY_PASSWORD", "hunter22"),
        ("token", "hunter22"),
        ("ACCOUNTKEY", "hunter22"),
        ("SETTING", "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=hunter22"),
        ("URL", "https://a.blob.core.windows.net/data?sv=1&sig=hunter22"),
        ("A B", "hunter22"),
    ],
)
def test_a_secret_is_a_reference_and_else_not_shown(name: str, value: str) -> None:
    assert "hunter22" not in refused({"EnvironmentVariables": {name: value}})


def test_a_secret_on_the_command_line_is_refused_and_not_shown() -> None:
    message = refused({"ArgumentVector": ["own.py", "https://a.example/data?sv=1&sig=hunter22"]})
    assert "wanted no secret on a command line" in message
    assert "hunter22" not in message


def test_references_and_plain_values_are_taken() -> None:
    variables = {"AZURE_STORAGE_KEY": "env:KEY", "MY_TOKEN": "file:/run/token", "TZ": "UTC", "MONKEY": "x", "A_KEY": ""}
    assert config(EnvironmentVariables={**variables, "N": 5}).environment_variables == {**variables, "N": "5"}


def test_no_value_of_a_variable_is_in_the_repr() -> None:
    assert "hunter22" not in repr(config(EnvironmentVariables={"A": "hunter22"}))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project")


_WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0$"), max_size=12)
_FILES = st.none() | st.sampled_from(["Config/a.yml", "a b;c.yml", "ä.yml"])


@given(
    fields=st.fixed_dictionaries(
        {
            "Target": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
            "ArgumentVector": st.lists(_WORDS, min_size=1, max_size=4).map(lambda words: [*words, "$file"]),
            "Framework": st.sampled_from(["Python", "PySpark"]),
            "CondaDependenciesFile": _FILES,
            "SparkDependenciesFile": _FILES,
            "EnvironmentVariables": st.none() | st.dictionaries(st.from_regex(r"[A-Z]{1,3}", fullmatch=True), _WORDS),
            "PrepareEnvironment": st.booleans(),
            "TrackedRun": st.booleans(),
            "UseSampling": st.booleans(),
        }
    )
)
def test_a_configuration_is_read_as_it_was_written(project: Path, fields: dict[str, Any]) -> None:
    try:
        written = parse_runconfig(fields)
    except ConfigError:
        return  # a variable that is called KEY or SAS
    write_runconfig(project, "any", written)
    assert read_runconfig(project, "any") == written


def test_a_configuration_is_found_by_name_and_by_path(tmp_path: Path) -> None:
    path = write_runconfig(tmp_path, "one", config(Framework="Python"))
    other = tmp_path / "elsewhere.runconfig"
    path.rename(other)
    for name in ("elsewhere.runconfig", str(other), "./elsewhere.runconfig"):
        assert read_runconfig(tmp_path, name).framework == "Python"
    with pytest.raises(ConfigError, match=r"one\.runconfig: No such file or directory\. Wanted a YAML file such as"):
        read_runconfig(tmp_path, "one")
    with pytest.raises(ConfigError, match="wanted a name of up to 64 letters"):
        read_runconfig(tmp_path, "-one")


def test_the_files_of_packages_are_those_named_else_those_of_aml_config(tmp_path: Path) -> None:
    assert config().conda_file(tmp_path) is None
    assert config().spark_file(tmp_path) is None
    folder = tmp_path / "aml_config"
    folder.mkdir()
    for name in ("conda_dependencies.yml", "spark_dependencies.yml", "other.yml"):
        (folder / name).write_text("")
    assert config().conda_file(tmp_path) == folder / "conda_dependencies.yml"
    assert config().spark_file(tmp_path) == folder / "spark_dependencies.yml"
    assert config(CondaDependenciesFile="aml_config/other.yml").conda_file(tmp_path) == folder / "other.yml"
    with pytest.raises(ConfigError, match=r"SparkDependenciesFile: found no file .*none\.yml"):
        config(SparkDependenciesFile="none.yml").spark_file(tmp_path)


def test_the_list_leaves_out_what_cannot_be_read(tmp_path: Path) -> None:
    write_runconfig(tmp_path, "good", config())
    (tmp_path / "aml_config" / "broken.runconfig").write_text("Target: [")
    assert list(list_runconfigs(tmp_path)) == ["good"]


def test_the_shipped_configurations_name_targets_and_files_that_are_there() -> None:
    configs = list_runconfigs(ROOT)
    targets = [entry.name for entry in list_compute(ROOT)]
    assert list(configs) == ["docker", "local"] == [config.target for config in configs.values()] == targets
    assert all(config.conda_file(ROOT) and config.spark_file(ROOT) for config in configs.values())
    assert load_spark_dependencies(ROOT / "aml_config" / "spark_dependencies.yml") == {}


@pytest.mark.parametrize("name", ["dsvm", "hdi"])
def test_a_template_can_be_used_once_it_is_filled_in(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.runconfig"
    path.write_text((ROOT / "aml_config" / f"{name}.runconfig.template").read_text())
    with pytest.raises(ConfigError, match="Target: found '<name>', wanted the name of a compute target"):
        read_runconfig(tmp_path, "x.runconfig")
    path.write_text(path.read_text().replace("<name>", "mine"))
    filled = read_runconfig(tmp_path, "x.runconfig")
    assert filled.conda_file(ROOT) == ROOT / "Config" / "conda_dependencies.yml"
    assert filled.spark_file(ROOT) == ROOT / "Config" / f"{name}_spark_dependencies.yml"
    assert filled.environment_variables == {"AZURE_STORAGE_KEY": "env:AZURE_STORAGE_KEY"}
