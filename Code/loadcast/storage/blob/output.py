"""Runs published in a container: all of a new one at once, by the change of one small blob.

    <prefix>/runs/<id>/...       a run; nobody reads it before `current` or `model` names it
    <prefix>/runs/<id>/.complete the last blob that is written of it: its record (storage/runs.py)
    <prefix>/current             the name of the newest run; replaced atomically
    <prefix>/model               the name of the newest run with a trained forest
    <prefix>/.lock               leased by whoever writes a run

A reader that reads `current` once sees one run throughout. storage/publishing.py says in which order what is written,
and what is kept; storage/publish.py does the same in a folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadcast import paths
from loadcast.errors import ArtefactError
from loadcast.storage import publishing, repairing
from loadcast.storage.blob.container import Container
from loadcast.storage.blob.kept import KeptInContainer
from loadcast.storage.blob.location import joined
from loadcast.storage.blob.mirror import Mirror, MonthsInContainer, ReplacedError
from loadcast.storage.blob.staging import Carried, ContainerStaging
from loadcast.storage.blob.store import ContainerStore
from loadcast.storage.kept import KeptResults
from loadcast.storage.months import Months
from loadcast.storage.publish import no_run
from loadcast.storage.publishing import Publication, damaged_pointer
from loadcast.storage.runs import PublishedRun, Wanted
from loadcast.storage.staging import Staging
from loadcast.system.temporary import run_folder

_LOCK = ".lock"
_ATTEMPTS = 3


@dataclass(frozen=True)
class ContainerOutput:
    """Runs in a container, below the path `prefix` (without slashes around it; empty: the container itself)."""

    container: Container
    prefix: str = ""

    @property
    def shown(self) -> str:
        return self._store.shown

    @contextmanager
    def stage(self, carry: Iterable[str] = ()) -> Iterator[Staging]:
        with self._locked() as store, run_folder() as folder:
            publication = Publication(store)
            carried = None
            if names := publication.carried(carry):
                before = publication.base.newest or ""
                record = store.record(before)
                carried = Carried(store.path(before), names, record.files if record else ())
            staging = ContainerStaging(folder, self.container, store.path(publication.name), carried)
            try:
                yield staging
                store.prove()
                sent = staging.upload()
                store.prove()
                files = staging.prove(sent)
                publication.publish(files, any(name.startswith(f"{paths.FOREST_MODEL}/") for name in files))
            except BaseException:
                staging.close()
                publication.abandon()
                raise
            staging.close()
            publication.prune()

    def at_hand(self, wanted: Wanted, if_any: Wanted | None = None) -> Path:
        mirror = Mirror(self.container, self.prefix)
        for link, names in {**(if_any or {}), **wanted}.items():
            if not self._bring(mirror, link, tuple(names)):
                mirror.forget(link)
                if link in wanted:
                    raise no_run(self.shown, link)
        return mirror.folder

    def months(self, run: Path) -> Months:
        return MonthsInContainer(Mirror(self.container, self.prefix), run.name)

    def artefact(self, run: Path, name: str) -> Path:
        return Mirror(self.container, self.prefix).part(run.name, name)

    def kept_results(self) -> KeptResults:
        return KeptInContainer(self.container, joined(self.prefix, paths.SCANNED))

    def runs(self) -> list[PublishedRun]:
        return publishing.list_runs(self._store)

    def problems(self) -> list[str]:
        return repairing.problems(self._store)

    def repair(self) -> repairing.Repair:
        with self._locked() as store:
            return repairing.repair(store)

    def roll_back(self) -> PublishedRun:
        with self._locked() as store:
            return publishing.roll_back(store)

    @property
    def _store(self) -> ContainerStore:
        return ContainerStore(self.container, self.prefix)

    @contextmanager
    def _locked(self) -> Iterator[ContainerStore]:
        with self.container.lease(joined(self.prefix, _LOCK)) as lease:
            yield ContainerStore(self.container, self.prefix, lease)

    def _bring(self, mirror: Mirror, link: str, names: tuple[str, ...]) -> bool:
        """Have artefacts of the run that a pointer names; whether there is such a pointer.

        Newer runs may replace that one meanwhile: then those of the run that the pointer names now.
        """
        last = None
        for _ in range(_ATTEMPTS):
            pointer = self._store.pointer(link)
            if pointer is None:
                return False
            if pointer.name is None or pointer == last:
                raise damaged_pointer(self.shown, link, pointer)
            try:
                mirror.fetch(link, pointer.name, names)
            except ReplacedError:
                last = pointer
            else:
                return True
        raise ArtefactError(f"{self.shown}: {link} changes faster than its run can be read. Try again.")
