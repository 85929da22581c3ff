"""Saved folders in memory: their metadata and tables, as Spark ML lays them out, read without Spark.

A stage is a folder with `metadata/`, whose first line of text is a JSON object with the key `class`, and any other
files, such as Parquet tables in `data/`. A family of another package keeps to this, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from loadcast.errors import ArtefactError

MAX_TABLE_BYTES = 4 << 30
_HIDDEN = (".", "_")
_SHOWN_CHARACTERS = 100


@dataclass(frozen=True, eq=False)
class SavedFiles:
    """Files of saved stages: their bytes by path below `origin`, which only messages name."""

    origin: Path
    files: Mapping[str, bytes]

    def parts(self, folder: str) -> list[bytes]:
        """The files directly in a folder, in the order of their names, without hidden ones. Raises ArtefactError."""
        matching = [
            self.files[name]
            for name in sorted(self.files)
            if str(PurePosixPath(name).parent) == folder and not PurePosixPath(name).name.startswith(_HIDDEN)
        ]
        if not matching:
            raise ArtefactError(f"{self.origin} has no {folder}. Train again, or fetch the model again.")
        return matching

    def metadata(self, folder: str, kind: str | None = None) -> dict[str, Any]:
        """Metadata of a saved stage, checked to be of a class whose last name is `kind`. Raises ArtefactError."""
        lines = b"\n".join(self.parts(f"{folder}/metadata")).split(b"\n")
        text = next((line for line in lines if line.strip()), b"{}")
        try:
            data = json.loads(text.decode("utf-8"))
        except (ValueError, RecursionError) as exc:
            raise ArtefactError(f"{folder}/metadata in {self.origin} is not JSON. Train again.") from exc
        saved_class = class_of(data)
        if kind is not None and saved_class.rpartition(".")[2] != kind:
            raise ArtefactError(
                f"{folder} in {self.origin} holds {saved_class[:_SHOWN_CHARACTERS]}, wanted a {kind}. Train again."
            )
        return dict(data) if isinstance(data, dict) else {}

    def table(self, folder: str) -> pa.Table:
        """The Parquet rows of a folder. Raises ArtefactError."""
        sources = [pq.ParquetFile(pa.BufferReader(data)) for data in self.parts(folder)]
        groups = [(file, i) for file in sources for i in range(file.metadata.num_row_groups)]
        if sum(file.metadata.row_group(i).total_byte_size for file, i in groups) > MAX_TABLE_BYTES:
            raise ArtefactError(f"{folder} in {self.origin} unpacks to more than {MAX_TABLE_BYTES} bytes.")
        # Read without threads: gunicorn forks this process, and threads do not survive a fork.
        return pa.concat_tables(file.read(use_threads=False) for file in sources)

    def row(self, folder: str) -> dict[str, Any]:
        """The only row of a folder. Raises ArtefactError."""
        rows = self.table(folder).to_pylist()
        if len(rows) != 1:
            raise ArtefactError(f"{folder} in {self.origin} has {len(rows)} rows, wanted 1. Train again.")
        return dict(rows[0])

    def stage(self, folder: str) -> str:
        """Folder of the only stage of a saved PipelineModel. Raises ArtefactError."""
        uids = self.metadata(folder, "PipelineModel")["paramMap"]["stageUids"]
        if len(uids) != 1:
            raise ArtefactError(f"{folder} in {self.origin} has {len(uids)} stages, wanted 1. Train again.")
        return f"{folder}/stages/0_{uids[0]}"


@dataclass(frozen=True, eq=False)
class SavedModel:
    """One model's folder among saved files, and the width that its features have; paths are below the folder."""

    saved: SavedFiles
    folder: str
    n_features: int

    def metadata(self) -> dict[str, Any]:
        """The object that the folder's metadata holds; its `class` names the family. Raises ArtefactError."""
        return self.saved.metadata(self.folder)

    def table(self, name: str) -> pa.Table:
        """The Parquet rows of a folder in it. Raises ArtefactError."""
        return self.saved.table(f"{self.folder}/{name}")

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
    """Parameters of a Spark ML stage, those left at their defaults included."""
    return {**metadata.get("defaultParamMap", {}), **metadata["paramMap"]}


def demand(params: Mapping[str, Any], folder: str, **wanted: object) -> None:
    """Refuse a stage whose settings would make it compute something else than is read of it. Raises ArtefactError."""
    for name, value in wanted.items():
        if params.get(name) != value:
            raise ArtefactError(f"{folder}: {name} is {params.get(name)!r}, wanted {value!r}. Train again.")
