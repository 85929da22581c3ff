"""The families of models that there are: loadcast's own, and those that installed packages add as entry points."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from loadcast import paths
from loadcast.errors import ArtefactError, ConfigError, EnvironmentNotReadyError
from loadcast.models.boosted_family import BOOSTED
from loadcast.models.forest_family import FOREST
from loadcast.models.model import Floats, Model, ModelFamily
from loadcast.models.saved import SavedFiles, SavedModel, class_of
from loadcast.settings import Settings

#: What ModelFamily.fit_rows names.
FitRows = Callable[[NDArray[np.float32], NDArray[Any], Settings], Model]
#: What ModelFamily.fit_variants names.
FitVariants = Callable[[NDArray[np.float32], NDArray[Any], Sequence[Settings]], Sequence[Model]]

#: The group of entry points; each is named as its family and leads to a ModelFamily.
ENTRY_POINTS = "loadcast.models"
_OWN = (FOREST, BOOSTED)
_SHOWN_CHARACTERS = 100


def family_named(name: str) -> ModelFamily:
    """The family that `model` in the configuration names. Raises ConfigError where there is none."""
    for family in _OWN:
        if family.name == name:
            return family
    added = entry_points(group=ENTRY_POINTS)
    for point in added:
        if point.name == name:
            return _loaded(point)
    known = sorted({*(family.name for family in _OWN), *(point.name for point in added)})
    raise ConfigError(
        f"model: found {name[:_SHOWN_CHARACTERS]!r}, wanted one of {', '.join(known)}. "
        f"Families of other packages are there once their package is installed."
    )


def fit_rows_of(family: ModelFamily) -> FitRows:
    """The half of a family that fits in one process. Raises ConfigError, naming families that have it, without one."""
    if family.fit_rows is None:
        able = sorted(known.name for known in _all() if known.fit_rows is not None)
        raise ConfigError(
            f"model: found {family.name!r}, which is fitted by Spark alone; wanted one that can be fitted in a task of "
            f"its own: {', '.join(able) or 'none of those installed can'}."
        )
    return cast("FitRows", named(family.fit_rows))


def fit_variants_of(family: ModelFamily) -> FitVariants:
    """The half of a family that fits several settings in one process: its own, or one after the other.

    Raises ConfigError as fit_rows_of does.
    """
    fit_rows = fit_rows_of(family)
    return OneByOne(fit_rows) if family.fit_variants is None else cast("FitVariants", named(family.fit_variants))


def check_rows(settings: Settings) -> None:
    """Raise ConfigError for settings that their family fits by Spark alone: `fit_rows` does not take them."""
    family = family_named(settings.model)
    if family.check_rows is not None:
        named(family.check_rows)(settings)


@dataclass(frozen=True)
class OneByOne:
    """Fits several settings one after the other; it travels to Spark's tasks."""

    fit_rows: FitRows

    def __call__(self, matrix: NDArray[np.float32], labels: NDArray[Any], variants: Sequence[Settings]) -> list[Model]:
        return [self.fit_rows(matrix, labels, settings) for settings in variants]


def named(path: str) -> Any:
    """What `module:name` in a family names."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def load_model(files: SavedFiles, n_features: int) -> Model:
    """The model among saved files, by the family that its own metadata names; `n_features` is the width it must take.

    Raises ArtefactError where no family knows it, or its family refuses it.
    """
    saved = SavedModel(files, paths.FOREST_MODEL, n_features)
    saved_class = class_of(saved.metadata())
    family = _family_of(saved_class)
    if family is None:
        wanted = " or ".join(known.saved_class.rpartition(".")[2] for known in _OWN)
        raise ArtefactError(
            f"{saved.folder} in {files.origin} holds {saved_class[:_SHOWN_CHARACTERS]}, wanted a {wanted}, or a model "
            "of an installed package. Install the package that it was trained with, or train again."
        )
    model = family.load(saved)
    if model.n_features != n_features:
        raise ArtefactError(
            f"{saved.folder} in {files.origin} takes {model.n_features} features, wanted {n_features}. Train again."
        )
    return model


def feature_importance(files: SavedFiles, n_features: int) -> Floats | None:
    """The share of each feature (n_features,) in what the model among saved files has learned; they add up to 1.

    None where its family, or none, knows. Raises ArtefactError for files that are no model.
    """
    saved = SavedModel(files, paths.FOREST_MODEL, n_features)
    family = _family_of(class_of(saved.metadata()))
    return None if family is None or family.importance is None else family.importance(saved)


def _family_of(saved_class: str) -> ModelFamily | None:
    return next((family for family in _all() if family.saved_class == saved_class), None)


def _all() -> Iterator[ModelFamily]:
    """loadcast's own families, then those of installed packages, each imported when it is asked for."""
    yield from _OWN
    yield from (_loaded(point) for point in entry_points(group=ENTRY_POINTS))


def _loaded(point: EntryPoint) -> ModelFamily:
    """What an entry point leads to. Raises EnvironmentNotReadyError where that is no family."""
    package = point.dist.name if point.dist else "an installed package"
    try:
        family = point.load()
    except Exception as exc:  # code of others, which may raise anything
        raise EnvironmentNotReadyError(
            f"The model family {point.name} of {package} cannot be imported ({type(exc).__name__}: {str(exc)[:200]}). "
            "Repair or remove that package."
        ) from exc
    if not isinstance(family, ModelFamily) or family.name != point.name:
        raise EnvironmentNotReadyError(
            f"{point.value[:_SHOWN_CHARACTERS]} of {package} is no ModelFamily named {point.name}. "
            "Repair or remove that package."
        )
    return family
