"""What is known of an experiment's run: one file in the project, replaced whole as the run goes on."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, AwareDatetime, Field, PlainSerializer

from loadcast.artefacts.document import Artefact, Migration, Name, unchanged
from loadcast.errors import ArtefactError, ConfigError, OutputError
from loadcast.experiments.locations import RECORD, run_folder, runs_folder
from loadcast.secrets import shown, without_secrets
from loadcast.system.small_files import read_small_file, replace_file

State = Literal["submitting", "preparing", "queued", "running", "completed", "failed", "cancelled", "lost"]
#: States that a run does not leave.
FINAL: frozenset[State] = frozenset({"completed", "failed", "cancelled"})
#: The largest record; a command line is no longer than 2 MiB.
MOST_BYTES = 8 << 20
_ID = re.compile(r"\d{8}T\d{6}-[0-9a-f]{6}")
_SHA256 = r"^[0-9a-f]{64}$"

_Text = Annotated[Name, AfterValidator(without_secrets)]
_Hash = Annotated[str, Field(pattern=_SHA256)]
_Moment = Annotated[
    AwareDatetime,
    AfterValidator(lambda moment: moment.astimezone(UTC)),
    PlainSerializer(lambda moment: moment.isoformat(), return_type=str),
]


class RunRecord(Artefact):
    """A run: what was submitted where, and how it stands.

    Texts are kept without secrets, so `arguments` are to be looked at, not to be run. `start` is the time of
    submission, and `end` that of the end on the target, both UTC. `snapshot` and `environment` are SHA-256 digests of
    the code and of the environment's description; `git_diff` names a file in the run's folder. `versions` are those of
    what runs, by name; `submitted_by` is the version of loadcast that submitted it. `note` says in words why a run
    failed or was lost; `parent` is the run whose step this one is, and `step` the step's name. `key` is a digest of all
    that the run was asked: of two with the same, the second need not be made. `steps` are the names of a pipeline's,
    whose own run has no script on a target. MLflow is told of `tracked` runs alone.
    """

    FILE: ClassVar[str] = RECORD
    VERSION: ClassVar[int] = 1
    FIRST: ClassVar[int] = 1
    MIGRATIONS: ClassVar[Mapping[int, Migration]] = {1: unchanged}
    REMEDY: ClassVar[str] = "Remove the run's folder to forget the run."

    id: Annotated[str, Field(pattern=rf"^{_ID.pattern}$")]
    experiment: _Text
    target: _Text
    script: _Text
    arguments: tuple[_Text, ...] = ()
    snapshot: _Hash | None = None
    git_commit: _Text | None = None
    git_diff: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$")] | None = None
    start: _Moment
    end: _Moment | None = None
    state: State
    exit_code: int | None = None
    versions: dict[str, _Text] = Field(default_factory=dict)
    environment: _Hash | None = None
    submitted_by: _Text
    parent: Annotated[str, Field(pattern=rf"^{_ID.pattern}$")] | None = None
    note: _Text | None = None
    step: _Text | None = None
    key: _Hash | None = None
    steps: tuple[_Text, ...] = ()
    tracked: bool = True

    @property
    def is_final(self) -> bool:
        """Whether the run has ended for good; one that was lost may be found again."""
        return self.state in FINAL

    def changed(self, **fields: Any) -> RunRecord:
        """The record with some fields replaced, checked like a new one. Raises DocumentError."""
        values = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)._typed({**values, **(self.model_extra or {}), **fields})


@dataclass(frozen=True)
class Listing:
    """The runs of a project, the oldest first, and what is wrong with records that cannot be read."""

    records: tuple[RunRecord, ...]
    problems: tuple[str, ...]


def new_id(now: datetime) -> str:
    """A name for a run that begins now, such as `20261130T021944-3f9a1c`."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def write_record(project: Path, record: RunRecord) -> None:
    """Write a run's record in place of the one before it; readers see one of the two. Raises OutputError."""
    file = run_folder(project, record.id) / RECORD
    try:
        replace_file(file, record.encoded())
    except OSError as error:
        raise OutputError(f"Cannot write {file}: {error.strerror or error}. Make room for it.") from error


def read_record(project: Path, run: str) -> RunRecord:
    """The record of a run by its whole id. Raises ArtefactError where it is missing, damaged, or of a newer format."""
    if not _ID.fullmatch(run):
        raise ArtefactError(f"A run's id: found {shown(repr(run), 60)}, wanted one such as 20261130T021944-3f9a1c.")
    path = run_folder(project, run) / RECORD
    try:
        content = read_small_file(path, MOST_BYTES + 1)
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read: {error.strerror or error}. {RunRecord.REMEDY}") from error
    if len(content) > MOST_BYTES:
        raise ArtefactError(f"{path} is larger than {MOST_BYTES:,} bytes. {RunRecord.REMEDY}")
    record = RunRecord.parse(content, str(path))
    if record.id != run:
        raise ArtefactError(f"{path} is the record of {record.id}, wanted {run}. {RunRecord.REMEDY}")
    return record


def list_records(project: Path) -> Listing:
    """All runs of a project, by start and id; none where nothing was submitted. Raises OutputError."""
    records, problems = [], []
    for run in run_ids(project):
        if not (run_folder(project, run) / RECORD).exists():
            continue  # its client has ended before anything was submitted
        try:
            records.append(read_record(project, run))
        except ArtefactError as error:
            problems.append(str(error))
    return Listing(tuple(sorted(records, key=lambda record: (record.start, record.id))), tuple(problems))


def run_ids(project: Path) -> list[str]:
    """The ids of all runs of a project that have a folder, sorted. Raises ArtefactError."""
    folder = runs_folder(project)
    try:
        return sorted(name for name in os.listdir(folder) if _ID.fullmatch(name))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ArtefactError(f"{folder} cannot be read: {error.strerror or error}.") from error


def find_record(project: Path, prefix: str) -> RunRecord:
    """The run whose id begins so. Raises ConfigError where there is none or several, ArtefactError as read_record."""
    found = [run for run in run_ids(project) if prefix and run.startswith(prefix)]
    if len(found) == 1:
        return read_record(project, found[0])
    several = f"{', '.join(found[:5])}{', …' if len(found) > 5 else ''}"
    raise ConfigError(
        f"RUN: found {f'{len(found)} runs ({several})' if found else 'no run'} whose id begins with "
        f"{shown(repr(prefix), 60)}, wanted one. loadcast history list shows them."
    )
