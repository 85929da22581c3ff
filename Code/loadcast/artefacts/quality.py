"""quality.json: what became of the input's rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import PlainSerializer

from loadcast import paths
from loadcast.artefacts.document import (
    FORMAT_VERSION,
    Artefact,
    Document,
    Migration,
    Name,
    NameOrNone,
    Number,
    Part,
    Real,
)
from loadcast.artefacts.numbers import flattened
from loadcast.settings import AllowedRange

#: Until format 3 the version stood here.
_OLD_VERSION = "version"


def _as_configured(contract: dict[str, AllowedRange]) -> dict[str, Any]:
    return {name: allowed.model_dump(by_alias=True, exclude_none=True) for name, allowed in contract.items()}


class Counted(Part):
    """What became of rows: of one file, or of all. rows = good + outsidePeriod + otherServer + rejected."""

    bytes: Number
    rows: Number
    blank: Number
    good: Number
    outside_period: Number
    other_server: Number
    rejected: Number
    rejected_fraction: Real
    rejected_by_reason: dict[str, Number]
    repaired: Number
    repaired_by_column: dict[str, dict[str, Number]]
    breaches: Number
    breaches_by_column: dict[str, Number]


class FileQuality(Counted):
    """What became of a file's rows."""

    file: Name
    stands_out: bool


class ServerQuality(Part):
    """When a server was seen."""

    server: Name
    first_time: Name
    last_time: Name
    hours_observed: Number
    hours_without_data: Number


class ServersQuality(Part):
    """When servers were seen. Lists are cut, numbers never."""

    number: Number
    hours_without_data: Number
    appeared_number: Number
    disappeared_number: Number
    appeared: list[Name]
    disappeared: list[Name]
    listed: list[ServerQuality]


def _with_format_version(document: Document) -> Document:
    return {name: value for name, value in document.items() if name != _OLD_VERSION}


class Quality(Counted, Artefact):
    """What became of the input's rows, all of them and by file, and when servers were seen."""

    FILE: ClassVar[str] = paths.QUALITY
    VERSION: ClassVar[int] = 3
    FIRST: ClassVar[int] = 2
    MIGRATIONS: ClassVar[Mapping[int, Migration]] = {2: _with_format_version}
    REMEDY: ClassVar[str] = "Run python Code/etl.py CONFIG again."

    filter_ip: bool
    contract: Annotated[dict[str, AllowedRange], PlainSerializer(_as_configured)]
    first_time: NameOrNone
    last_time: NameOrNone
    servers: ServersQuality
    files_that_stand_out: list[Name]
    files: list[FileQuality]

    def numbers(self) -> dict[str, float]:
        """All counts over the whole input, such as `rows` and `rejectedByReason/HEADER`."""
        counts = self.model_dump(by_alias=True, exclude={"contract", "files", "files_that_stand_out"})
        return flattened({**counts, "files": len(self.files), "filesThatStandOut": len(self.files_that_stand_out)})

    @classmethod
    def _version(cls, document: Document) -> object:
        return document.get(FORMAT_VERSION, document.get(_OLD_VERSION))
