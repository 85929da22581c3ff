"""The small typed documents of model management: read within bounds, written whole, under a lock."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, AwareDatetime, Field, PlainSerializer, ValidationError

from loadcast.artefacts.document import FORMAT_VERSION, Artefact, Migration, Name, unchanged
from loadcast.errors import ArtefactError, ConfigError, OutputError
from loadcast.printable import printable
from loadcast.secrets import shown, without_secrets
from loadcast.system.small_files import read_small_file, replace_file

MOST_BYTES = 1 << 20
#: What stands in names of images and containers, in URLs, and in Kubernetes as well.
_SERVICE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,51}[a-z0-9])?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ID = re.compile(rf"({_NAME.pattern}):([1-9][0-9]{{0,8}})")

#: A text without secrets.
Text = Annotated[Name, AfterValidator(without_secrets)]
#: What a namespace of Kubernetes is called.
Namespace = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
#: A time in UTC.
Moment = Annotated[
    AwareDatetime,
    AfterValidator(lambda moment: moment.astimezone(UTC)),
    PlainSerializer(lambda moment: moment.isoformat(timespec="seconds"), return_type=str),
]


class Kept(Artefact):
    """A document of model management, in a file of its own."""

    VERSION: ClassVar[int] = 1
    FIRST: ClassVar[int] = 1
    MIGRATIONS: ClassVar[Mapping[int, Migration]] = {1: unchanged}
    REMEDY: ClassVar[str] = "Remove the file to forget it."

    def document(self) -> dict[str, Any]:
        """What is written: plain values, defaults too, so that what is kept does not change with them."""
        return {FORMAT_VERSION: self.VERSION, **self.model_dump(mode="json", by_alias=True)}


class Numbered(Kept):
    """One of several of the same name, which are numbered."""

    name: Text
    version: Annotated[int, Field(ge=1)]
    created: Moment

    @property
    def id(self) -> str:
        """By which it is named, such as `forecast:1`."""
        return f"{self.name}:{self.version}"


Document = TypeVar("Document", bound=Kept)


def made(kind: type[Document], fields: Mapping[str, object]) -> Document:
    """A document with these fields. Raises ConfigError that names the first fault, and not what was given."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        # Not from the error: its text repeats what was given.
        raise ConfigError(f"{'.'.join(map(str, fault['loc']))}: {printable(fault['msg'])}.") from None


def read_document(kind: type[Document], path: Path) -> Document | None:
    """The document in a file; None where there is none. Raises ArtefactError for one that cannot be read."""
    try:
        content = read_small_file(path, MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read: {error.strerror or error}. {kind.REMEDY}") from error
    if len(content) > MOST_BYTES:
        raise ArtefactError(f"{path} is larger than {MOST_BYTES:,} bytes. {kind.REMEDY}")
    return kind.parse(content, str(path))


def write_document(path: Path, document: Kept) -> None:
    """Put a document in place of the one before it; readers see one of the two. Raises OutputError."""
    try:
        replace_file(path, document.encoded(), 0o644)
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}. Make room for it.") from error


def now() -> datetime:
    """The time, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def checked_name(name: str, kind: str, whole: str | None = None) -> str:
    """The name. Raises ConfigError, which says what it is a part of (`whole`), where a `kind` cannot have it."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{kind}: found {shown(repr(whole or name), 100)}, wanted a name of up to 64 letters, digits, and "
            "the signs . _ -, which begins with a letter or digit."
        )
    return name


def checked_service_name(name: str, kind: str) -> str:
    """The name, for what is called so in URLs, images and clusters as well. Raises ConfigError."""
    if not _SERVICE_NAME.fullmatch(name):
        raise ConfigError(
            f"{kind}: found {shown(repr(name), 100)}, wanted up to 53 lower-case letters, digits and -, with a letter "
            "or digit at both ends."
        )
    return name


def split_id(text: str, kind: str) -> tuple[str, int]:
    """Name and version of an id such as `forecast:3`. Raises ConfigError for another form."""
    match = _ID.fullmatch(text)
    if match is None:
        raise ConfigError(f"{kind}: found {shown(repr(text), 100)}, wanted its id, such as forecast:1.")
    return match[1], int(match[2])


def read_numbered(kind: type[Document], folder: Path, file: str) -> list[Document]:
    """All documents in `folder`/NAME/, by name and version; `file` is where each lies there, such as "{}.json"."""
    names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    known = (
        read_document(kind, folder / name / file.format(version))
        for name in names
        for version in versions_in(folder / name)
    )
    return [document for document in known if document]


def versions_in(folder: Path) -> list[int]:
    """The versions, in order, that have a file or folder named so."""
    try:
        names = [name.removesuffix(".json") for name in os.listdir(folder)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ArtefactError(f"{folder} cannot be read: {error.strerror or error}.") from error
    return sorted({int(name) for name in names if re.fullmatch(r"[1-9][0-9]{0,8}", name)})
