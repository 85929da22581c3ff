"""Spark dependency files, such as Config/hdi_spark_dependencies.yml: Spark's settings for one kind of machine.

The form is that of the public sample: `configuration` (Spark settings), `repositories` (URLs) and `packages` (Maven
coordinates: group, artifact, version).
"""

from __future__ import annotations

import os
import re
from collections.abc import Hashable
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from loadcast.errors import ConfigError
from loadcast.spark.options import holds_secret, names_secret
from loadcast.system.small_files import read_small_file

_MAX_BYTES = 64 << 10
_SHOWN_FAULTS = 20
_PACKAGES, _REPOSITORIES = "spark.jars.packages", "spark.jars.repositories"
_NO_SECRETS = (
    "wanted no secret in this file. The key of storageAccount comes from the reference in storageKey, that of a "
    "datastore from the reference it was registered with"
)
_SETTING = re.compile(r"spark\.[A-Za-z0-9_][A-Za-z0-9_.-]*")
_REPOSITORY = re.compile(r"https://[^\s/@,?#]+(/[^\s@,?#]*)?")


def _value(value: object) -> str:
    """A setting's value as Spark takes it: text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value.isprintable():
        if holds_secret(value):
            raise ValueError(_NO_SECRETS)
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return str(value)
    if isinstance(value, float) and abs(value) < 1e15:
        return str(value)
    raise ValueError("wanted a text of one line, a number, or true or false")


def _setting(name: str) -> str:
    if not _SETTING.fullmatch(name):
        raise ValueError("wanted the name of a Spark setting, such as spark.executor.memory")
    if names_secret(name):
        raise ValueError(_NO_SECRETS)
    return name


def _repository(url: str) -> str:
    if not _REPOSITORY.fullmatch(url):
        raise ValueError("wanted an https:// address without user, key or comma")
    return url


def _none_is_empty(value: object, kind: type) -> object:
    return kind() if value is None else value  # a key with nothing after it


_Part = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=200)]
_Name = Annotated[str, AfterValidator(_setting)]
_Value = Annotated[str, BeforeValidator(_value)]
_Repository = Annotated[str, AfterValidator(_repository)]


class Package(BaseModel):
    """A library by its Maven coordinates."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    group: _Part
    artifact: _Part
    version: _Part


class SparkDependencies(BaseModel):
    """Spark settings, and the libraries that Spark is to fetch."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    configuration: Annotated[dict[_Name, _Value], BeforeValidator(lambda value: _none_is_empty(value, dict))] = {}
    repositories: Annotated[list[_Repository], BeforeValidator(lambda value: _none_is_empty(value, list))] = []
    packages: Annotated[list[Package], BeforeValidator(lambda value: _none_is_empty(value, list))] = []

    @model_validator(mode="after")
    def _check_said_once(self) -> SparkDependencies:
        for name, section in ((_PACKAGES, "packages"), (_REPOSITORIES, "repositories")):
            if name in self.configuration:
                raise ValueError(f"configuration.{name}: wanted under {section}")
        return self

    def settings(self) -> dict[str, str]:
        """All of it as Spark settings."""
        packages = ",".join(f"{package.group}:{package.artifact}:{package.version}" for package in self.packages)
        jars = {_PACKAGES: packages, _REPOSITORIES: ",".join(self.repositories)}
        return self.configuration | {name: value for name, value in jars.items() if value}


def load_spark_dependencies(path: str | os.PathLike[str]) -> dict[str, str]:
    """The Spark settings that a dependency file (YAML) stands for. Raises ConfigError that lists every fault."""
    try:
        content = read_small_file(path, _MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ConfigError(f"Spark dependencies {path} are larger than such a file can be, {_MAX_BYTES >> 10} kB.")
        data = yaml.load(content.decode("utf-8-sig"), _PlainLoader)
    except OSError as error:
        raise ConfigError(
            f"Spark dependencies {path}: {error.strerror}. "
            "Wanted a YAML file such as Config/dsvm_spark_dependencies.yml."
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"Spark dependencies {path} are not plain YAML: {_reason(error)}.") from error
    try:
        return SparkDependencies.model_validate({} if data is None else data).settings()
    except ValidationError as error:
        faults = [
            _fault(fault) for fault in error.errors(include_url=False, include_context=False, include_input=False)
        ]
    if len(faults) > _SHOWN_FAULTS:
        faults = [*faults[:_SHOWN_FAULTS], f"and {len(faults) - _SHOWN_FAULTS} more"]
    raise ConfigError(f"Spark dependencies {path} cannot be used:", *(f"  {fault}" for fault in faults))


class _PlainLoader(yaml.SafeLoader):
    """Plain values only; what stands for other parts of the file could make it grow without bounds, and is refused."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias (*name) stands in it; write the value itself")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        doubled = next((key for number, key in enumerate(keys) if key in keys[:number]), None)
        if doubled is not None:
            raise yaml.YAMLError(f"the key {str(doubled)[:100]!r} stands in it twice")
        return super().construct_mapping(node, deep)


def _reason(error: Exception) -> str:
    """Why YAML could not be read, on one line, without what stands in the file."""
    if isinstance(error, RecursionError):
        return "it is too deep"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        said = " ".join(filter(None, (error.context, error.problem)))
        return f"{said}, line {error.problem_mark.line + 1}"
    if type(error) is ValueError:  # as Python says it of a number of thousands of digits
        return "a number or date in it cannot be"
    return str(error).splitlines()[0][:200]


def _fault(fault: Any) -> str:
    """One fault as `place: what is wanted`; what was found is left out, as it may be a secret."""
    location = ".".join(str(part)[:100] for part in fault["loc"] if part != "[key]")
    if fault["type"] == "extra_forbidden":
        known = (Package if len(fault["loc"]) > 1 else SparkDependencies).model_fields
        wanted = f"an unknown key. Known keys: {', '.join(known)}"
    elif fault["type"] == "missing":
        wanted = "found nothing, wanted a value"
    elif fault["type"] == "string_type":
        wanted = "wanted text; put a number in quotes"
    elif fault["type"] == "string_pattern_mismatch":
        wanted = "wanted letters, digits, and the signs . _ -"
    else:
        wanted = str(fault["msg"]).removeprefix("Value error, ").replace("Input should be ", "wanted ")
    return f"{location}: {wanted}" if location else wanted
