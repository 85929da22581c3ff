"""What answers in a model's place, or beside it, from its newest verified hour on: what `loadcast monitor` writes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from loadcast.artefacts.document import MAX_BYTES, Artefact, Migration, Name, Part, Real, unchanged
from loadcast.artefacts.info import Time
from loadcast.errors import ArtefactError
from loadcast.secrets import shown
from loadcast.system.small_files import read_small_file

#: A gate counts for forecasts made in so many hours from the newest verified one on.
VALID_H = 24
_HOURS_OF_WEEK = 168
_USUAL = re.compile(rf"[0-3]{{{_HOURS_OF_WEEK}}}", re.ASCII)
_CLASSES = 3
_TOLERANCE = 1e-6
_SHOWN = 40


class GateBand(Part):
    """What answers forecasts of some hours ahead: the first and the last of `horizon_hours`.

    `answered_by` answers for all servers; where that is the model, `servers` names those that a naive forecast answers.
    `weights` are the shares of all J forecasts in the probabilities; `tables`, (J − 1, 3, 3), the probabilities of the
    true class (rows) where a naive forecast says a class (columns).
    """

    horizon_hours: tuple[int, int]
    answered_by: Name
    servers: dict[Name, Name]
    weights: list[Real]
    tables: list[list[list[Real]]]

    @model_validator(mode="after")
    def _check(self) -> GateBand:
        if not _are_shares(self.weights):
            raise ValueError("wanted weights from 0 on, 1 together")
        for table in self.tables:
            if len(table) != _CLASSES or any(len(row) != _CLASSES for row in table):
                raise ValueError("wanted tables of three rows of three numbers")
            if not all(_are_shares([row[column] for row in table]) for column in range(_CLASSES)):
                raise ValueError("wanted tables of probabilities, each column 1 together")
        return self


class GateFile(Artefact):
    """What a gate lets through, as of the hour `newest_hour`; it counts for forecasts made until `valid_until`.

    Times are on the clock of `timezone`. `model` is Info.model_version of the model of the run `model_run`. `forecasts`
    are the names of all J forecasts, the model's first; a naive one that knows nothing says the class `commonest`.
    `usual` has each server's commonest class of each of the 168 hours of the week in training, 0 for none.
    """

    FILE: ClassVar[str] = "gate.json"
    VERSION: ClassVar[int] = 1
    FIRST: ClassVar[int] = 1
    MIGRATIONS: ClassVar[Mapping[int, Migration]] = {1: unchanged}
    REMEDY: ClassVar[str] = "Make it anew: loadcast monitor CONFIG --gate FILE."

    model_run: Name
    model: Name
    timezone: Name
    newest_hour: Time
    valid_until: Time
    commonest: Annotated[int, Field(ge=1, le=3, strict=True)]
    forecasts: list[Name] = Field(min_length=2, max_length=100)
    bands: list[GateBand] = Field(min_length=1, max_length=10)
    usual: dict[Name, Name]

    @model_validator(mode="after")
    def _check(self) -> GateFile:
        if not timedelta(0) <= self.valid_until - self.newest_hour <= timedelta(hours=VALID_H):
            raise ValueError(f"wanted it to count for at most {VALID_H} hours after the newest")
        known = set(self.forecasts)
        if len(known) != len(self.forecasts):
            raise ValueError("wanted each forecast once")
        for band in self.bands:
            if len(band.weights) != len(self.forecasts) or len(band.tables) != len(self.forecasts) - 1:
                raise ValueError("wanted a weight for each forecast, and a table for each naive one")
            for name in (band.answered_by, *band.servers.values()):
                if name not in known:
                    raise ValueError(f"found the forecast {shown(name, _SHOWN)}, wanted one of those that are named")
        if any(not _USUAL.fullmatch(classes) for classes in self.usual.values()):
            raise ValueError(f"wanted {_HOURS_OF_WEEK} classes a server, digits from 0 to 3")
        return self


def read_gate(path: Path) -> GateFile:
    """The gate in a file. Raises ArtefactError where there is none."""
    try:
        data = read_small_file(path, MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no file can have such a name"
        raise ArtefactError(f"{shown(path)} cannot be read: {why}. {GateFile.REMEDY}") from error
    return GateFile.parse(data, shown(path))


def _are_shares(values: list[float]) -> bool:
    return all(value >= 0 for value in values) and math.isclose(sum(values), 1, abs_tol=_TOLERANCE)
