"""Output folders: a run appears whole, by the switch of one link, or not at all.

    output/
      runs/<id>/               a complete run; never changed afterwards
      runs/.staging-<id>/      a run being written; nobody reads it
      current -> runs/<id>     the newest run; replaced atomically
      model -> runs/<id>       the newest run with a trained forest: what the service loads
      mlSource.parquet -> current/mlSource.parquet, and so on for each artefact

A reader that follows `current` once (open_run) sees one run throughout. The last two runs and the one with the newest
model are kept.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from loadcast import paths
from loadcast.errors import ArtefactError, ConfigError, InputError, OutputError
from loadcast.settings import Settings
from loadcast.storage.files import local_path

_KEPT_RUNS = 2
_LOCK = ".lock"
_LINKS = (paths.CURRENT, paths.MODEL, *paths.ARTEFACTS)
_RUN_NAME = re.compile(r"\d{8}T\d{12}Z-[0-9a-f]{6}")


def output_folder(settings: Settings) -> Path:
    """The folder that the configuration's results go to. Raises ConfigError where it names none."""
    if settings.output is None:
        raise ConfigError(
            f"output: found nothing, and this version cannot write to the container {settings.storage_container}. "
            "Set output to a folder."
        )
    try:
        return Path(local_path(settings.output))
    except InputError:
        raise ConfigError(f"output: found {settings.output!r}, wanted a folder, as a path or file: URL.") from None


def open_run(output: Path, link: str = paths.CURRENT) -> Path:
    """The folder of the newest complete run (or the newest with a model: link=paths.MODEL).

    Raises ArtefactError if there is none.
    """
    try:
        return (output / link).resolve(strict=True)
    except (OSError, RuntimeError):  # a RuntimeError where links go round in a circle
        todo = (
            "Train one: python Code/train.py CONFIG." if link == paths.MODEL else "Run python Code/etl.py CONFIG first."
        )
        raise ArtefactError(
            f"{output} holds no published {'model' if link == paths.MODEL else 'run'}. {todo}"
        ) from None


@contextmanager
def stage_run(output: Path, carry: Iterable[str] = ()) -> Iterator[Path]:
    """Give a folder to write a run into; publish it if the block ends without an error, else remove it.

    `carry` names artefacts of the newest run that the new one starts with (as links to the same files: no copy).
    Raises OutputError where the folder cannot be written, or another run is writing into it.
    """
    _prepare(output)
    with _lock(output):
        _remove_leftovers(output)
        name = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S%fZ-") + secrets.token_hex(3)
        staging = output / paths.RUNS / f"{paths.STAGING_PREFIX}{name}"
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
    """Remove Hadoop's .crc files: `info` has a sha-256 of each file, and a copy must not carry half of them."""
    for file in folder.rglob(".*.crc"):
        file.unlink()


def _publish(output: Path, staging: Path, name: str) -> None:
    run = output / paths.RUNS / name
    staging.rename(run)
    for artefact in paths.ARTEFACTS:
        _link(output / artefact, f"{paths.CURRENT}/{artefact}")
    _link(output / paths.CURRENT, f"{paths.RUNS}/{name}")
    if (run / paths.FOREST_MODEL).exists():
        _link(output / paths.MODEL, f"{paths.RUNS}/{name}")
    _prune(output)


def _link(place: Path, target: str) -> None:
    """Make `place` a link to `target`, replacing another link atomically."""
    if place.is_symlink() and os.readlink(place) == target:
        return
    fresh = place.with_name(f".{place.name}-{secrets.token_hex(4)}")
    fresh.symlink_to(target)
    os.replace(fresh, place)


def _prune(output: Path) -> None:
    runs = sorted(run for run in (output / paths.RUNS).iterdir() if _RUN_NAME.fullmatch(run.name))
    linked = {(output / link).resolve() for link in (paths.CURRENT, paths.MODEL)}
    for run in runs[:-_KEPT_RUNS]:
        if run.resolve() not in linked:
            shutil.rmtree(run, ignore_errors=True)  # the new run is published: old files must not fail it
