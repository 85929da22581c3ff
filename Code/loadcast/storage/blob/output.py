"""Runs published in a container: all of a new one at once, by the change of one small blob.

    <prefix>/runs/<id>/...       a run; nobody reads it before `current` or `model` names it
    <prefix>/runs/<id>/.complete the last blob that is written of it
    <prefix>/current             the name of the newest run; replaced atomically
    <prefix>/model               the name of the newest run with a trained forest
    <prefix>/.lock               leased by whoever writes a run

A reader that reads `current` once sees one run throughout. storage/publish.py does the same in a folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from loadcast import paths
from loadcast.errors import ArtefactError, LoadcastError
from loadcast.storage.blob.container import Container
from loadcast.storage.blob.kept import KeptInContainer
from loadcast.storage.blob.mirror import Mirror, MonthsInContainer
from loadcast.storage.blob.staging import ContainerStaging
from loadcast.storage.kept import KeptResults
from loadcast.storage.months import Months
from loadcast.storage.output import Wanted
from loadcast.storage.publish import no_run
from loadcast.storage.runs import (
    PublishedRun,
    is_run_name,
    kept_runs,
    log_published,
    never_published,
    new_run_name,
    run_before,
)
from loadcast.storage.staging import Staging

_COMPLETE = ".complete"
_LOCK = ".lock"


@dataclass(frozen=True)
class ContainerOutput:
    """Runs in a container, below the path `prefix` (without slashes around it; empty: the container itself)."""

    container: Container
    prefix: str = ""

    @property
    def shown(self) -> str:
        return self.container.root.at(self.prefix.strip("/")).url

    @contextmanager
    def stage(self, carry: Iterable[str] = ()) -> Iterator[Staging]:
        with (
            self.container.lease(self._place(_LOCK)) as lease,
            tempfile.TemporaryDirectory(prefix="loadcast-run-") as folder,
        ):
            runs = self.runs()
            self._remove_leftovers(runs)
            current = next((run for run in runs if run.is_current), None)
            run = self._place(paths.run_path(new_run_name()))
            carried = (self._place(paths.run_path(current.name)), tuple(carry)) if current else None
            staging = ContainerStaging(Path(folder), self.container, run, carried)
            try:
                yield staging
                staging.upload()
                lease.check()
                self._publish(run.rpartition("/")[2], staging.has_model())
            except BaseException:
                staging.close()
                self._remove_unless_published(run)
                raise
            staging.close()
            self._prune()

    def at_hand(self, wanted: Wanted, if_any: Wanted | None = None) -> Path:
        mirror = Mirror(self.container, self.prefix)
        for link, names in {**(if_any or {}), **wanted}.items():
            run = self._linked(link)
            if run is not None:
                mirror.fetch(link, run, names)
            elif link in wanted:
                raise no_run(self.shown, link)
        return mirror.folder

    def months(self, run: Path) -> Months:
        return MonthsInContainer(Mirror(self.container, self.prefix), run.name)

    def kept_results(self) -> KeptResults:
        return KeptInContainer(self.container, self._place(paths.SCANNED))

    def runs(self) -> list[PublishedRun]:
        complete: dict[str, set[str]] = {}
        root = self._place(paths.RUNS) + "/"
        for blob in self.container.list(root):
            name, _, rest = blob.name.removeprefix(root).partition("/")
            if is_run_name(name):
                complete.setdefault(name, set()).add(rest.partition("/")[0])
        links = {link: self._linked(link) for link in (paths.CURRENT, paths.MODEL)}
        return [
            PublishedRun(
                name=name,
                has_model=paths.FOREST_MODEL in holds,
                withdrawn=paths.WITHDRAWN in holds,
                is_current=name == links[paths.CURRENT],
                is_model=name == links[paths.MODEL],
            )
            for name, holds in sorted(complete.items())
            if _COMPLETE in holds
        ]

    def roll_back(self) -> PublishedRun:
        with self.container.lease(self._place(_LOCK)) as lease:
            runs = self.runs()
            target, model = run_before(runs, self.shown)
            # First the mark: were `current` changed first, a crash in between would leave a run to be rolled back to.
            for run in runs:
                if run.name > target.name:
                    self.container.put(self._place(paths.run_path(run.name), paths.WITHDRAWN), b"")
            lease.check()
            self._point(paths.CURRENT, target.name)
            if model is not None:
                self._point(paths.MODEL, model.name)
            else:
                self.container.delete([self._place(paths.MODEL)])
        return target

    def _publish(self, name: str, has_model: bool) -> None:
        self.container.put(self._place(paths.run_path(name), _COMPLETE), b"")
        self._point(paths.CURRENT, name)
        if has_model:
            self._point(paths.MODEL, name)
        log_published(name, self.shown, has_model)

    def _prune(self) -> None:
        with suppress(LoadcastError):  # the new run is published all the same, and the next one tries again
            runs = self.runs()
            kept = kept_runs(runs)
            for run in runs:
                if run not in kept:
                    self._remove(self._place(paths.run_path(run.name)))

    def _remove_unless_published(self, run: str) -> None:
        """Remove what a failed run has left. If a link leads to it, or that cannot be told, it stays."""
        with suppress(LoadcastError):
            if run.rpartition("/")[2] not in (self._linked(paths.CURRENT), self._linked(paths.MODEL)):
                self._remove(run)

    def _remove_leftovers(self, complete: list[PublishedRun]) -> None:
        """Remove what killed runs have left: the lease is ours, so nobody works on it any more."""
        known = {run.name for run in complete} - {run.name for run in never_published(complete)}
        root = self._place(paths.RUNS) + "/"
        names = [blob.name for blob in self.container.list(root, marks=True)]
        self.container.delete([name for name in names if name.removeprefix(root).partition("/")[0] not in known])

    def _remove(self, run: str) -> None:
        """Remove a run, its mark of completeness first."""
        self.container.delete([f"{run}/{_COMPLETE}"])
        self.container.delete([blob.name for blob in self.container.list(f"{run}/", marks=True)])

    def _point(self, link: str, name: str) -> None:
        self.container.put(self._place(link), f"{name}\n".encode())

    def _linked(self, link: str) -> str | None:
        """The run that `current` or `model` names. Raises ArtefactError where that cannot be a run."""
        found = self.container.get(self._place(link))
        if found is None:
            return None
        name = found[0][:100].decode("ascii", errors="replace").strip()
        if not is_run_name(name):
            raise ArtefactError(f"{self.shown}: {link} holds {name!r}, wanted the name of a run. Publish a run anew.")
        return name

    def _place(self, *parts: str) -> str:
        return "/".join(filter(None, (self.prefix.strip("/"), *parts)))
