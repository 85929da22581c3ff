"""Spark dependency files, such as Config/hdi_spark_dependencies.yml: Spark's settings for one kind of machine.

The form is that of the public sample: `configuration` (Spark settings), `repositories` (URLs) and `packages` (Maven
coordinates: group, artifact, version).
"""

from __future__ import annotations

import os
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from loadcast.errors import ConfigError
from loadcast.plain_yaml import read_yaml
from loadcast.spark.options import holds_secret, names_secret

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
    data = read_yaml(path, "Spark dependencies", "Config/dsvm_spark_dependencies.yml")
    try:
        return SparkDependencies.model_validate({} if data is None else data).settings()
    except ValidationError as error:
        faults = [
            _fault(fault) for fault in error.errors(include_url=False, include_context=False, include_input=False)
        ]
    if len(faults) > _SHOWN_FAULTS:
        faults = [*faults[:_SHOWN_FAULTS], f"and {len(faults) - _SHOWN_FAULTS} more"]
    raise ConfigError(f"Spark dependencies {path} cannot be used:", *(f"  {fault}" for fault in faults))


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
