"""Run configurations: `aml_config/NAME.runconfig`, which says how a script runs, with the public sample's fields."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_pascal

from loadcast.errors import ConfigError
from loadcast.experiments.fields import (
    CONFIG,
    FOLDER,
    NAME,
    ListAsTuple,
    PathText,
    Text,
    checked_name,
    inside,
    matching,
    validated,
)
from loadcast.experiments.yaml_files import read_mapping, write_mapping
from loadcast.secrets import is_reference, redacted, shown, vault_secret

SUFFIX = ".runconfig"
#: In an ArgumentVector it stands for the script that is submitted, and its arguments.
FILE = "$file"
CONDA_DEPENDENCIES = f"{FOLDER}/conda_dependencies.yml"
SPARK_DEPENDENCIES = f"{FOLDER}/spark_dependencies.yml"
_KIND, _EXAMPLE = "Run configuration", "aml_config/local.runconfig"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]{0,199}"
_NAMES_SECRET = re.compile(r"(?i)(?:^|_|ACCESS|ACCOUNT|STORAGE|API)(?:KEY|SECRET|PASSWORD|PASSWD|TOKEN|SAS)$")


def _word(value: str) -> str:
    """A word of a command line, which may hold anything but NUL."""
    if "\0" in value:
        raise ValueError("wanted text without NUL characters")
    return value


def _argument(value: str) -> str:
    if redacted(value) != value:
        raise ValueError(
            "wanted no secret on a command line; put a reference, env:NAME or file:PATH, into EnvironmentVariables"
        )
    return value


_Word = Annotated[Text, AfterValidator(_word)]
_Argument = Annotated[_Word, AfterValidator(_argument)]
_ProjectFile = Annotated[PathText, inside("a path below the project's folder, such as Config/conda_dependencies.yml")]
_Variable = Annotated[str, matching(_VARIABLE, "a variable's name: letters, digits and _")]
_Target = Annotated[Text, matching(NAME, "the name of a compute target")]


class RunConfig(BaseModel):
    """How a script runs on its target.

    Values of `environment_variables` may be references, `env:NAME`, `file:PATH` or `keyvault:NAME`, and have to be
    where they are secrets. Files are paths below the project; None is the one in aml_config, if there is one.
    """

    model_config = ConfigDict(**CONFIG, alias_generator=to_pascal)

    argument_vector: Annotated[tuple[_Argument, ...], ListAsTuple, Field(min_length=1)] = (FILE,)
    target: _Target
    framework: Literal["Python", "PySpark"] = "PySpark"
    conda_dependencies_file: _ProjectFile | None = None
    spark_dependencies_file: _ProjectFile | None = None
    environment_variables: dict[_Variable, _Word] | None = Field(None, repr=False)
    prepare_environment: bool = True
    tracked_run: bool = True
    use_sampling: bool = True

    @field_validator("argument_vector")
    @classmethod
    def _check_file_once(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if words.count(FILE) > 1:
            raise ValueError(f"wanted {FILE} once at most")
        return words

    @model_validator(mode="after")
    def _check_secrets(self) -> RunConfig:
        for name, value in (self.environment_variables or {}).items():
            is_secret = _NAMES_SECRET.search(name) is not None or redacted(value) != value
            if is_secret and value and not (is_reference(value) or vault_secret(value)):
                raise ValueError(
                    f"EnvironmentVariables.{name}: wanted env:NAME or file:PATH, which say where the secret is, never "
                    "the secret itself"
                )
        return self

    @property
    def variables(self) -> dict[str, str]:
        """The script's variables that stand in the file."""
        given = (self.environment_variables or {}).items()
        return {name: value for name, value in given if not (is_reference(value) or vault_secret(value))}

    @property
    def references(self) -> dict[str, str]:
        """Its variables that are references to secrets."""
        return {name: value for name, value in (self.environment_variables or {}).items() if is_reference(value)}

    @property
    def vault_secrets(self) -> dict[str, str]:
        """Its variables that are secrets of a Key Vault, which the target reads for itself: the secrets' names."""
        given = (self.environment_variables or {}).items()
        return {name: secret for name, value in given if (secret := vault_secret(value))}

    def command(self, script: str | None = None, arguments: Sequence[str] = ()) -> tuple[str, ...]:
        """The script to run and its arguments, from the project's folder.

        Raises ConfigError where a script is wanted and none given, or given where the configuration names its own.
        """
        index = self.argument_vector.index(FILE) if FILE in self.argument_vector else None
        if index is None and script is not None:
            raise ConfigError(
                f"Found the script {shown(repr(script), 100)}, and the ArgumentVector names its own. "
                f"Wanted {FILE} in it, where the script and its arguments go."
            )
        if index is None:
            return self.argument_vector
        if script is None:
            raise ConfigError(f"Found no script, and {FILE} in the ArgumentVector. Name the script to run.")
        return (*self.argument_vector[:index], script, *arguments, *self.argument_vector[index + 1 :])

    def conda_file(self, project: Path) -> Path | None:
        """The conda file; None where none is named and aml_config has none. Raises ConfigError for a missing one."""
        return _dependencies(project, "CondaDependenciesFile", self.conda_dependencies_file, CONDA_DEPENDENCIES)

    def spark_file(self, project: Path) -> Path | None:
        """The file of Spark's settings, likewise."""
        return _dependencies(project, "SparkDependenciesFile", self.spark_dependencies_file, SPARK_DEPENDENCIES)

    def document(self) -> dict[str, Any]:
        """The fields as they stand in the file."""
        return self.model_dump(mode="json", by_alias=True)


def parse_runconfig(data: Mapping[str, Any], source: str = _KIND) -> RunConfig:
    """A run configuration of a file's fields. Raises ConfigError that names the source and each fault."""
    return validated(RunConfig, data, source)


def runconfig_path(project: Path, name: str) -> Path:
    """The file of a run configuration. Raises ConfigError for what can be no name."""
    return project / FOLDER / f"{checked_name(name, _KIND)}{SUFFIX}"


def read_runconfig(project: Path, name_or_path: str) -> RunConfig:
    """The run configuration of that name in aml_config, or in a file: what has a slash, or ends with .runconfig.

    A relative path counts from the project's folder. Raises ConfigError.
    """
    is_path = os.sep in name_or_path or name_or_path.endswith(SUFFIX)
    path = project / name_or_path if is_path else runconfig_path(project, name_or_path)
    return parse_runconfig(read_mapping(path, _KIND, _EXAMPLE), f"{_KIND} {path}")


def list_runconfigs(project: Path) -> dict[str, RunConfig]:
    """The run configurations of aml_config that can be read, by name."""
    configs = {}
    for path in sorted((project / FOLDER).glob(f"*{SUFFIX}")):
        name = path.name.removesuffix(SUFFIX)
        try:
            configs[name] = read_runconfig(project, checked_name(name, _KIND))
        except ConfigError:
            continue  # whoever uses it is told
    return configs


def write_runconfig(project: Path, name: str, config: RunConfig) -> Path:
    """Write a run configuration's file, in place of another of that name, and return its path.

    Raises ConfigError, OutputError.
    """
    path = runconfig_path(project, name)
    write_mapping(
        path,
        config.document(),
        "A run configuration: Docs/EXPERIMENTS.md of loadcast says what each field means.\n"
        f"{FILE} stands for the script that is submitted, and its arguments.",
    )
    return path


def _dependencies(project: Path, field: str, given: str | None, default: str) -> Path | None:
    path = project / (given or default)
    if path.is_file():
        return path
    if given is None:
        return None
    raise ConfigError(f"{field}: found no file {path}, wanted a path below the project's folder, or null.")
