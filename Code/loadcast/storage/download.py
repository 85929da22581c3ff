"""The newest model, or all of its run, from an output to a folder of its own: in parallel, resumable, verified.

Files gather in a folder beside the destination, which stays when the download is interrupted: the next one goes on with
it. The destination is replaced when everything is there and equals the checksums in `info`.
"""

from __future__ import annotations

import fcntl
import glob
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from loadcast import paths
from loadcast.artefacts.info import Info
from loadcast.errors import ArtefactError, InputError, OutputError
from loadcast.progress import Progress, Update, silent
from loadcast.storage.checksum import sha256_of_files
from loadcast.storage.files import check_writable_name
from loadcast.storage.output import Output
from loadcast.storage.run_files import MAX_FILES, RunFiles, files_of_model, foreign_files, is_mark
from loadcast.storage.table_files import is_hidden
from loadcast.system.signals import committing

_LONGEST_NAME_BYTES = 255
_CHECKED_PARTS = (*paths.BUNDLE_FOLDERS, paths.METRICS)
_TRAIN_AGAIN = "Train again: python Code/train.py CONFIG."


@dataclass(frozen=True)
class Downloaded:
    """What a download has brought: its run, and the number and size in bytes of the destination's files."""

    run: str
    files: int
    size: int


def download_model(output: Output, dest: Path, everything: bool = False, progress: Progress = silent) -> Downloaded:
    """Bring the newest model bundle (`everything`: all artefacts of its run) to the folder `dest`.

    A bundle that stands there, with nothing else beside it, is replaced once the new one is complete and verified;
    anything else is refused with OutputError. Raises ArtefactError where there is no model, or one that is not as its
    `info` says; ConfigError or InputError where the output cannot be read.
    """
    check_writable_name(dest, "DEST")
    dest = Path(os.path.abspath(dest))
    parts = paths.ARTEFACTS if everything else paths.BUNDLE
    _check_replaceable(dest, parts)
    source = files_of_model(output)
    info = source.info()
    listed = _checksums(info, source.shown)
    sizes = source.sizes(parts)
    _check_files(sizes, listed, source.shown)
    with _gathering(dest, source.run) as folder:
        missing = {name: size for name, size in sizes.items() if not _is_there(folder, name, size, listed.get(name))}
        missing.pop(paths.INFO, None)
        _check_room(folder, sum(missing.values()))
        with progress("Downloading") as update:
            _fetch(source, list(missing), folder, _resumed(update, sum(sizes.values()), sum(missing.values())))
        (folder / paths.INFO).write_bytes(info)  # as it was read: the files are held against it
        _remove_others(folder, sizes)
        _verify(folder, listed, source.shown)
        _check_replaceable(dest, parts)
        _replace(dest, folder)
    return Downloaded(source.run, len(sizes), sum(sizes.values()))


def _checksums(data: bytes, shown: str) -> dict[str, str]:
    """The checksums of the bundle's files. Raises ArtefactError where `info` is not as training writes it."""
    listed = Info.parse(data, f"{paths.INFO} of {shown}").files
    return {name: digest for name, digest in listed.items() if name.partition("/")[0] in _CHECKED_PARTS}


def _check_files(sizes: Mapping[str, int], listed: Mapping[str, str], shown: str) -> None:
    """Raise ArtefactError unless the files make a whole bundle, and each stays in the folder that it is brought to."""
    if len(sizes) > MAX_FILES:
        raise ArtefactError(f"{shown} has more than {MAX_FILES:,} files, which no run has. {_TRAIN_AGAIN}")
    folders = {parent for name in sizes for parent in _folders_of(name)}
    for name in {**sizes, **listed}:
        if not _is_inside(name):
            raise ArtefactError(f"{shown} holds {name[:100]!r}, which is no path below a folder. {_TRAIN_AGAIN}")
        if name in folders:
            raise ArtefactError(f"{shown} holds {name[:100]!r} both as a file and as a folder. {_TRAIN_AGAIN}")
    lacking = [part for part in paths.BUNDLE if part not in sizes and part not in folders]
    lacking += [name for name in listed if name not in sizes]
    if lacking:
        raise ArtefactError(f"{shown} lacks {lacking[0]}; wanted a whole bundle. {_TRAIN_AGAIN}")
    checked = (name for name in sizes if name.partition("/")[0] in _CHECKED_PARTS)
    unlisted = sorted(name for name in checked if name not in listed and _is_hidden(name) and not is_mark(name))
    if unlisted:
        raise ArtefactError(
            f"{shown} is not as its {paths.INFO} says: {unlisted[0]} is not listed there. It was changed after "
            f"training. {_TRAIN_AGAIN}"
        )


def _is_hidden(name: str) -> bool:
    """Whether checksums leave out a file, as Spark does."""
    return any(map(is_hidden, name.split("/")))


def _is_inside(name: str) -> bool:
    """Whether a name is a path below a folder, on every system."""
    return (
        name.isprintable()
        and not any(sign in name for sign in "\\:")
        and all(piece not in ("", ".", "..") for piece in name.split("/"))
        and all(len(piece.encode()) <= _LONGEST_NAME_BYTES for piece in name.split("/"))
    )


def _folders_of(name: str) -> list[str]:
    pieces = name.split("/")
    return ["/".join(pieces[:end]) for end in range(1, len(pieces))]


def _is_there(folder: Path, name: str, size: int, digest: str | None) -> bool:
    """Whether an earlier download has brought the file. It appeared whole; those with a checksum are looked at anew."""
    file = folder / name
    if file.is_symlink() or not file.is_file() or file.stat().st_size != size:
        return False
    return digest is None or sha256_of_files(folder, [name]).get(name) == digest


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"The download needs {needed / 1e6:,.1f} MB more, and there are {free / 1e6:,.1f} MB free in "
            f"{folder.parent}. Make room, or choose another folder."
        )


def _resumed(update: Update, total: int, missing: int) -> Update:
    """Tells how far the whole download is, what an earlier one has brought included."""
    update(total - missing, total)
    return lambda done, _: update(total - missing + done, total)


def _fetch(source: RunFiles, names: list[str], folder: Path, update: Update) -> None:
    try:
        source.fetch(names, folder, update)
    except InputError as error:
        if source.is_there():
            raise
        raise ArtefactError(
            f"{source.shown} was removed meanwhile: newer runs have been published. Start the download again."
        ) from error


def _remove_others(folder: Path, names: Iterable[str]) -> None:
    """Remove what is not of this download, such as files that an older interrupted one began."""
    wanted = set(names)
    for file in sorted(folder.rglob("*"), reverse=True):
        if file.is_dir() and not file.is_symlink():
            with suppress(OSError):  # it holds files
                file.rmdir()
        elif file.relative_to(folder).as_posix() not in wanted:
            file.unlink()


def _verify(folder: Path, listed: Mapping[str, str], shown: str) -> None:
    """Raise ArtefactError unless the bundle's files are those of `info`; those that are not are removed."""
    actual = sha256_of_files(folder, _CHECKED_PARTS)
    wrong = sorted(name for name in {**listed, **actual} if actual.get(name) != listed.get(name))
    for name in wrong:
        (folder / name).unlink(missing_ok=True)
    if wrong:
        what = "has another checksum than is written there" if wrong[0] in listed else "is not listed there"
        raise ArtefactError(
            f"{shown} is not as its {paths.INFO} says ({len(wrong):,} files): {wrong[0]} {what}. It was changed after "
            f"training. {_TRAIN_AGAIN}"
        )


@contextmanager
def _gathering(dest: Path, run: str) -> Iterator[Path]:
    """Give the folder for a run's files, which no other download uses meanwhile; after an error it stays."""
    folder = dest.with_name(f".{dest.name}-{run}.download")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder, dest):
            yield folder
        for older in dest.parent.glob(f".{glob.escape(dest.name)}-*.download"):
            with suppress(OSError, OutputError), _alone(older, dest):
                shutil.rmtree(older)
    except OSError as error:
        raise OutputError(f"Cannot write {dest}: {error.strerror or error}. Choose another folder.") from error


@contextmanager
def _alone(folder: Path, dest: Path) -> Iterator[None]:
    """Keep other downloads out of a folder. Raises OutputError where one is in it."""
    if folder.is_symlink():
        raise OutputError(f"{folder} is a link. Remove it, or choose another folder than {dest}.")
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise OutputError(f"Another download to {dest} is under way. Wait for it, or choose another folder.") from None
    finally:
        os.close(descriptor)


def _check_replaceable(dest: Path, parts: Iterable[str]) -> None:
    """Raise OutputError unless `dest` is absent, empty, or a folder of files of these parts of a run alone."""
    if dest.is_symlink() or (dest.exists() and not dest.is_dir()):
        raise OutputError(f"{dest} is not a folder. Choose another place for the model.")
    items = list(dest.iterdir()) if dest.exists() else []
    others = sorted(item.name for item in items if item.name not in parts or item.is_symlink())
    others = others or foreign_files(dest)
    if others:
        raise OutputError(f"{dest} holds {others[0]!r}, which would be lost. Choose another folder.")


@committing()
def _replace(dest: Path, fresh: Path) -> None:
    """Put the folder `fresh` in place of `dest`, which is put back if that fails."""
    old = dest.with_name(f".{dest.name}-{secrets.token_hex(4)}-old")
    if dest.exists():
        os.replace(dest, old)
    try:
        os.replace(fresh, dest)
    except OSError:
        if old.exists():
            os.replace(old, dest)
        raise
    shutil.rmtree(old, ignore_errors=True)
