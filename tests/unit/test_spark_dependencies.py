"""Spark dependency files: what they stand for, on the command line, and what is refused in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from loadcast.cli.common import friendly, spark_options
from loadcast.errors import ConfigError
from loadcast.spark.dependencies import load_spark_dependencies
from loadcast.spark.options import SparkOptions

SAMPLE = """\
configuration:
  "spark.app.name": "aml-bigdata-hdi"
  "spark.default.parallelism": 1295
  "spark.executor.memory": "36G"
  "spark.dynamicAllocation.enabled": false
  "spark.memory.fraction": 0.6
repositories:
  - "https://packages.example/maven"
packages:
  - group: "com.microsoft.ml.spark"
    artifact: "mmlspark_2.11"
    version: "0.7.9"
  - group: org.apache.hadoop
    artifact: hadoop-azure
    version: "3.5.0"
"""
SETTINGS = {
    "spark.app.name": "aml-bigdata-hdi",
    "spark.default.parallelism": "1295",
    "spark.executor.memory": "36G",
    "spark.dynamicAllocation.enabled": "false",
    "spark.memory.fraction": "0.6",
    "spark.jars.packages": "com.microsoft.ml.spark:mmlspark_2.11:0.7.9,org.apache.hadoop:hadoop-azure:3.5.0",
    "spark.jars.repositories": "https://packages.example/maven",
}
SECRET = "c2VjcmV0LWtleQ=="


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "spark.yml"
    path.write_text(SAMPLE)
    return path


def options_of(*arguments: str) -> SparkOptions:
    """What a command gets for its command line."""
    got: list[SparkOptions] = []

    @click.command()
    @spark_options
    @friendly
    def command(spark: SparkOptions) -> None:
        got.append(spark)

    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert (result.exit_code, result.output) == (0, "")
    return got[0]


def test_a_file_of_the_public_sample_is_read(file: Path) -> None:
    assert load_spark_dependencies(file) == SETTINGS


def test_the_documented_file_is_read(file: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "Docs" / "CONFIGURATION.md").read_text(encoding="utf-8")
    file.write_text(page.split("```yaml\n")[1].split("```")[0])
    assert load_spark_dependencies(file) == {
        "spark.executor.memory": "16g",
        "spark.dynamicAllocation.enabled": "false",
        "spark.jars.packages": "org.apache.hadoop:hadoop-azure:3.5.0",
    }


@pytest.mark.parametrize("text", ["", "# nothing\n", "configuration:\nrepositories:\npackages:\n", "packages: []\n"])
def test_an_empty_file_sets_nothing(file: Path, text: str) -> None:
    file.write_text(text)
    assert load_spark_dependencies(file) == {}


def test_the_file_becomes_sparks_settings(file: Path) -> None:
    assert options_of("--spark-dependencies", str(file)) == SparkOptions(None, False, SETTINGS)


def test_conf_wins_over_the_file(file: Path) -> None:
    options = options_of("--conf", "spark.executor.memory=1g", "--spark-dependencies", str(file))
    assert options.extra == {**SETTINGS, "spark.executor.memory": "1g"}


def test_a_master_in_the_file_counts_as_the_option_which_wins(file: Path) -> None:
    file.write_text("configuration: {spark.master: yarn}\n")
    assert options_of("--spark-dependencies", str(file)) == SparkOptions("yarn", False, {})
    assert options_of("--spark-dependencies", str(file), "--master", "local[1]").master == "local[1]"
    assert options_of("--conf", "spark.master=local[3]") == SparkOptions("local[3]", False, {})


def test_a_missing_file_is_one_message(tmp_path: Path) -> None:
    from loadcast.cli.main import main

    result = CliRunner().invoke(main, ["etl", "Config/demo.json", "--spark-dependencies", str(tmp_path / "none.yml")])
    assert (result.exit_code, result.stdout) == (ConfigError.exit_code, "")
    assert "none.yml: No such file or directory. Wanted a YAML file" in result.stderr
    assert "Traceback" not in result.stderr


def bomb(levels: int) -> str:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a list", "wanted a valid dictionary"),
        ("just text", "wanted a valid dictionary"),
        ("configuration: [1]", "configuration: wanted a valid dictionary"),
        ("packages: {group: a}", "packages: wanted a valid list"),
        ("conf: {}", "conf: an unknown key. Known keys: configuration, repositories, packages"),
        ("configuration: {executor.memory: 1g}", "wanted the name of a Spark setting"),
        ("configuration: {spark.a b: 1}", "wanted the name of a Spark setting"),
        ("configuration: {5: 1}", "configuration.5: wanted text; put a number in quotes"),
        ("configuration: {spark.a: [1]}", "configuration.spark.a: wanted a text of one line"),
        ("configuration: {spark.a: null}", "configuration.spark.a: wanted a text of one line"),
        ("configuration: {spark.a: 2016-06-01}", "configuration.spark.a: wanted a text of one line"),
        ("configuration: {spark.a: .inf}", "configuration.spark.a: wanted a text of one line"),
        ("configuration: {spark.a: .nan}", "configuration.spark.a: wanted a text of one line"),
        (f"configuration: {{spark.a: 0x{'f' * 30_000}}}", "configuration.spark.a: wanted a text of one line"),
        ('configuration: {spark.a: "x\\ny"}', "configuration.spark.a: wanted a text of one line"),
        ("configuration: {spark.a: 1, spark.a: 2}", "the key 'spark.a' stands in it twice"),
        ("packages: []\npackages: []", "the key 'packages' stands in it twice"),
        ("configuration: {spark.jars.packages: 'a:b:1'}", "configuration.spark.jars.packages: wanted under packages"),
        ("configuration: {spark.jars.repositories: 'x'}", "wanted under repositories"),
        ("packages: ['a:b:1']", "packages.0: wanted a valid dictionary"),
        ("packages: [{group: a, artifact: b}]", "packages.0.version: found nothing, wanted a value"),
        (
            "packages: [{group: a, artifact: b, version: 3.5}]",
            "packages.0.version: wanted text; put a number in quotes",
        ),
        ("packages: [{group: a, artifact: b, version: '1', type: jar}]", "Known keys: group, artifact, version"),
        ("packages: [{group: 'a,b:c', artifact: b, version: '1'}]", "packages.0.group: wanted letters, digits"),
        ("packages: [{group: '../a', artifact: b, version: '1'}]", "packages.0.group: wanted letters, digits"),
        ("packages: [{group: a, artifact: '', version: '1'}]", "packages.0.artifact: wanted letters, digits"),
        ("repositories: ['http://packages.example']", "repositories.0: wanted an https:// address"),
        ("repositories: ['https://me:pw@packages.example']", "repositories.0: wanted an https:// address"),
        ("repositories: ['https://a.example,https://b.example']", "repositories.0: wanted an https:// address"),
        ("repositories: ['https://a.example/m?sig=x']", "repositories.0: wanted an https:// address"),
        ("configuration: {spark.a: &x 1, spark.b: *x}", r"an alias \(\*name\) stands in it"),
        (bomb(9), r"an alias \(\*name\) stands in it"),
        ("configuration: &c {spark.a: 1}\npackages: &c *c", "is not plain YAML"),
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("configuration: !!python/name:os.system {}", "could not determine a constructor"),
        ("configuration: {spark.a: !!binary aGk=}", "configuration.spark.a: wanted a text of one line"),
        ("configuration: {spark.a: !!timestamp x}", "a tag .* does not fit"),
        ("configuration: !!set {spark.a}", "configuration: wanted a valid dictionary"),
        ("configuration: {? [1, 2] : 3}", "is not plain YAML"),
        ("a: b: c", "mapping values are not allowed here, line 1"),
        ("{", "is not plain YAML"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("\x00", "is not plain YAML"),
        ("[" * 30_000, "it is too deep"),
        (f"configuration: {{spark.a: {'9' * 30_000}}}", "is not plain YAML|wanted a text of one line"),
        ("x" * (64 << 10) + "x", "larger than such a file can be, 64 kB"),
        ("configuration: {" + ", ".join(f"a{n}: 1" for n in range(100)) + "}", "and 80 more"),
    ],
)
def test_a_faulty_or_hostile_file_is_one_error(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        load_spark_dependencies(file)
    assert len(str(caught.value)) < 20_000


def test_bytes_that_are_no_text_are_one_error(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigError, match="is not plain YAML"):
        load_spark_dependencies(file)


def test_a_folder_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        load_spark_dependencies(tmp_path)


@pytest.mark.parametrize(
    "setting",
    [
        "spark.hadoop.fs.azure.account.key.mine.blob.core.windows.net",
        "spark.hadoop.fs.azure.sas.data.mine.blob.core.windows.net",
        "spark.hadoop.fs.azure.sas.fixed.token.mine.dfs.core.windows.net",
        "spark.hadoop.fs.azure.account.oauth2.client.secret",
        "spark.hadoop.fs.s3a.secret.key",
        "spark.hadoop.fs.s3a.access.key",
        "spark.ssl.keyPassword",
    ],
)
def test_a_secret_is_refused_and_not_shown(file: Path, setting: str) -> None:
    file.write_text(yaml.safe_dump({"configuration": {setting: SECRET}}))
    with pytest.raises(ConfigError, match="wanted no secret in this file") as caught:
        load_spark_dependencies(file)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("value", [f"https://a.example/x?sv=1&sig={SECRET}", f"AccountName=a;AccountKey={SECRET}"])
def test_a_secret_in_a_value_is_refused_and_not_shown(file: Path, value: str) -> None:
    file.write_text(yaml.safe_dump({"configuration": {"spark.jars": value}}))
    with pytest.raises(ConfigError, match="wanted no secret in this file") as caught:
        load_spark_dependencies(file)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("spark.hadoop.fs.azure.account.keyprovider.mine.dfs.core.windows.net", "a.b.Provider"),
        ("spark.hadoop.fs.azure.account.oauth.provider.type", "a.b.Provider"),
        ("spark.kubernetes.authenticate.driver.oauthTokenFile", "/var/token"),
        ("spark.security.credentials.hive.enabled", "false"),
    ],
)
def test_settings_that_say_where_a_secret_is_are_taken(file: Path, setting: str, value: Any) -> None:
    file.write_text(yaml.safe_dump({"configuration": {setting: value}}))
    assert load_spark_dependencies(file) == {setting: value}
