"""Registered models: MLflow's registry in the project's database names them, the model store holds them.

A model has versions, 1, 2, …; of a name's versions one may be the champion, which services are made from, and one the
previous champion, to which a rollback leads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadcast.errors import ConfigError
from loadcast.experiments.history import database_uri, opened_client
from loadcast.registry.documents import checked_name, split_id
from loadcast.registry.store import BUNDLE, Stored, keep, stored
from loadcast.secrets import shown, without_secrets

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

CHAMPION, PREVIOUS = "champion", "previous"
_DIGEST, _PART, _OURS = "loadcast.digest", "loadcast.part", "loadcast."
_FAILED = "has not done it: {said}."
_LONGEST_TAG, _LONGEST_NOTE = 250, 5_000
_PAGE = 1_000


@dataclass(frozen=True)
class ModelVersion:
    """A version of a registered model. `part` is `bundle`, or the part of one that it is; `aliases` lead to it."""

    name: str
    version: int
    digest: str
    part: str
    tags: Mapping[str, str]
    description: str
    created: datetime
    aliases: tuple[str, ...]

    @property
    def id(self) -> str:
        """By which it is named, such as `forecast:3`."""
        return f"{self.name}:{self.version}"


def register(project: Path, path: str, name: str, tags: Sequence[str] = (), description: str = "") -> ModelVersion:
    """Register what is at `path` as the next version of the model `name`.

    A tag is a word, or KEY=VALUE. Raises ConfigError for a name or tag that cannot be, ArtefactError for a model that
    the service would not load, OutputError, ServiceError, EnvironmentNotReadyError without the extra `history`.
    """
    checked_name(name, "The model's name")
    texts = dict(map(_tag, tags))
    with _registry(project) as client:  # before anything is copied: it may not be installed
        model = keep(project, path)
        ours = {**texts, _DIGEST: model.digest, _PART: model.part}
        _make_name(client, name)
        note = without_secrets(description)[:_LONGEST_NOTE]
        made = client.create_model_version(name, model.folder.as_uri(), tags=ours, description=note)
        return _version(made, {})


def same_models(project: Path, version: ModelVersion) -> list[ModelVersion]:
    """The other versions of its name that hold the same files, in order."""
    with _registry(project) as client:
        known = _versions(client, version.name)
    return [other for other in known if other.digest == version.digest and other.version != version.version]


def list_models(project: Path, name: str | None = None, tag: str | None = None) -> list[ModelVersion]:
    """All versions by name and number; of one name, or with one tag."""
    wanted = _tag(tag) if tag else None
    with _registry(project) as client:
        known = [version for each in _names(client, name) for version in _versions(client, each)]
    return [version for version in known if wanted is None or version.tags.get(wanted[0]) == wanted[1]]


def find_model(project: Path, model: str) -> ModelVersion:
    """The version that `NAME:VERSION` or `NAME@ALIAS` names; by `NAME` alone its champion, else its newest.

    Raises ConfigError where there is none.
    """
    with _registry(project) as client:
        return _found(client, model)


def find_models(project: Path, models: Sequence[str]) -> list[ModelVersion]:
    """Several, as `find_model`."""
    with _registry(project) as client:
        return [_found(client, model) for model in models]


def content(project: Path, version: ModelVersion) -> Stored:
    """What the store holds of a version. Raises ArtefactError where it was removed or changed."""
    return stored(project, version.digest, version.part)


def promote(project: Path, model: str) -> tuple[ModelVersion, ModelVersion | None]:
    """Make a version its name's champion; the champion until now becomes the previous one.

    Returns both. Raises ArtefactError for one that is no longer whole.
    """
    with _registry(project) as client:
        version = _found(client, model)
        if version.part != BUNDLE:
            raise ConfigError(f"{version.id} is a part of a bundle ({version.part}), wanted a whole one to promote.")
        content(project, version)
        champion = _aliased(client, version.name, CHAMPION)
        if champion is None or champion.version != version.version:
            _lead(client, version, champion)
        return version, champion


def rollback(project: Path, name: str) -> tuple[ModelVersion, ModelVersion]:
    """Make the previous champion the champion again, and the other way round; returns the new one and the old.

    Raises ConfigError where there is no previous one.
    """
    with _registry(project) as client:
        champion, previous = (_aliased(client, name, alias) for alias in (CHAMPION, PREVIOUS))
        if champion is None or previous is None or champion.version == previous.version:
            raise ConfigError(
                f"The model {shown(name, 100)} has no previous champion to go back to. Promote another version: "
                "loadcast model promote -m NAME:VERSION"
            )
        content(project, previous)
        _lead(client, previous, champion)
        return previous, champion


def _lead(client: MlflowClient, champion: ModelVersion, previous: ModelVersion | None) -> None:
    """Set both aliases: cut off between them, the champion is the one of before, and still there."""
    if previous is not None:
        client.set_registered_model_alias(champion.name, PREVIOUS, str(previous.version))
    client.set_registered_model_alias(champion.name, CHAMPION, str(champion.version))


@contextmanager
def _registry(project: Path) -> Iterator[MlflowClient]:
    """MLflow's registry in the project's own database: the store, which it points to, is a folder of the project."""
    with opened_client(project, database_uri(project), _FAILED) as client:
        yield client


def _make_name(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _names(client: MlflowClient, name: str | None) -> list[str]:
    if name is not None:
        return [checked_name(name, "The model's name")]
    names: list[str] = []
    token = None
    while True:
        page = client.search_registered_models(max_results=_PAGE, page_token=token)
        names += [model.name for model in page]
        token = page.token
        if not token:
            return sorted(names)


def _versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """The versions of a name that are ours, in order; none where there is no such name."""
    aliases = _aliases(client, name)
    versions: list[ModelVersion] = []
    token = None
    while True:
        page = client.search_model_versions(f"name='{name}'", max_results=_PAGE, page_token=token)
        versions += [_version(version, aliases) for version in page if _DIGEST in version.tags]
        token = page.token
        if not token:
            return sorted(versions, key=lambda version: version.version)


def _aliases(client: MlflowClient, name: str) -> dict[str, int]:
    from mlflow.exceptions import MlflowException

    try:
        return {alias: int(version) for alias, version in client.get_registered_model(name).aliases.items()}
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}


def _aliased(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    checked_name(name, "The model's name")
    return next((version for version in _versions(client, name) if alias in version.aliases), None)


def _found(client: MlflowClient, model: str) -> ModelVersion:
    name, at, alias = model.partition("@")
    number = None
    if not at and ":" in model:
        name, number = split_id(model, "The model")
    # All of it is said where a part is wrong: a part of a URL does not show where its password stands.
    versions = _versions(client, checked_name(name, "The model", model))
    if number is not None:
        fitting = [version for version in versions if version.version == number]
    elif at:
        fitting = [version for version in versions if alias in version.aliases]
    else:
        fitting = [version for version in versions if CHAMPION in version.aliases] or versions[-1:]
    if not fitting:
        raise ConfigError(f"There is no model {shown(repr(model), 100)}. These are there: loadcast model list")
    return fitting[0]


def _version(version: Any, aliases: Mapping[str, int]) -> ModelVersion:
    number = int(version.version)
    return ModelVersion(
        version.name,
        number,
        version.tags[_DIGEST],
        version.tags[_PART],
        {key: value for key, value in version.tags.items() if not key.startswith(_OURS)},
        version.description or "",
        datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        tuple(sorted(alias for alias, of in aliases.items() if of == number)),
    )


def _tag(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    if not key.strip() or not text.isprintable() or len(text) > _LONGEST_TAG or key.startswith(_OURS):
        raise ConfigError(
            f"tag: found {shown(repr(text), 100)}, wanted a word or KEY=VALUE, which loadcast does not use."
        )
    return key, without_secrets(value)
