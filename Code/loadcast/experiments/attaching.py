"""Compute targets come and go: both files are written when one is attached, and removed when it is detached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadcast.errors import ConfigError, OutputError
from loadcast.experiments.compute import (
    DEFAULT_AML_IMAGE,
    DEFAULT_IMAGE,
    FIELDS,
    ComputeTarget,
    compute_path,
    parse_compute,
    read_compute,
    write_compute,
)
from loadcast.experiments.connections import check_connection, check_facts
from loadcast.experiments.runconfig import (
    RunConfig,
    list_runconfigs,
    parse_runconfig,
    runconfig_path,
    write_runconfig,
)

_CONDA_FILE = "Config/conda_dependencies.yml"
#: Spark's settings for one virtual machine, and for a cluster; other targets have those of aml_config, if any.
_SPARK_FILES = {
    "remotedocker": "Config/dsvm_spark_dependencies.yml",
    "cluster": "Config/hdi_spark_dependencies.yml",
}
#: Types whose scripts run with what is there: loadcast's interpreter, a pool's packages.
_OWN_ENVIRONMENT = ("local", "synapse")


@dataclass(frozen=True)
class Attached:
    """A target that was attached: the files that were written, what the target has, by name, and what it may lack."""

    target: ComputeTarget
    files: tuple[Path, ...]
    facts: dict[str, str]
    advice: str | None = None


@dataclass(frozen=True)
class Detached:
    """The files that were removed, and the run configurations that still name the target."""

    files: tuple[Path, ...]
    named_by: tuple[str, ...]


def attach(project: Path, name: str, fields: Mapping[str, Any], check: bool = True) -> Attached:
    """Write the files of a new target, from the fields of its compute file, once it can be reached.

    A host key that the check brings is pinned; without `check` nothing is asked. Raises ConfigError, where there are
    such files already as well, EnvironmentNotReadyError where it lacks what its type needs, and OutputError.
    """
    files = compute_path(project, name), runconfig_path(project, name)
    target = parse_compute(_with_image(fields), f"Compute target {name}")
    there = next((file for file in files if file.exists()), None)
    if there is not None:
        raise ConfigError(f"There is {there} already. Wanted another name; or: loadcast computetarget detach {name}.")
    facts: dict[str, str] = {}
    advice = None
    if check:
        checked = check_connection(target)
        facts, advice = checked.facts, check_facts(target, checked.facts)
        if checked.host_key is not None:
            target = parse_compute({**target.document(), "hostKey": checked.host_key}, f"Compute target {name}")
    config = new_runconfig(project, name, target)
    compute_file = write_compute(project, name, target)
    try:
        return Attached(target, (compute_file, write_runconfig(project, name, config)), facts, advice)
    except OutputError:
        compute_file.unlink(missing_ok=True)
        raise


def detach(project: Path, name: str) -> Detached:
    """Remove a target's file, and its run configuration unless that names another target.

    The machine itself stays as it is. Raises ConfigError where there is no such target, OutputError.
    """
    files = [compute_path(project, name)]
    if not files[0].exists():
        read_compute(project, name)  # says which ones there are
    configs = list_runconfigs(project)
    if name in configs and configs[name].target == name:
        files.append(runconfig_path(project, name))
    for file in files:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot remove {file}: {error.strerror or error}.") from error
    named_by = [other for other, config in configs.items() if config.target == name and other != name]
    return Detached(tuple(files), tuple(named_by))


def new_runconfig(project: Path, name: str, target: ComputeTarget) -> RunConfig:
    """The run configuration of a new target: its environment is made from the files in Config, where they are there."""
    spark_file = _SPARK_FILES.get(target.type)
    return parse_runconfig(
        {
            "Target": name,
            "CondaDependenciesFile": _CONDA_FILE if (project / _CONDA_FILE).is_file() else None,
            "SparkDependenciesFile": spark_file if spark_file and (project / spark_file).is_file() else None,
            "PrepareEnvironment": target.python_location is None and target.type not in _OWN_ENVIRONMENT,
        }
    )


def _with_image(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, with the image that is used where none is named, for the types that run in one."""
    needed = FIELDS[fields["type"]].required if fields.get("type") in FIELDS else ()
    default = DEFAULT_AML_IMAGE if fields.get("type") == "amlcompute" else DEFAULT_IMAGE
    image = {"baseDockerImage": default} if "baseDockerImage" in needed else {}
    return {**image, **{name: value for name, value in fields.items() if value is not None}}
