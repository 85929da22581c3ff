"""Publishing a run, whatever happens meanwhile: one algorithm for folders and containers.

Whoever publishes holds the store's lock, and knows that it may be lost at any moment: stopped for minutes, cut off from
the network, its lock broken. So nothing rests on the lock alone:

- What is read under the lock is claimed: the pointer `current` gets another version, and publishers from before can no
  longer replace it. Only then may what they have left be removed.
- A run's files are proven where they lie, then its record is written, then `current` is replaced, if it is still what
  was claimed; then `model`, if it is still what was read. Before each of these the lock is proven at the store.
- The record tells the order of publishing (runs.py). What it or a pointer names is not removed.
- A publisher removes its own files, what it found left behind at its beginning, and what its own run replaces.

A publisher that ends between the two pointers leaves `model` one run behind; the next one mends that first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import BinaryIO, Protocol

from loadcast import paths
from loadcast.errors import ArtefactError, LoadcastError, OutputError
from loadcast.storage.runs import (
    Entry,
    PublishedRun,
    Record,
    StoredRun,
    kept_runs,
    log_published,
    new_run_name,
    newest_model,
    order_without_record,
)
from loadcast.system.signals import committing

_MODEL_ATTEMPTS = 3


class PointerChangedError(OutputError):
    """A pointer was replaced by another publisher: the own change was not made."""


class LostLockError(OutputError):
    """The publisher's lock is no longer its own."""


@dataclass(frozen=True)
class Pointer:
    """What `current` or `model` holds: a run's name, or None where that is no run's name.

    `version` changes whenever it is written; `text` is for messages.
    """

    name: str | None
    version: str
    text: str


class RunStore(Protocol):
    """Runs and pointers, in a folder or container. Methods raise LoadcastError where something cannot be done."""

    @property
    def shown(self) -> str:
        """For messages: a path or URL without secrets."""

    def prove(self) -> None:
        """Ask whether the lock is still ours. Raises LostLockError where it is not."""

    def pointer(self, link: str) -> Pointer | None:
        """What `current` or `model` holds; None where there is no such pointer."""

    def claim(self, link: str, expected: Pointer) -> Pointer:
        """Write a pointer again as it is, so that who read it before can no longer replace it.

        Raises PointerChangedError.
        """

    def replace(self, link: str, expected: Pointer | None, name: str | None) -> None:
        """Let a pointer name another run (None: remove it), if it is still what was expected.

        Raises PointerChangedError, or, before anything was asked for, LostLockError.
        """

    def stored(self) -> list[StoredRun]:
        """What a listing shows of all runs, by name."""

    def is_complete(self, name: str) -> bool:
        """Whether a run is complete: asked for itself, not listed."""

    def record(self, name: str) -> Record | None:
        """The record of a run; None where it has none, or that is damaged."""

    def sizes(self, name: str) -> Mapping[str, int]:
        """The files of a run: name → size in bytes."""

    def read(self, name: str, file: str) -> BinaryIO:
        """Open a file of a run for reading."""

    def complete(self, name: str, record: Record) -> None:
        """Write the record of a run, after all else of it."""

    def amend(self, name: str, record: Record) -> None:
        """Replace the record of a complete run."""

    def withdraw(self, name: str) -> None:
        """Mark a run that was rolled back."""

    def remove(self, name: str) -> None:
        """Remove what there is of a run: first what makes it complete."""


@dataclass(frozen=True)
class Base:
    """What a publisher found under its lock: the pointers, the order of publishing, and the runs of a listing."""

    current: Pointer | None
    model: Pointer | None
    sequence: int
    published: tuple[Entry, ...]
    has_record: bool
    stored: tuple[StoredRun, ...]

    @property
    def newest(self) -> str | None:
        """The run that `current` leads to; None where it leads to none."""
        name = self.current.name if self.current and self.published else None
        return name if name and name == self.published[-1].name else None

    @property
    def named(self) -> set[str]:
        """The runs that must stay: those that were published, and those that pointers name."""
        pointers = (self.current, self.model)
        return {entry.name for entry in self.published} | {pointer.name or "" for pointer in pointers if pointer}


def read_base(store: RunStore) -> Base:
    """Read and claim what there is, under the lock. Raises ArtefactError where `current` is no pointer to a run."""
    current = _sound(store, paths.CURRENT)
    if current is not None:
        current = store.claim(paths.CURRENT, current)
    stored = tuple(store.stored())
    if current is None and any(run.is_complete for run in stored) and (asked := store.pointer(paths.CURRENT)):
        # There are runs: that none of them is current is not believed at once.
        current = store.claim(paths.CURRENT, asked)
    model = _sound(store, paths.MODEL)
    name = current.name if current else None
    if name is None or not store.is_complete(name):
        published, sequence = order_without_pointer(store, stored, any_model=model is not None)
        return Base(current, model, sequence, published, False, stored)
    record = store.record(name)
    if record is None:
        order = order_without_record(stored, name, model.name if model else None)
        return Base(current, model, 0, order, False, stored)
    listed = {run.name for run in stored if run.is_complete}
    published = tuple(entry for entry in record.published if entry.name in listed or store.is_complete(entry.name))
    return Base(current, model, record.sequence, published, True, stored)


def order_without_pointer(
    store: RunStore, stored: tuple[StoredRun, ...], any_model: bool
) -> tuple[tuple[Entry, ...], int]:
    """The complete runs in the most likely order, where `current` leads to none; and the last one's sequence.

    One of them may never have been published. Without `any_model`, a pointer to one, none is taken for a model.
    """
    standing = [run for run in stored if run.is_complete and not run.withdrawn]
    sequences = {run.name: sequence_of(store, run.name) for run in standing}
    order = sorted(standing, key=lambda run: (sequences[run.name], run.name))
    entries = tuple(Entry(run.name, run.has_model and any_model) for run in order)
    return entries, max(sequences.values(), default=0)


def sequence_of(store: RunStore, name: str) -> int:
    """The number of a run in the order of publishing; 0 where an older version has published it."""
    record = store.record(name)
    return record.sequence if record else 0


def _sound(store: RunStore, link: str) -> Pointer | None:
    pointer = store.pointer(link)
    if pointer is not None and pointer.name is None:
        raise damaged_pointer(store.shown, link, pointer)
    return pointer


def damaged_pointer(shown: str, link: str, pointer: Pointer) -> ArtefactError:
    """The error for a pointer that leads to no run."""
    if pointer.name is None:
        return ArtefactError(
            f"{shown}: {link} holds {pointer.text!r}, wanted the name of a run. Run loadcast runs repair {shown}"
        )
    return ArtefactError(
        f"{shown}: {link} names the run {pointer.name}, which is not there, or not whole. "
        f"Run loadcast runs repair {shown}"
    )


def missing_pointer(shown: str) -> str:
    """The words for an output that has runs, and no pointer to them."""
    return (
        f"{shown} has runs, but {paths.CURRENT}, which names the newest, is missing. Run loadcast runs repair {shown}"
    )


class Publication:
    """One run on its way: made under the lock, published, or given up."""

    def __init__(self, store: RunStore) -> None:
        self._store, self.name = store, new_run_name()
        self.base = read_base(store)
        self._kept: tuple[Entry, ...] = ()
        self._attempted = self._published = False
        self._mend()

    def carried(self, names: Iterable[str]) -> tuple[str, ...]:
        """The artefacts that the run can start with: those named, where there is a run before it.

        Raises ArtefactError where there are runs, and `current` leads to none.
        """
        wanted, base = tuple(names), self.base
        if wanted and base.newest is None and base.published:
            if base.current is not None:
                raise damaged_pointer(self._store.shown, paths.CURRENT, base.current)
            raise ArtefactError(missing_pointer(self._store.shown))
        return wanted if base.newest else ()

    @committing()
    def publish(self, files: Mapping[str, int], has_model: bool) -> None:
        """Let readers have the run, whose files are in place. Raises OutputError; then readers have what they had.

        But for an error that leaves `model` behind: its message says so.
        """
        store = self._store
        store.prove()
        self._kept = kept_runs((*self.base.published, Entry(self.name, has_model)))
        store.complete(self.name, Record(self.base.sequence + 1, self._kept, files))
        store.prove()
        self._attempted = True
        try:
            store.replace(paths.CURRENT, self.base.current, self.name)
        except LostLockError:
            self._attempted = False
            raise
        except PointerChangedError:
            if not self._is_named():
                raise
        self._published = True
        log_published(self.name, store.shown, has_model)
        if has_model:
            self._point_model()

    def abandon(self) -> None:
        """Remove the run's files, unless it was, or may still be, published."""
        if self._published:
            return
        with suppress(LoadcastError):  # what stays is removed by the next publisher
            if not self._attempted or self._is_fenced_out():
                self._store.remove(self.name)

    def prune(self) -> None:
        """Remove the runs that this one replaces. What fails does not matter: the next publisher tries again."""
        with suppress(LoadcastError):
            pointers = (self.base.model, self._store.pointer(paths.CURRENT), self._store.pointer(paths.MODEL))
            kept = {entry.name for entry in self._kept} | {pointer.name for pointer in pointers if pointer}
            for run in self.base.stored:
                if run.name not in kept and (run.is_complete or not self._store.is_complete(run.name)):
                    self._store.prove()
                    self._store.remove(run.name)

    def _mend(self) -> None:
        """Remove what publishers have left that were never to be seen; let `model` follow `current`."""
        base, store = self.base, self._store
        if base.newest is None:
            return  # none can be told from those that were published
        asked = store.pointer(paths.MODEL)  # once more: what it names is not removed because it was not found once
        named = base.named | {asked.name or "" if asked else ""}
        for run in base.stored:
            if run.name in named or run.withdrawn or (run.is_complete and not base.has_record):
                continue
            if run.is_complete or base.has_record or not store.is_complete(run.name):
                store.prove()
                store.remove(run.name)
        newest, published = newest_model(base.published), {entry.name for entry in base.published}
        is_behind = base.published[-1] == newest or asked is None or asked.name not in published
        if base.has_record and newest and is_behind:
            point_model(store, newest.name)

    def _point_model(self) -> None:
        try:
            point_model(self._store, self.name)
        except LostLockError:
            return  # whoever has the lock now lets `model` follow
        except LoadcastError as error:
            raise OutputError(
                f"The run {self.name} was published, but services do not find its model yet: {error} "
                f"Then loadcast runs repair {self._store.shown} completes it."
            ) from error

    def _is_named(self) -> bool:
        """Whether the run was published after all: only the answer was lost, and others have gone on from it."""
        current = self._store.pointer(paths.CURRENT)
        if current is None or current.name is None:
            return False
        return self.name in {current.name, *(entry.name for entry in self._record_of(current.name))}

    def _is_fenced_out(self) -> bool:
        """Make sure that no request that is still under way can publish the run."""
        current, before = self._store.pointer(paths.CURRENT), self.base.current
        if current is None:
            return False
        # A request that wants no pointer there is refused by the one that is there.
        if before is not None and current.version == before.version:
            self._store.claim(paths.CURRENT, current)
        return not self._is_named()

    def _record_of(self, name: str) -> tuple[Entry, ...]:
        record = self._store.record(name)
        return record.published if record else ()


def point_model(store: RunStore, name: str | None) -> None:
    """Let `model` name a run, or none: whatever it names now, as the lock is ours. Raises OutputError."""
    for _ in range(_MODEL_ATTEMPTS):
        pointer = store.pointer(paths.MODEL)
        if (pointer is None) if name is None else (pointer is not None and pointer.name == name):
            return
        store.prove()
        with suppress(PointerChangedError):
            store.replace(paths.MODEL, pointer, name)
            return
    raise PointerChangedError(f"{store.shown}: {paths.MODEL} is being written by another program. Try again later.")


def list_runs(store: RunStore) -> list[PublishedRun]:
    """The complete runs, in the order of publishing."""
    names = {link: pointer.name if (pointer := store.pointer(link)) else None for link in (paths.CURRENT, paths.MODEL)}
    complete = [run for run in store.stored() if run.is_complete]
    sequences = {run.name: sequence_of(store, run.name) for run in complete}
    return [
        PublishedRun(
            name=run.name,
            has_model=run.has_model,
            withdrawn=run.withdrawn,
            is_current=run.name == names[paths.CURRENT],
            is_model=run.name == names[paths.MODEL],
        )
        for run in sorted(complete, key=lambda run: (sequences[run.name], run.name))
    ]


def roll_back(store: RunStore) -> PublishedRun:
    """Make the run before the current one current again, and its model, or the last before it, the service's.

    Under the lock. Raises ArtefactError where there is none.
    """
    base = read_base(store)
    if base.current is None or base.newest is None:
        raise ArtefactError(f"{store.shown} holds no published run.")
    before = [entry for entry in base.published[:-1] if flaw(store, entry.name) is None]
    if not before:
        raise ArtefactError(
            f"{store.shown} holds no run before the current one, {base.newest}; there is nothing to go to."
        )
    target, model = before[-1], newest_model(before)
    with committing():
        store.prove()
        # What it names from before may be about to be removed, by the publisher of the run that is left.
        store.amend(target.name, replace(store.record(target.name) or Record(), published=tuple(before)))
        store.prove()
        store.replace(paths.CURRENT, base.current, target.name)
        point_model(store, model.name if model else None)
    # Last, as a mark on what is still the current run would be a rollback that never was.
    store.withdraw(base.newest)
    return PublishedRun(target.name, target.has_model, is_current=True, is_model=target == model)


def flaw(store: RunStore, name: str) -> str | None:
    """What is missing of a run, as far as names and sizes tell; None where it is whole."""
    if not store.is_complete(name):
        return "it is not there, or was never completed"
    sizes, record = store.sizes(name), store.record(name)
    if record is None:
        return None if sizes else "it is empty"
    wrong = sorted(file for file, size in record.files.items() if sizes.get(file) != size)
    if not wrong:
        return None
    file = wrong[0]
    more = f" (and {len(wrong) - 1:,} more)" if len(wrong) > 1 else ""
    size = f"has {sizes[file]:,} bytes, wanted {record.files[file]:,}" if file in sizes else "is missing"
    return f"{file} {size}{more}"
