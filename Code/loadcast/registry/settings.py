"""Which environment and which account model management works in: settings of the project.

Without any, services run on this machine, and everything belongs to the account `default`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from loadcast.errors import ConfigError
from loadcast.registry.documents import (
    Kept,
    Moment,
    Namespace,
    Text,
    checked_name,
    made,
    now,
    read_document,
    write_document,
)
from loadcast.registry.locations import account_folder, environment_file, management_folder, settings_file
from loadcast.secrets import shown
from loadcast.system.locks import locked

TargetName = Literal["local", "docker", "k8s"]
DEFAULT_ACCOUNT = "default"
#: What images start from unless told otherwise: a Debian with a Python that loadcast is tested with.
DEFAULT_BASE_IMAGE = "python:3.13-slim-bookworm"
_SETUP = "loadcast env setup -n NAME"


class ServiceEnvironment(Kept):
    """Where services run unless told otherwise. `group` and `location` are labels; `agents` are replicas on k8s."""

    FILE: ClassVar[str] = "environment.json"

    name: Text
    group: Text
    location: Text = ""
    target: TargetName = "local"
    agents: Annotated[int, Field(ge=1, le=1000)] = 2
    namespace: Namespace = "default"
    base_image: Text = DEFAULT_BASE_IMAGE
    created: Moment


class Account(Kept):
    """Whose the manifests, images and services are. `group`, `location` and `sku` are labels."""

    FILE: ClassVar[str] = "account.json"

    name: Text
    group: Text
    location: Text = ""
    sku: Text = ""
    created: Moment


class _Settings(Kept):
    FILE: ClassVar[str] = "settings.json"

    environment: Text | None = None
    account: Text | None = None


def setup_environment(project: Path, name: str, fields: Mapping[str, object]) -> ServiceEnvironment:
    """Make and write an environment, and use it if none is in use. Raises ConfigError, OutputError."""
    checked_name(name, "The environment's name")
    environment = made(ServiceEnvironment, {**fields, "name": name, "created": now()})
    with locked(management_folder(project)):
        write_document(environment_file(project, environment.name), environment)
        settings = _settings(project)
        if settings.environment is None:
            _use(project, settings, environment=environment.name)
    return environment


def find_environment(project: Path, name: str, group: str | None = None) -> ServiceEnvironment:
    """The environment of that name, in that group if one is named. Raises ConfigError."""
    checked_name(name, "The environment's name")
    known = read_document(ServiceEnvironment, environment_file(project, name))
    if known is None:
        raise ConfigError(f"There is no environment {name}. Make it: {_SETUP}")
    _check_group(known, group)
    return known


def use_environment(project: Path, name: str, group: str | None = None) -> ServiceEnvironment:
    """Use an environment from now on. Raises ConfigError where there is none of that name and group."""
    environment = find_environment(project, name, group)
    with locked(management_folder(project)):
        _use(project, _settings(project), environment=name)
    return environment


def current_environment(project: Path) -> ServiceEnvironment:
    """The environment in use; without any, this machine. Raises ConfigError where it is gone."""
    name = _settings(project).environment
    if name is None:
        return ServiceEnvironment(name="local", group="local", created=now())
    return find_environment(project, name)


def create_account(project: Path, name: str, labels: Mapping[str, object]) -> Account:
    """Make and write an account, and use it if none is in use. Raises ConfigError, OutputError."""
    checked_name(name, "The account's name")
    account = made(Account, {**labels, "name": name, "created": now()})
    with locked(management_folder(project)):
        write_document(account_folder(project, account.name) / Account.FILE, account)
        settings = _settings(project)
        if settings.account is None:
            _use(project, settings, account=account.name)
    return account


def use_account(project: Path, name: str, group: str | None = None) -> Account:
    """Use an account from now on. Raises ConfigError where there is none of that name and group."""
    checked_name(name, "The account's name")
    known = read_document(Account, account_folder(project, name) / Account.FILE)
    if known is None:
        raise ConfigError(f"There is no account {name}. Make it: loadcast account modelmanagement create -n NAME")
    _check_group(known, group)
    with locked(management_folder(project)):
        _use(project, _settings(project), account=name)
    return known


def current_account(project: Path) -> Path:
    """The folder of the account in use."""
    return account_folder(project, _settings(project).account or DEFAULT_ACCOUNT)


def _check_group(known: ServiceEnvironment | Account, group: str | None) -> None:
    if group not in (None, known.group):
        raise ConfigError(
            f"group: found {shown(repr(group), 100)}, wanted that of {known.name}, which is {known.group}."
        )


def _settings(project: Path) -> _Settings:
    return read_document(_Settings, settings_file(project)) or _Settings()


def _use(project: Path, settings: _Settings, **fields: str) -> None:
    known = {"environment": settings.environment, "account": settings.account, **fields}
    write_document(settings_file(project), _Settings.of({name: value for name, value in known.items() if value}))
