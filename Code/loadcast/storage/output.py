"""Where a configuration's results go: a folder, or a container in Azure Blob Storage. The same runs in both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from loadcast import paths
from loadcast.errors import ConfigError, InputError
from loadcast.secrets import shown
from loadcast.settings import Settings
from loadcast.storage import publish
from loadcast.storage.files import check_writable_name, local_path
from loadcast.storage.kept import KeptInFolder, KeptResults
from loadcast.storage.months import Months, MonthsInFolder
from loadcast.storage.remote import OwnAccount, container_at, is_remote
from loadcast.storage.repairing import Repair
from loadcast.storage.runs import PublishedRun, Wanted
from loadcast.storage.staging import FolderStaging, Staging

_NOTHING: Wanted = {}


class Output(Protocol):
    """Published runs, and the place for new ones."""

    @property
    def shown(self) -> str:
        """For messages: a path or URL without secrets."""

    def stage(self, carry: Iterable[str] = ()) -> AbstractContextManager[Staging]:
        """Give a run to write; it is published if the block ends without an error, else removed.

        `carry` names artefacts of the newest run that it starts with. Raises OutputError where nothing can be written,
        or another run is being written.
        """

    def at_hand(self, wanted: Wanted, if_any: Wanted = _NOTHING) -> Path:
        """An output folder on this machine with at least the wanted artefacts, as far as there are such.

        Raises ArtefactError where a link in `wanted` leads to no run; those in `if_any` need not. For an output that is
        such a folder it is left to open_run to say so.
        """

    def months(self, run: Path) -> Months:
        """The months of a run that at_hand has led to, of which it need not have brought any."""

    def artefact(self, run: Path, name: str) -> Path:
        """An artefact of a run that at_hand has led to, on this machine; where the run has none, so has the path."""

    def kept_results(self) -> KeptResults:
        """Results of scanned files that are kept from run to run."""

    def runs(self) -> list[PublishedRun]:
        """The complete runs that are kept, in the order of their publishing."""

    def problems(self) -> list[str]:
        """What is wrong with what leads to the runs, a line each; each says what to do."""

    def repair(self) -> Repair:
        """Let `current` and `model` name the newest whole runs again. Raises ArtefactError where there is none."""

    def roll_back(self) -> PublishedRun:
        """Make the run before the newest one the newest again; gives it. Raises ArtefactError where there is none."""


@dataclass(frozen=True)
class FolderOutput:
    """Runs in a folder of this machine; see publish.py."""

    folder: Path

    @property
    def shown(self) -> str:
        return shown(self.folder)

    @contextmanager
    def stage(self, carry: Iterable[str] = ()) -> Iterator[Staging]:
        with publish.stage_run(self.folder, carry) as folder:
            yield FolderStaging(folder)

    def at_hand(self, wanted: Wanted, if_any: Wanted = _NOTHING) -> Path:
        return self.folder

    def months(self, run: Path) -> Months:
        return MonthsInFolder(run)

    def artefact(self, run: Path, name: str) -> Path:
        return run / name

    def kept_results(self) -> KeptResults:
        return KeptInFolder(str((self.folder / paths.SCANNED).absolute()))

    def runs(self) -> list[PublishedRun]:
        return publish.list_runs(self.folder)

    def problems(self) -> list[str]:
        return publish.problems(self.folder)

    def repair(self) -> Repair:
        return publish.repair(self.folder)

    def roll_back(self) -> PublishedRun:
        return publish.roll_back(self.folder)


def open_output(settings: Settings) -> Output:
    """The place of the configuration's results: `output`, else the configured container.

    Raises ConfigError for one that cannot be, or a container that may not be used.
    """
    own = OwnAccount.of(settings)
    return open_output_at(settings.output or f"wasbs://{settings.storage_container}@{settings.storage_account}/", own)


def open_output_at(address: str, own: OwnAccount | None = None) -> Output:
    """The output at a path or URL; `own` is the account whose key is known. Raises ConfigError as open_output does."""
    if is_remote(address):
        from loadcast.storage.blob.output import ContainerOutput

        return ContainerOutput(*container_at(address, own))
    try:
        folder = local_path(address)
    except InputError:
        raise ConfigError(
            f"output: found {address!r}, wanted a folder, as a path or file: URL, or a container's URL."
        ) from None
    check_writable_name(folder, "output")
    return FolderOutput(Path(folder))
