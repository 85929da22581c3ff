"""Where things of experiments lie in a project: the one place that knows."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from loadcast.errors import OutputError

#: The folder at the project's top; git ignores it.
STATE_FOLDER = ".loadcast"
# In a run's folder.
RECORD = "record.json"
SNAPSHOT = "snapshot.json"
LOGGED = "logged.jsonl"
LOG = "log.txt"
OUTPUTS = "outputs"
PIPELINE = "pipeline.yml"

_MARKS = (STATE_FOLDER, "aml_config", ".git")


def project_folder(start: Path | None = None) -> Path:
    """The project that a folder, the working directory unless given, belongs to.

    It is the nearest one at or above it with `.loadcast`, `aml_config` or `.git`; where there is none, the folder
    itself. In the home folder `.loadcast` is what an agent keeps there for the projects of other machines.
    """
    folder = Path(os.path.abspath(start or Path.cwd()))
    home = Path("~").expanduser()
    for owner in (folder, *folder.parents):
        if any((owner / mark).exists() for mark in _MARKS if (owner, mark) != (home, STATE_FOLDER)):
            return owner
    return folder


def project_id(project: Path) -> str:
    """What a project is known by to machines that several share; made on first use, and not told to anybody else."""
    file = project / STATE_FOLDER / "project"
    try:
        if not file.exists():
            file.parent.mkdir(exist_ok=True)
            making = file.with_name(f".project-{secrets.token_hex(8)}")
            making.write_text(secrets.token_hex(8))
            with suppress(FileExistsError):  # another process was first
                os.link(making, file)
            making.unlink()
        return file.read_text()
    except OSError as error:
        raise OutputError(f"Cannot write {file}: {error.strerror or error}.") from error


def runs_folder(project: Path) -> Path:
    """Where the runs of a project are."""
    return project / STATE_FOLDER / "runs"


def run_folder(project: Path, run: str) -> Path:
    """Where a run's record, snapshot, log and outputs are."""
    return runs_folder(project) / run


def blob_path(project: Path, sha256: str) -> Path:
    """Where a file of snapshots is kept, by the SHA-256 of its content in hexadecimal digits."""
    return project / STATE_FOLDER / "blobs" / sha256[:2] / sha256


def history_database(project: Path) -> Path:
    """MLflow's database of a project."""
    return project / STATE_FOLDER / "mlflow.db"


def history_artifacts(project: Path) -> Path:
    """Where MLflow keeps files of a project's runs."""
    return project / STATE_FOLDER / "artifacts"
