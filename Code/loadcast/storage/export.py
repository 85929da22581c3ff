"""A model bundle as a folder of its own."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from loadcast import paths
from loadcast.errors import ArtefactError, OutputError
from loadcast.storage.publish import open_run

#: What a bundle consists of.
BUNDLE_PARTS = (*paths.BUNDLE_FOLDERS, paths.METRICS, paths.INFO)


def export_bundle(output: Path, dest: Path) -> int:
    """Copy the newest model bundle of an output folder to `dest`; returns its size in bytes.

    A bundle that stands there, with nothing else beside it, is replaced once the new one is complete; anything else is
    refused with OutputError. Raises ArtefactError where there is no model, or not all of it.
    """
    run = open_run(output, paths.MODEL)
    missing = [name for name in BUNDLE_PARTS if not (run / name).exists()]
    if missing:
        raise ArtefactError(
            f"The run {run} lacks {missing[0]}; wanted a whole bundle. Train again: Code/train.py CONFIG."
        )
    dest = Path(os.path.abspath(dest))
    fresh = dest.with_name(f".{dest.name}-{secrets.token_hex(4)}")
    try:
        _check_replaceable(dest)
        fresh.mkdir(parents=True)
        for name in BUNDLE_PARTS:
            _copy(run / name, fresh / name)
        size = sum(file.stat().st_size for file in fresh.rglob("*") if file.is_file())
        _replace(dest, fresh)
    except OSError as error:
        raise OutputError(f"Cannot write {dest}: {error.strerror or error}. Choose another folder.") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return size


def _check_replaceable(dest: Path) -> None:
    """Raise OutputError unless `dest` is absent, an empty folder, or a bundle and nothing else."""
    if dest.is_symlink() or (dest.exists() and not dest.is_dir()):
        raise OutputError(f"{dest} is not a folder. Choose another place for the bundle.")
    others = (
        [item.name for item in dest.iterdir() if item.name not in BUNDLE_PARTS or item.is_symlink()]
        if dest.exists()
        else []
    )
    if others:
        raise OutputError(f"{dest} holds {sorted(others)[0]!r}, which is no part of a bundle. Choose another folder.")


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def _replace(dest: Path, fresh: Path) -> None:
    if not dest.exists():
        os.replace(fresh, dest)
        return
    old = fresh.with_name(fresh.name + "-old")
    os.replace(dest, old)
    try:
        os.replace(fresh, dest)
    except OSError:
        os.replace(old, dest)
        raise
    shutil.rmtree(old, ignore_errors=True)
