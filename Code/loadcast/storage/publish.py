"""Output folders: a run appears whole, by the switch of one link, or not at all.

    output/
      runs/<id>/               a complete run; never changed afterwards, but marked if it is rolled back
      runs/.staging-<id>/      a run being written; nobody reads it
      current -> runs/<id>     the newest run; replaced atomically
      model -> runs/<id>       the newest run with a trained forest: what the service loads
      mlSource.parquet -> current/mlSource.parquet, and so on for each artefact

A reader that follows `current` once (open_run) sees one run throughout. The last two runs and the last two with a model
are kept. storage/blob/output.py does the same in a container.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from loadcast import paths
from loadcast.errors import ArtefactError, OutputError
from loadcast.storage.runs import (
    PublishedRun,
    is_run_name,
    kept_runs,
    log_published,
    never_published,
    new_run_name,
    run_before,
)

_LOCK = ".lock"
_LINKS = (paths.CURRENT, paths.MODEL, *paths.ARTEFACTS)


def open_run(output: Path, link: str = paths.CURRENT) -> Path:
    """The folder of the newest complete run (or the newest with a model: link=paths.MODEL).

    Raises ArtefactError if there is none.
    """
    try:
        return (output / link).resolve(strict=True)
    except (OSError, RuntimeError):  # a RuntimeError where links go round in a circle
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
    Raises OutputError where the folder cannot be written, or another run is writing into it.
    """
    _prepare(output)
    with _lock(output):
        _remove_leftovers(output)
        name = new_run_name()
        staging = output / paths.run_path(f"{paths.STAGING_PREFIX}{name}")
        try:
            with _explained(output):
                staging.mkdir()
                for artefact in carry:
                    _carry(output / paths.CURRENT / artefact, staging / artefact)
                yield staging
                _remove_checksum_files(staging)
                _publish(output, staging, name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def _explained(output: Path) -> Iterator[None]:
    """Turn what the operating system says of writing into an OutputError."""
    try:
        yield
    except (ConnectionError, TimeoutError):  # nothing to do with the folder: Spark may have died
        raise
    except OSError as error:
        raise OutputError(f"Cannot write to {output}: {error.strerror or error}. Choose another output.") from error


def _prepare(output: Path) -> None:
    with _explained(output):
        (output / paths.RUNS).mkdir(parents=True, exist_ok=True)
    for name in _LINKS:
        place = output / name
        if not _is_ours(place):
            raise OutputError(
                f"{place} is not from a published run and would be overwritten. Move it away, or choose another output."
            )


def _is_ours(place: Path) -> bool:
    """Whether nothing stands at `place`, or a link that publishing a run has made."""
    if place.is_symlink():
        return os.readlink(place).startswith((f"{paths.RUNS}/", f"{paths.CURRENT}/"))
    return not place.exists()


def _remove_leftovers(output: Path) -> None:
    """Remove what killed runs have left: the lock is ours, so nobody works on it any more."""
    for stale in (output / paths.RUNS).glob(f"{paths.STAGING_PREFIX}*"):
        shutil.rmtree(stale, ignore_errors=True)
    for run in never_published(list_runs(output)):
        shutil.rmtree(output / paths.run_path(run.name), ignore_errors=True)
    for name in _LINKS:
        for link in output.glob(f".{name}-*"):
            if link.is_symlink():
                link.unlink()


@contextmanager
def _lock(output: Path) -> Iterator[None]:
    try:
        handle = open(output / _LOCK, "w")  # noqa: SIM115
    except OSError as error:
        raise OutputError(f"Cannot write to {output}: {error.strerror or error}. Choose another output.") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OutputError(f"Another run is writing to {output}. Wait for it, or choose another output.") from None
        yield


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


def _publish(output: Path, staging: Path, name: str) -> None:
    run = output / paths.run_path(name)
    staging.rename(run)
    for artefact in paths.ARTEFACTS:
        _link(output / artefact, f"{paths.CURRENT}/{artefact}")
    has_model = (run / paths.FOREST_MODEL).exists()
    _point(output, name, name if has_model else None)
    log_published(name, str(output), has_model)
    _prune(output)


def _point(output: Path, current: str, model: str | None) -> None:
    """Make runs the newest, and the one with the newest model (None: leave that)."""
    _link(output / paths.CURRENT, paths.run_path(current))
    if model is not None:
        _link(output / paths.MODEL, paths.run_path(model))


def _link(place: Path, target: str) -> None:
    """Make `place` a link to `target`, replacing another link atomically."""
    if place.is_symlink() and os.readlink(place) == target:
        return
    fresh = place.with_name(f".{place.name}-{secrets.token_hex(4)}")
    fresh.symlink_to(target)
    os.replace(fresh, place)


def _prune(output: Path) -> None:
    runs = list_runs(output)
    kept = kept_runs(runs)
    for run in runs:
        if run not in kept:
            shutil.rmtree(
                output / paths.run_path(run.name), ignore_errors=True
            )  # the new run is published all the same


def list_runs(output: Path) -> list[PublishedRun]:
    """The complete runs that are kept, oldest first."""
    folders = [item for item in (output / paths.RUNS).glob("*") if is_run_name(item.name)]
    links = {link: (output / link).resolve().name for link in (paths.CURRENT, paths.MODEL)}
    return [
        PublishedRun(
            name=folder.name,
            has_model=(folder / paths.FOREST_MODEL).exists(),
            withdrawn=(folder / paths.WITHDRAWN).exists(),
            is_current=folder.name == links[paths.CURRENT],
            is_model=folder.name == links[paths.MODEL],
        )
        for folder in sorted(folders)
    ]


def roll_back(output: Path) -> PublishedRun:
    """Make the run before the newest one the newest again, and its model, or the last before it, the service's.

    Raises ArtefactError where there is none.
    """
    if not (output / paths.RUNS).is_dir():
        raise ArtefactError(f"{output} holds no published run.")
    with _lock(output), _explained(output):
        runs = list_runs(output)
        target, model = run_before(runs, str(output))
        # First the mark: were the links changed first, a crash in between would leave a run to be rolled back to.
        for run in runs:
            if run.name > target.name:
                (output / paths.run_path(run.name) / paths.WITHDRAWN).touch()
        _point(output, target.name, model.name if model else None)
        if model is None:
            (output / paths.MODEL).unlink(missing_ok=True)
    return target
