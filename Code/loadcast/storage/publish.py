"""Output folders: a run appears whole, by the switch of one link, or not at all.

    output/
      runs/<id>/               a complete run; never changed afterwards, but marked if it is rolled back
      runs/<id>/.complete      its record: files, and what was published before it (runs.py)
      runs/.staging-<id>/      a run being written or removed; nobody reads it
      current -> runs/<id>     the newest run; replaced atomically
      model -> runs/<id>       the newest run with a trained forest: what the service loads
      mlSource.parquet -> current/mlSource.parquet, and so on for each artefact

A reader that follows `current` once (open_run) sees one run throughout. publishing.py says in which order what is
written, and what is kept; storage/blob/output.py does the same in a container.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from loadcast import paths
from loadcast.errors import ArtefactError, InputError, OutputError
from loadcast.storage import publishing, repairing
from loadcast.storage.locking import FolderLock, held_lock
from loadcast.storage.publishing import Pointer, PointerChangedError, Publication
from loadcast.storage.runs import PublishedRun, Record, StoredRun, is_run_name, parse_record

_LOCK = ".lock"
_LINKS = (paths.CURRENT, paths.MODEL, *paths.ARTEFACTS)


def open_run(output: Path, link: str = paths.CURRENT) -> Path:
    """The folder of the newest complete run (or the newest with a model: link=paths.MODEL).

    Raises ArtefactError if there is none.
    """
    try:
        return (output / link).resolve(strict=True)
    except (OSError, RuntimeError):  # a RuntimeError where links go round in a circle
        if (output / link).is_symlink():
            raise ArtefactError(
                f"{output} holds no published run where {link} leads to, {os.readlink(output / link)!r}. "
                f"Run loadcast runs repair {output}"
            ) from None
        raise no_run(str(output), link) from None


def no_run(shown: str, link: str) -> ArtefactError:
    """The error for an output without what `link` leads to."""
    what, todo = ("run", "Run python Code/etl.py CONFIG first.")
    if link == paths.MODEL:
        what, todo = ("model", "Train one: python Code/train.py CONFIG.")
    return ArtefactError(f"{shown} holds no published {what}. {todo}")


@contextmanager
def stage_run(output: Path, carry: Iterable[str] = ()) -> Iterator[Path]:
    """Give a folder to write a run into; publish it if the block ends without an error, else remove it.

    `carry` names artefacts of the newest run that the new one starts with (as links to the same files: no copy).
    Raises OutputError where the folder cannot be written, or another run is writing into it; ArtefactError where its
    pointers are damaged.
    """
    _prepare(output)
    with held_lock(output / _LOCK) as lock, explained(output):
        store = FolderStore(output, lock)
        _remove_leftovers(output)
        publication = Publication(store)
        carried = publication.carried(carry)
        staging = store.staging(publication.name)
        try:
            staging.mkdir()
            for artefact in carried:
                _carry(output / paths.CURRENT / artefact, staging / artefact)
            yield staging
            _remove_checksum_files(staging)
            publication.publish(_sizes(staging), (staging / paths.FOREST_MODEL).exists())
        except BaseException:
            publication.abandon()
            raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        publication.prune()
        with suppress(OutputError):  # it is published: who has the lock now removes them
            # Once more: what a killed run had started may write for some seconds after it, into what was removed.
            store.prove()
            _remove_leftovers(output)


@contextmanager
def explained(output: Path) -> Iterator[None]:
    """Turn what the operating system says of writing into an OutputError."""
    try:
        yield
    except (ConnectionError, TimeoutError):  # nothing to do with the folder: Spark may have died
        raise
    except OSError as error:
        raise OutputError(f"Cannot write to {output}: {error.strerror or error}. Choose another output.") from error


class FolderStore:
    """The runs and links of an output folder; see RunStore. Without a lock it is only read."""

    def __init__(self, output: Path, lock: FolderLock | None = None) -> None:
        self._output, self._lock = output, lock
        self.shown = str(output)

    def prove(self) -> None:
        if self._lock is not None:
            self._lock.prove()

    def pointer(self, link: str) -> Pointer | None:
        path = self._output / link
        try:
            target = os.readlink(path)
        except FileNotFoundError:
            return None
        except OSError:  # no link
            return Pointer(None, "", "something that is no link")
        folder, _, name = target.rpartition("/")
        is_run = folder == paths.RUNS and is_run_name(name)
        return Pointer(name if is_run else None, target, target[:100])

    def claim(self, link: str, expected: Pointer) -> Pointer:
        self._check(link, expected)  # the lock is enough: no request can be under way
        return expected

    def replace(self, link: str, expected: Pointer | None, name: str | None) -> None:
        path = self._output / link
        self._check(link, expected)
        if link == paths.CURRENT:
            for artefact in paths.ARTEFACTS:
                replace_link(self._output / artefact, f"{paths.CURRENT}/{artefact}")
        if name is None:
            path.unlink(missing_ok=True)
            return
        fresh = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
        fresh.symlink_to(paths.run_path(name))
        try:
            self._check(link, expected)
            os.replace(fresh, path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise

    def stored(self) -> list[StoredRun]:
        folders = sorted(item for item in (self._output / paths.RUNS).glob("*") if is_run_name(item.name))
        return [
            StoredRun(
                name=folder.name,
                is_complete=True,  # it was given its name when it was
                has_model=(folder / paths.FOREST_MODEL).exists(),
                withdrawn=(folder / paths.WITHDRAWN).exists(),
            )
            for folder in folders
        ]

    def is_complete(self, name: str) -> bool:
        return self._run(name).is_dir()

    def record(self, name: str) -> Record | None:
        try:
            return parse_record((self._run(name) / paths.COMPLETE).read_bytes())
        except OSError:
            return None

    def sizes(self, name: str) -> dict[str, int]:
        return _sizes(self._run(name))

    def read(self, name: str, file: str) -> BinaryIO:
        try:
            return (self._run(name) / file).open("rb")
        except OSError as error:
            raise InputError(f"Cannot read {self._run(name) / file}: {error.strerror}.") from error

    def complete(self, name: str, record: Record) -> None:
        staging = self.staging(name)
        (staging / paths.COMPLETE).write_bytes(record.to_bytes())
        staging.rename(self._run(name))

    def amend(self, name: str, record: Record) -> None:
        fresh = self._run(name) / f"{paths.COMPLETE}-{secrets.token_hex(4)}"
        fresh.write_bytes(record.to_bytes())
        os.replace(fresh, self._run(name) / paths.COMPLETE)

    def withdraw(self, name: str) -> None:
        (self._run(name) / paths.WITHDRAWN).touch()

    def remove(self, name: str) -> None:
        staging = self.staging(name)
        if self._run(name).exists():
            self._run(name).rename(staging)  # at once, so that no reader takes a half for the whole
        shutil.rmtree(staging, ignore_errors=True)

    def staging(self, name: str) -> Path:
        """The folder of a run that is being written, or removed."""
        return self._output / paths.run_path(f"{paths.STAGING_PREFIX}{name}")

    def _run(self, name: str) -> Path:
        return self._output / paths.run_path(name)

    def _check(self, link: str, expected: Pointer | None) -> None:
        """Raise unless the lock is ours, and the link is as expected."""
        self.prove()
        if self.pointer(link) != expected:
            raise PointerChangedError(
                f"{self._output / link} was changed by another program at the same time. Run again when it is done."
            )


def _prepare(output: Path) -> None:
    with explained(output):
        (output / paths.RUNS).mkdir(parents=True, exist_ok=True)
    for name in _LINKS:
        path = output / name
        if not _is_ours(path):
            raise OutputError(
                f"{path} is not from a published run and would be overwritten. Move it away, or choose another output."
            )


def _is_ours(path: Path) -> bool:
    """Whether nothing stands at `path`, or a link that publishing a run has made."""
    if path.is_symlink():
        return os.readlink(path).startswith((f"{paths.RUNS}/", f"{paths.CURRENT}/"))
    return not path.exists()


def _remove_leftovers(output: Path) -> None:
    """Remove what killed runs have left: the lock is ours, so nobody works on it any more."""
    for stale in (output / paths.RUNS).glob(f"{paths.STAGING_PREFIX}*"):
        shutil.rmtree(stale, ignore_errors=True)
    for name in _LINKS:
        for link in output.glob(f".{name}-*"):
            if link.is_symlink():
                link.unlink()


def _carry(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link_or_copy)
    elif source.exists():
        _link_or_copy(str(source), str(target))


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)


def _remove_checksum_files(folder: Path) -> None:
    for file in filter(is_checksum_file, folder.rglob("*.crc")):
        file.unlink()


def is_checksum_file(file: Path) -> bool:
    """Whether it is one of Hadoop's .crc files.

    They are not published: `info` has a sha-256 of each file, and a copy must not carry half of them.
    """
    return file.name.startswith(".") and file.suffix == ".crc"


def _sizes(folder: Path) -> dict[str, int]:
    """The files below a folder, but for the marks of runs: name → size in bytes."""
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    return {name: file.stat().st_size for name, file in sorted(files.items()) if name not in paths.RUN_MARKS}


def replace_link(link: Path, target: str) -> None:
    """Make `link` a link to `target`, replacing another link atomically. Raises OSError."""
    if link.is_symlink() and os.readlink(link) == target:
        return
    fresh = link.with_name(f".{link.name}-{secrets.token_hex(4)}")
    fresh.symlink_to(target)
    os.replace(fresh, link)


def list_runs(output: Path) -> list[PublishedRun]:
    """The complete runs that are kept, in the order of their publishing."""
    return publishing.list_runs(FolderStore(output))


def problems(output: Path) -> list[str]:
    """What is wrong with the links to runs, a line each."""
    return repairing.problems(FolderStore(output))


def roll_back(output: Path) -> PublishedRun:
    """Make the run before the newest one the newest again, and its model, or the last before it, the service's.

    Raises ArtefactError where there is none.
    """
    with _changing(output) as store:
        return publishing.roll_back(store)


def repair(output: Path) -> repairing.Repair:
    """Let the links lead to whole runs again. Raises ArtefactError where there is none."""
    with _changing(output) as store:
        return repairing.repair(store)


@contextmanager
def _changing(output: Path) -> Iterator[FolderStore]:
    if not (output / paths.RUNS).is_dir():
        raise ArtefactError(f"{output} holds no published run.")
    _prepare(output)
    with held_lock(output / _LOCK) as lock, explained(output):
        yield FolderStore(output, lock)
