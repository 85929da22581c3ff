"""Files of a target that a service mounts as a folder: the only way by which its clients and its runs meet.

    snapshots/SHA.tar.gz        the contents of a project's files, each by its sha-256; SHA is of their names
    environments/NAME.txt       packages, one a line, as pip takes them
    runs/RUN/request.json       what is run; begun.json, log/, log.txt, results.tar and end.json: see `folder_bootstrap`
    runs/RUN/job.json           by which name the service knows the run

Each file is written once and as a whole, so nothing is sent twice and no reader sees half of one.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol

from loadcast.errors import ArtefactError
from loadcast.experiments.locations import blob_path
from loadcast.experiments.services.log_and_results import unpack_results
from loadcast.experiments.snapshot_files import SnapshotFile

_BOOTSTRAP = Path(__file__).with_name("folder_bootstrap.py")


class ServiceFiles(Protocol):
    """Files that a service keeps, by their paths below the target's folder."""

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""

    def read(self, path: str) -> bytes | None:
        """A small file; None where there is none."""

    def fetch(self, path: str, target: Path) -> bool:
        """Copy a file to a path here; False where there is none."""

    def write(self, path: str, content: BinaryIO) -> None:
        """Write a file as a whole, in place of what is there."""


@cache
def bootstrap_file() -> tuple[str, bytes]:
    """The name, which says the version, and the content of what runs scripts on a service."""
    content = _BOOTSTRAP.read_bytes()
    return f"bootstrap-{hashlib.sha256(content).hexdigest()[:16]}.py", content


def archive_path(names: Iterable[str]) -> str:
    """Where the archive of contents lies, by the contents' SHA-256."""
    digest = hashlib.sha256("\n".join(sorted(set(names))).encode()).hexdigest()
    return f"snapshots/{digest}.tar.gz"


def environment_path(name: str) -> str:
    """Where the packages of an environment stand."""
    return f"environments/{name}.txt"


def run_path(run: str, name: str) -> str:
    """A file of a run."""
    return f"runs/{run}/{name}"


def send_archive(files: ServiceFiles, project: Path, sent: Sequence[SnapshotFile]) -> int:
    """Send the contents of a project's files, unless they are there; returns how many bytes these have."""
    sizes = {file.sha256: file.size for file in sent}
    path = archive_path(sizes)
    if files.exists(path):
        return 0
    with tempfile.TemporaryFile() as packed:
        _pack(project, sorted(sizes), packed)
        packed.seek(0)
        files.write(path, packed)
    return sum(sizes.values())


def _pack(project: Path, names: Iterable[str], packed: IO[bytes]) -> None:
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=3, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w|") as archive,
    ):
        for name in names:
            path = blob_path(project, name)
            member = tarfile.TarInfo(name)
            member.size = path.stat().st_size
            with path.open("rb") as content:
                archive.addfile(member, content)


def script_request(request: Mapping[str, Any], secrets: Mapping[str, str] | None) -> dict[str, Any]:
    """What the bootstrap reads, from the request of a plan; `secrets` says where the service keeps the run's."""
    return {
        "argv": request["argv"],
        "environment": request["environment"],
        "entries": request["entries"],
        "archive": archive_path(entry[1] for entry in request["entries"]),
        "secrets": secrets,
    }


def write_json(files: ServiceFiles, path: str, content: Any) -> None:
    """Write a small JSON file."""
    files.write(path, io.BytesIO(json.dumps(content).encode()))


def read_json(files: ServiceFiles, path: str) -> dict[str, Any] | None:
    """A small JSON file; None where there is none. Raises ArtefactError for a damaged one."""
    content = files.read(path)
    if content is None:
        return None
    try:
        fields = json.loads(content)
        if not isinstance(fields, dict):
            raise ValueError("wanted an object")
    except ValueError as error:
        raise ArtefactError(f"{path} of the target's folder is damaged: {error}. Submit the script again.") from error
    return fields


def read_log(files: ServiceFiles, run: str, offset: int) -> bytes | None:
    """The part of a log that begins at a byte; None where nothing is there yet."""
    return files.read(run_path(run, f"log/{offset:020d}"))


def read_log_parts(files: ServiceFiles, run: str) -> Iterator[bytes]:
    """All parts of a log that are there."""
    offset = 0
    while part := read_log(files, run, offset):
        yield part
        offset += len(part)


def collect_files(files: ServiceFiles, run: str, folder: Path) -> None:
    """Bring a run's log and results into a folder. Raises ArtefactError for damaged ones."""
    log = folder / "log"
    if not files.fetch(run_path(run, "log.txt"), log):
        with log.open("wb") as file:
            file.writelines(read_log_parts(files, run))
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".tar") as packed:
        if not files.fetch(run_path(run, "results.tar"), Path(packed.name)):
            return
        unpack_results(Path(packed.name), folder, run)
