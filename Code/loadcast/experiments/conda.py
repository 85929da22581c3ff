"""Conda files, such as Config/conda_dependencies.yml: the packages that a script needs."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, PlainValidator

from loadcast.errors import ConfigError
from loadcast.experiments.fields import CONFIG, Text, validated
from loadcast.experiments.yaml_files import read_mapping

_KIND, _EXAMPLE = "Conda file", "Config/conda_dependencies.yml"
_PYTHON = re.compile(r"(?:[^\s:]+::)?python(?![\w.-])\s*(.*)")


def _requirement(value: str) -> str:
    """A line without the spaces around it, one between its words."""
    if not value.isprintable() or not value.strip():
        raise ValueError("wanted a package on one line, without control characters")
    return " ".join(value.split())


def _dependency(value: object) -> str | tuple[str, ...]:
    """A package of conda's, or those of the list `pip`."""
    if isinstance(value, dict):
        if list(value) != ["pip"] or not isinstance(value["pip"], list):
            raise ValueError("wanted a package, or pip: with a list of packages")
        return tuple(_text(line) for line in value["pip"])
    return _text(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("wanted packages as text, such as numpy==2.4.6")
    return _requirement(value)


_Requirement = Annotated[Text, AfterValidator(_requirement)]


class _CondaFile(BaseModel):
    model_config = CONFIG

    name: Text | None = None
    channels: list[_Requirement] = Field(default_factory=list)
    dependencies: list[Annotated[str | tuple[str, ...], PlainValidator(_dependency)]]


@dataclass(frozen=True)
class Environment:
    """The packages of a conda file, in its order: `python` is a version or a constraint, None for any.

    `conda` has the other packages from `channels`, `pip` what pip is to install.
    """

    python: str | None
    conda: tuple[str, ...]
    pip: tuple[str, ...]
    channels: tuple[str, ...] = ()

    def content_hash(self) -> str:
        """64 hexadecimal digits, the same for the same packages in whatever order, spacing and words around them.

        The order of channels counts: the first that has a package gives it. A file that a line of pip's names counts
        by its name.
        """
        content = {
            "python": self.python,
            "conda": sorted(set(self.conda)),
            "pip": sorted(set(self.pip)),
            "channels": self.channels,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode("utf-8")).hexdigest()


def read_conda(path: str | os.PathLike[str]) -> Environment:
    """The packages of a conda file. Raises ConfigError that names the file, the line, what was found and wanted."""
    source = f"{_KIND} {path}"
    return parse_conda(read_mapping(path, _KIND, _EXAMPLE), source)


def parse_conda(data: dict[str, Any], source: str = _KIND) -> Environment:
    """The packages of a conda file's fields. Raises ConfigError."""
    file = validated(_CondaFile, data, source)
    named = [item for item in file.dependencies if isinstance(item, str)]
    pythons = [match for item in named if (match := _PYTHON.fullmatch(item))]
    if len(pythons) > 1:
        raise ConfigError(f"{source}: dependencies: found python {len(pythons)} times, wanted it once.")
    return Environment(
        python=_version(pythons[0][1]) if pythons else None,
        conda=tuple(item for item in named if not _PYTHON.fullmatch(item)),
        pip=tuple(line for item in file.dependencies if isinstance(item, tuple) for line in item),
        channels=tuple(file.channels),
    )


def _version(constraint: str) -> str | None:
    """`=3.11`, and `=3.11=BUILD`, as 3.11; a constraint such as >=3.11,<3.13 as it is."""
    fuzzy = re.fullmatch(r"=(?!=)\s*([^=]+)(?:=.*)?", constraint)
    return (fuzzy[1].strip() if fuzzy else constraint) or None
