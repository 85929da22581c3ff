"""JSON that somebody else may have written: read within bounds, migrated to the newest format, typed; and written.

Fields of the same format version that this loadcast does not know are kept, and written on: a newer loadcast, or a
feature set or model family of another package, may have put them there, and training copies what ETL has said.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError
from pydantic.alias_generators import to_camel

from loadcast.errors import ArtefactError, OutputError
from loadcast.printable import printable

#: The largest artefact: a quality report of some 100,000 files.
MAX_BYTES = 64 << 20
MAX_DEPTH = 32
MAX_DIGITS = 100
FORMAT_VERSION = "formatVersion"
_SHOWN_CHARACTERS = 100

Document = dict[str, Any]
Migration = Callable[[Document], Document]
Kind = TypeVar("Kind", bound="Artefact")


def _as_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("wanted a text")
    return value


#: A text that may hold what no well-formed Unicode does: a file's name need not be UTF-8.
Name = Annotated[str, PlainValidator(_as_text)]
NameOrNone = Annotated[str | None, PlainValidator(lambda value: value if value is None else _as_text(value))]
#: A count.
Number = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
#: A real number.
Real = Annotated[float, Field(allow_inf_nan=False, strict=True)]


def unchanged(document: Document) -> Document:
    """The migration to a format that only knows more."""
    return document


class DocumentError(ValueError):
    """What is wrong with a document, in a few words."""


class Part(BaseModel):
    """A piece of an artefact. In JSON its names are in camel case."""

    model_config = ConfigDict(frozen=True, extra="allow", alias_generator=to_camel, populate_by_name=True)


class Artefact(Part):
    """An artefact of a run: what it holds once it is read, always in the newest format."""

    #: The file's name in a run.
    FILE: ClassVar[str]
    #: What is written, and what a document is that does not say.
    VERSION: ClassVar[int]
    FIRST: ClassVar[int]
    #: From a version to the one after it.
    MIGRATIONS: ClassVar[Mapping[int, Migration]]
    #: What to do about one that cannot be read.
    REMEDY: ClassVar[str]

    @classmethod
    def read(cls: type[Kind], folder: Path) -> Kind:
        """The artefact in a run's folder. Raises ArtefactError where it is missing, damaged, or of a newer format."""
        path = folder / cls.FILE
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise ArtefactError(f"{path} cannot be read: {error.strerror or error}. {cls.REMEDY}") from error
        return cls.parse(data, str(path))

    @classmethod
    def parse(cls: type[Kind], data: bytes, shown: str) -> Kind:
        """The artefact in these bytes, which messages call `shown`. Raises ArtefactError as `read` does."""
        try:
            return cls.from_document(cls._decoded(data))
        except DocumentError as error:
            raise ArtefactError(f"{printable(shown)} cannot be read: {error}. {cls.REMEDY}") from error

    @classmethod
    def from_document(cls: type[Kind], document: Document) -> Kind:
        """The artefact of a document of its own or an older format. Raises DocumentError."""
        return cls._typed(cls._migrated(document))

    @classmethod
    def of(cls: type[Kind], document: Document) -> Kind:
        """The artefact of what this loadcast has computed, with the names of the newest format."""
        return cls.model_validate(document)

    @classmethod
    def _decoded(cls, data: bytes) -> Document:
        return decode(data)

    @classmethod
    def _version(cls, document: Document) -> object:
        """The version that a document says it has."""
        return document.get(FORMAT_VERSION, cls.FIRST)

    @classmethod
    def _migrated(cls, document: Document) -> Document:
        version = cls._version(document)
        if type(version) is not int or version < min(cls.MIGRATIONS):
            wanted = f"{cls.FIRST} to {cls.VERSION}"
            raise DocumentError(f"found {FORMAT_VERSION} {printable(repr(version)):.20}, wanted {wanted}")
        if version > cls.VERSION:
            raise DocumentError(
                f"its {FORMAT_VERSION} is {version}, and this loadcast knows up to {cls.VERSION}. "
                f"Install {cls._writer(document)} or newer to read it; or else"
            )
        for step in range(version, cls.VERSION):
            document = cls.MIGRATIONS[step](document)
        return {name: value for name, value in document.items() if name != FORMAT_VERSION}

    @classmethod
    def _writer(cls, document: Document) -> str:
        """The loadcast that is needed: the one that wrote the document, where it says so."""
        versions = document.get("versions")
        writer = versions.get("loadcast") if isinstance(versions, dict) else None
        return (
            f"loadcast {printable(writer):.20}" if isinstance(writer, str) else "the loadcast that its run's info names"
        )

    @classmethod
    def _typed(cls: type[Kind], document: Document) -> Kind:
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = printable(".".join(map(str, fault["loc"])))
            raise DocumentError(f"{where:.{_SHOWN_CHARACTERS}}: {printable(fault['msg'])}") from error

    def document(self) -> Document:
        """What is written: plain values, the format version first. Optional fields appear once they were given."""
        return {FORMAT_VERSION: self.VERSION, **self.model_dump(by_alias=True, exclude_unset=True)}

    def encoded(self) -> bytes:
        """The JSON text."""
        return (json.dumps(self.document(), indent=2, allow_nan=False) + "\n").encode()

    def write(self, folder: Path) -> None:
        """Write into a run's folder, as a new file: one that was carried is a link to the older run's.

        Raises OutputError.
        """
        path = folder / self.FILE
        try:
            path.unlink(missing_ok=True)
            path.write_bytes(self.encoded())
        except OSError as error:
            raise OutputError(f"Cannot write {path}: {error.strerror or error}. Choose another output.") from error


def decode(data: bytes) -> Document:
    """A JSON object within bounds of size, depth and digits, without a key twice. Raises DocumentError."""
    if len(data) > MAX_BYTES:
        raise DocumentError(f"it is larger than {MAX_BYTES:,} bytes")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_real,
            parse_constant=_refuse_constant,
        )
    except RecursionError:
        raise DocumentError(f"it is nested deeper than {MAX_DEPTH} levels") from None
    except DocumentError:
        raise
    except ValueError as error:
        raise DocumentError("it is not JSON") from error
    if not isinstance(value, dict):
        raise DocumentError(f"found a {type(value).__name__}, wanted a JSON object")
    _check_depth(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> Document:
    members = dict(pairs)
    if len(members) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for index, key in enumerate(keys) if key in keys[:index])
        raise DocumentError(f"the key {printable(twice[:_SHOWN_CHARACTERS])!r} stands in it twice")
    return members


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise DocumentError(f"it holds a number of {len(text):,} digits")
    return int(text)


def _real(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise DocumentError("it holds a number too large")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise DocumentError(f"it holds {name}, which is no number")


def _check_depth(value: Document) -> None:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for holder in level
            for item in (holder.values() if isinstance(holder, dict) else holder)
            if isinstance(item, (dict, list))
        ]
        if not level:
            return
    raise DocumentError(f"it is nested deeper than {MAX_DEPTH} levels")
