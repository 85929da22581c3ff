"""Saved folders in memory: their metadata and tables, as Spark ML lays them out, read without Spark.

A stage is a folder with `metadata/`, whose first line of text is a JSON object with the key `class`, and any other
files, such as Parquet tables in `data/`. A family of another package keeps to this, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from loadcast.errors import ArtefactError
from loadcast.models.parquet_tables import TableError, read_parquet

_HIDDEN = (".", "_")
_SHOWN_CHARACTERS = 100
_PIPELINE = "PipelineModel"
_MAX_STAGES = 1_000
TRAIN_AGAIN = "Train again."


@dataclass(frozen=True, eq=False)
class SavedFiles:
    """Files of saved stages: their bytes by path below `origin`, which only messages name; so is `remedy`."""

    origin: Path
    files: Mapping[str, bytes]
    remedy: str = TRAIN_AGAIN

    def fault(self, name: str, what: str) -> ArtefactError:
        """The error that a file or folder is not as wanted: `what` goes on from its name."""
        return ArtefactError(f"{name} in {self.origin} {what}. {self.remedy}")

    @contextmanager
    def reading(self, folder: str) -> Iterator[None]:
        """What a reader of `folder` stumbles over, as an ArtefactError that names it."""
        try:
            yield
        except (pa.ArrowException, LookupError, TypeError, ValueError, AttributeError, OverflowError, OSError) as exc:
            reason = f"{type(exc).__name__}: {str(exc)[: 2 * _SHOWN_CHARACTERS]}"
            raise self.fault(folder, f"is not in the form that Spark ML 2.1 to 4 saves ({reason})") from exc

    def parts(self, folder: str) -> list[bytes]:
        """The files directly in a folder, in the order of their names, without hidden ones. Raises ArtefactError."""
        return [self.files[name] for name in self._names(folder)]

    def metadata(self, folder: str, *kinds: str) -> dict[str, Any]:
        """Metadata of a saved stage, checked to be of a class whose last name is one of `kinds`, if there are any.

        Raises ArtefactError.
        """
        lines = b"\n".join(self.parts(f"{folder}/metadata")).split(b"\n")
        text = next((line for line in lines if line.strip()), b"{}")
        try:
            data = json.loads(text.decode("utf-8"))
        except (ValueError, RecursionError) as exc:
            raise self.fault(f"{folder}/metadata", "is not JSON") from exc
        saved_class = class_of(data)
        if kinds and saved_class.rpartition(".")[2] not in kinds:
            raise self.fault(folder, f"holds {saved_class[:_SHOWN_CHARACTERS]}, wanted a {' or '.join(kinds)}")
        return dict(data) if isinstance(data, dict) else {}

    def table(self, folder: str, columns: Sequence[str] | None = None, n_rows: int | None = None) -> pa.Table:
        """The Parquet rows of a folder, which may be many files, most of them empty.

        `columns` as pyarrow names them, all unless given. Raises ArtefactError, and so for other than `n_rows` rows.
        """
        try:
            return read_parquet(((name, self.files[name]) for name in self._names(folder)), columns, n_rows)
        except TableError as exc:
            if exc.part is None or "unpacks to more" in str(exc):
                raise self.fault(exc.part or folder, str(exc)) from exc
            raise self.fault(exc.part, f"is not in the form that Spark ML saves: it {exc}") from exc

    def row(self, folder: str) -> dict[str, Any]:
        """The only row of a folder. Raises ArtefactError."""
        return dict(self.table(folder, n_rows=1).to_pylist()[0])

    def stages(self, folder: str) -> list[str]:
        """Folders of the stages of a saved PipelineModel, in order; a stage that was saved alone is the folder itself.

        Raises ArtefactError.
        """
        metadata = self.metadata(folder)
        if class_of(metadata).rpartition(".")[2] != _PIPELINE:
            return [folder]
        uids = metadata["paramMap"]["stageUids"]
        if not isinstance(uids, list) or not 0 < len(uids) <= _MAX_STAGES:
            number = len(uids) if isinstance(uids, list) else "no list of"
            raise self.fault(folder, f"has {number} stages, wanted 1 or more, up to {_MAX_STAGES:,}")
        digits = len(str(len(uids)))
        return [f"{folder}/stages/{number:0{digits}d}_{uid}" for number, uid in enumerate(uids)]

    def _names(self, folder: str) -> list[str]:
        names = self._by_folder.get(folder)
        if not names:
            raise ArtefactError(f"{self.origin} has no {folder[: 2 * _SHOWN_CHARACTERS]}. {self.remedy}")
        return names

    @cached_property
    def _by_folder(self) -> dict[str, list[str]]:
        """The paths of files by their folder, in order, without hidden ones."""
        by_folder: dict[str, list[str]] = {}
        for path in sorted(self.files):
            folder, _, name = path.rpartition("/")
            if not name.startswith(_HIDDEN):
                by_folder.setdefault(folder, []).append(path)
        return by_folder


@dataclass(frozen=True, eq=False)
class SavedModel:
    """One model's folder among saved files, and the width that its features have; paths are below the folder."""

    saved: SavedFiles
    folder: str
    n_features: int

    def metadata(self) -> dict[str, Any]:
        """The object that the folder's metadata holds; its `class` names the family. Raises ArtefactError."""
        return self.saved.metadata(self.folder)

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The Parquet rows of a folder in it, of all columns unless some are named. Raises ArtefactError."""
        return self.saved.table(f"{self.folder}/{name}", columns)

    def parts(self, name: str) -> list[bytes]:
        """The files of a folder in it. Raises ArtefactError."""
        return self.saved.parts(f"{self.folder}/{name}")


def read_saved(folder: Path, names: Iterable[str]) -> SavedFiles:
    """The files of saved stages that this process has written itself: `names` are their folders. Raises ArtefactError.

    What somebody else has written is to be checked first, as serving.bundle does.
    """
    paths = [path for name in names for path in sorted((folder / name).rglob("*")) if path.is_file()]
    try:
        return SavedFiles(folder, {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths})
    except OSError as exc:
        raise ArtefactError(f"{folder}: {exc.strerror or exc}. Train again.") from exc


def class_of(metadata: object) -> str:
    """The class that a stage's metadata names."""
    return str(metadata.get("class", "nothing")) if isinstance(metadata, dict) else "no object"


def params_of(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a Spark ML stage, those left at their defaults included; Spark 2 keeps all in one map."""
    return {**metadata.get("defaultParamMap", {}), **metadata["paramMap"]}


def demand(params: Mapping[str, Any], folder: str, **wanted: object) -> None:
    """Refuse a stage whose settings would make it compute something else than is read of it. Raises ArtefactError."""
    for name, value in wanted.items():
        if params.get(name) != value:
            actual = repr(params.get(name))[:_SHOWN_CHARACTERS]
            raise ArtefactError(f"{folder}: {name} is {actual}, wanted {value!r}. Train again.")
