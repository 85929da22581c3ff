"""What is wrong with an output's pointers, and pointing them to whole runs again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from loadcast import paths
from loadcast.artefacts.document import MAX_BYTES
from loadcast.errors import ArtefactError
from loadcast.storage.checksum import listed_sums, sha256_of
from loadcast.storage.publishing import (
    RunStore,
    damaged_pointer,
    flaw,
    missing_pointer,
    order_without_pointer,
    point_model,
)
from loadcast.storage.runs import Entry, StoredRun, order_without_record


@dataclass(frozen=True)
class Repair:
    """What was done: the runs that the pointers name now, which pointers were changed, and the damaged runs."""

    current: str
    model: str | None
    changed: tuple[str, ...]
    flaws: dict[str, str]


def problems(store: RunStore) -> list[str]:
    """What is wrong with the pointers, a line each; none for an output without runs."""
    lines = []
    for link in (paths.CURRENT, paths.MODEL):
        pointer = store.pointer(link)
        if pointer is not None and (pointer.name is None or flaw(store, pointer.name)):
            lines.append(str(damaged_pointer(store.shown, link, pointer)))
        elif pointer is None and link == paths.CURRENT and any(run.is_complete for run in store.stored()):
            lines.append(missing_pointer(store.shown))
    return lines


def repair(store: RunStore) -> Repair:
    """Let `current` name the newest run that is whole, if it names none, and `model` the newest with a model.

    Under the lock. Whole is a run with all files of its record, in their sizes, and of its bundle by their SHA-256.
    Raises ArtefactError where there is none.
    """
    flaws: dict[str, str] = {}

    def is_whole(name: str) -> bool:
        problem = flaw(store, name) or checksum_flaw(store, name)
        if problem is not None:
            flaws[name] = problem
        return problem is None

    pointer, stored = store.pointer(paths.CURRENT), tuple(store.stored())
    if pointer is not None and pointer.name is not None and is_whole(pointer.name):
        newest = pointer.name
    else:
        newest = _newest_whole(store, stored, is_whole, flaws)
    changed = []
    if pointer is None or pointer.name != newest:
        store.prove()
        store.replace(paths.CURRENT, pointer, newest)
        changed.append(paths.CURRENT)
    model = _repaired_model(store, _published(store, stored, newest), is_whole, changed)
    for name in sorted({run.name for run in stored} & flaws.keys()):
        store.withdraw(name)  # so that no publisher takes it for one that was never published
    return Repair(newest, model, tuple(changed), flaws)


def _newest_whole(
    store: RunStore, stored: tuple[StoredRun, ...], is_whole: Callable[[str], bool], flaws: dict[str, str]
) -> str:
    """The last published of the whole runs; one that was rolled back only where there is no other."""
    order = [entry.name for entry in order_without_pointer(store, stored, any_model=True)[0]]
    withdrawn = [run.name for run in stored if run.is_complete and run.withdrawn]
    newest = next(filter(is_whole, (*reversed(order), *reversed(withdrawn))), None)
    if newest is not None:
        return newest
    name, problem = next(iter(flaws.items()), ("", ""))
    damage = f" ({name}: {problem})" if name else ""
    raise ArtefactError(
        f"{store.shown} holds no whole run{damage}. Remove {paths.CURRENT} and {paths.MODEL} if they are there, "
        "and run python Code/etl.py CONFIG."
    )


def _published(store: RunStore, stored: tuple[StoredRun, ...], newest: str) -> tuple[Entry, ...]:
    record = store.record(newest)
    return record.published if record else order_without_record(stored, newest, None)


def _repaired_model(
    store: RunStore, published: tuple[Entry, ...], is_whole: Callable[[str], bool], changed: list[str]
) -> str | None:
    """Let `model` name the newest whole run with a model; what it names stays where there is no other."""
    pointer = store.pointer(paths.MODEL)
    named = pointer.name if pointer else None
    models = [entry.name for entry in reversed(published) if entry.has_model]
    model = next(filter(is_whole, [*models, *([named] if named else [])]), None)
    if pointer is not None if model is None else named != model:
        point_model(store, model)
        changed.append(paths.MODEL)
    return model


def checksum_flaw(store: RunStore, name: str) -> str | None:
    """The first file of a run's bundle that is not what its `info` says; None where all are."""
    files = store.sizes(name)
    if paths.INFO not in files:
        return None
    try:
        with store.read(name, paths.INFO) as file:
            sums = listed_sums(file.read(MAX_BYTES + 1))
    except ValueError:
        return f"{paths.INFO} cannot be read"
    for path, wanted in sorted(sums.items()):
        if path not in files:
            return f"{path} is missing"
        if _sha256(store, name, path) != wanted:
            return f"{path} has another checksum than {paths.INFO} says"
    return None


def _sha256(store: RunStore, name: str, path: str) -> str:
    with store.read(name, path) as file:
        return sha256_of(file)
