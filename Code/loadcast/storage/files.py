"""Input files: from a pattern to files, and from files to byte ranges, evenly shared among tasks."""

from __future__ import annotations

import errno
import fnmatch
import glob
import json
import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import unquote

import numpy as np

from loadcast.errors import ConfigError, InputError
from loadcast.secrets import shown, without_secrets
from loadcast.storage.compressed import is_compressed

#: What a file costs at least, in bytes of a plain file that could be scanned instead: opening it, looking at its head.
SMALLEST_COST = 256 << 10
#: What a compressed byte costs: session logs unpack to about four times their size.
COMPRESSED_COST = 4
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
#: File systems keep this folder for themselves, and nobody may read it.
_SYSTEM_FOLDER = "lost+found"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # one slash: paths lose the other


@dataclass(frozen=True)
class SourceFile:
    """An input file as it was when it was found: `size` in bytes, and a `version` that changes when the file does.

    `path` is a path or, for a blob, its URL without secrets; then the version is its ETag.
    """

    path: str
    size: int
    version: str

    @property
    def shown(self) -> str:
        r"""The path as text, for messages and tables: bytes that are not UTF-8 as `\xNN`."""
        return self.path.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="backslashreplace")

    def described(self) -> str:
        """Size and version in words."""
        if "://" in self.path:
            return f"{self.size:,} bytes, ETag {self.version}"
        seconds, nanoseconds = divmod(int(self.version), 10**9)
        return f"{self.size:,} bytes of {np.datetime64(seconds, 's')}.{nanoseconds:09} UTC"


@dataclass(frozen=True)
class Split:
    """The lines of a file that start in the bytes from `start` to `end` (not included)."""

    file: SourceFile
    start: int
    end: int

    @property
    def cost(self) -> int:
        """What reading it costs, in bytes of a plain file."""
        return reading_cost(self.file.path, self.end - self.start)


def find_files(pattern: str) -> list[SourceFile]:
    """Files that match a path, `file:` URL or glob pattern, sorted by path.

    Only regular files count; one that symbolic links lead to under several names is found once. Raises InputError where
    there are none, or a folder cannot be read.
    """
    path = local_path(pattern)
    try:
        state = _state(path)
        matches = dict(_matches(*_parts(path))) if state is None else {path: state}
    except OSError as error:
        raise InputError(
            f"Cannot look for dataFile in {shown(error.filename or path)}: {error.strerror or error}. "
            "Make it readable, or leave it out of dataFile."
        ) from error
    if state is not None and stat.S_ISDIR(state.st_mode):
        raise InputError(
            f"dataFile {shown(pattern)} is a folder; wanted a file or a pattern such as "
            f"{shown(pattern).rstrip('/')}/*/*.csv."
        )
    files = {name: state for name, state in matches.items() if stat.S_ISREG(state.st_mode)}
    if not files:
        raise InputError(
            f"dataFile {shown(pattern)} matches no file (looked from {os.getcwd()}; pipes and devices do not count). "
            "Check the path, or write sample data with `loadcast sample`."
        )
    return [SourceFile(name, files[name].st_size, version_of(files[name])) for name in _once(files)]


def version_of(state: os.stat_result) -> str:
    """What tells a local file's state from an earlier one of the same size."""
    return str(state.st_mtime_ns)


def unreadable(path: str, error: Exception) -> InputError:
    """The InputError for a complaint of the operating system, or of a decompressor, about `path`."""
    reason = getattr(error, "strerror", None) or str(error)
    return InputError(f"Cannot read {shown(path)}: {reason}. Replace the file, or leave it out of dataFile.")


def local_path(url: str) -> str:
    """The path of a local file or folder given as a path or `file:` URL.

    Raises InputError for any other kind of URL.
    """
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):(//[^/]*)?", url)
    if match is None:
        return url
    scheme, host = match.group(1).lower(), match.group(2)
    # Not urlsplit: it takes the ? and [ of a pattern for a query and an IPv6 host.
    if scheme == "file" and host in (None, "//", "//localhost"):
        return unquote(url[match.end() :])
    kind = "file: URLs of another machine" if scheme == "file" else f"{scheme}: URLs"
    raise InputError(
        f"{kind} cannot be read by this version. Wanted a path or a file: URL; copy the data to a local folder first."
    )


def check_writable_name(path: str | os.PathLike[str], what: str) -> None:
    """Raise ConfigError for a path that is a URL, or has a secret in it, which would become a name on disk.

    `what` is the argument or key that the path comes from.
    """
    text = os.fspath(path)
    if _URL.match(text) or without_secrets(text) != text:
        raise ConfigError(f"{what}: found {text!r}, wanted a path on this machine, without secrets in it.")


def _parts(path: str) -> tuple[str, list[str]]:
    """The folder to start from, and the parts of the pattern below it; one `**` does what several in a row do."""
    *above, last = path.split("/")
    parts = [*filter(None, above), *(["**", "*"] if last == "**" else [last])]
    kept = [part for before, part in pairwise(["", *parts]) if not before == part == "**"]
    return "/" if path.startswith("/") else "", kept


def _matches(folder: str, parts: Sequence[str]) -> Iterator[tuple[str, os.stat_result]]:
    """What lies below `folder` under a path that matches the parts of a pattern, with one look at each.

    As glob.glob finds it, but that loops of links end, and that a folder that cannot be read is an OSError.
    """
    part, rest = parts[0], parts[1:]
    if part == "**":
        for below in _folders(folder):
            yield from _matches(below, rest)
        return
    if glob.has_magic(part):
        fits = re.compile(fnmatch.translate(part)).match
        entries = [entry for entry in _entries(folder, hidden=part.startswith(".")) if fits(entry.name)]
        paths = [os.path.join(folder, entry.name) for entry in entries if not rest or _is_folder(entry)]
    else:
        paths = [os.path.join(folder, part)]
    for path in paths:
        if rest:
            yield from _matches(path, rest)
        elif (state := _state(path)) is not None:
            yield path, state


def _folders(top: str) -> Iterator[str]:
    """The folder and all below it. What links lead to is entered once, so that a loop of links comes to an end."""
    linked = {os.path.realpath(top)}
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        yield folder
        for entry in filter(_is_folder, _entries(folder, hidden=False)):
            path = os.path.join(folder, entry.name)
            if entry.is_symlink():
                target = os.path.realpath(path)
                if target in linked:
                    continue
                linked.add(target)
            waiting.append(path)


def _entries(folder: str, hidden: bool) -> list[os.DirEntry[str]]:
    """What a folder holds: only names with a dot in front (`hidden`), or none of them."""
    try:
        with os.scandir(folder or os.curdir) as entries:
            return [item for item in entries if item.name.startswith(".") == hidden and item.name != _SYSTEM_FOLDER]
    except (OSError, ValueError) as error:
        _raise_unless_absent(error)
        return []


def _state(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (OSError, ValueError) as error:
        _raise_unless_absent(error)
        return None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        _raise_unless_absent(error)
        return False


def _raise_unless_absent(error: OSError | ValueError) -> None:
    """A ValueError speaks of a name that no file can have: one with a NUL, say."""
    if isinstance(error, OSError) and error.errno not in _ABSENT:
        raise error


def _once(files: dict[str, os.stat_result]) -> list[str]:
    """The names, sorted, without those that symbolic links give to a file that an earlier name stands for."""
    same: dict[tuple[int, int], list[str]] = defaultdict(list)
    for name in sorted(files):
        same[files[name].st_dev, files[name].st_ino].append(name)
    # Some file systems number all files alike, and hard links may be meant: so the paths decide.
    firsts = [{os.path.realpath(name): name for name in reversed(names)} for names in same.values() if len(names) > 1]
    alone = [names[0] for names in same.values() if len(names) == 1]
    return sorted([*alone, *(name for by_target in firsts for name in by_target.values())])


def reading_cost(path: str, size: int) -> int:
    """What reading so many bytes of a file costs, in bytes of a large plain file."""
    return max(SMALLEST_COST, size * (COMPRESSED_COST if is_compressed(path) else 1))


def plan_splits(files: Iterable[SourceFile], split_bytes: int) -> list[Split]:
    """Cut files into near equal ranges of at most `split_bytes`; a compressed file stays whole."""
    splits = []
    for file in files:
        pieces = 1 if is_compressed(file.path) else max(1, -(-file.size // split_bytes))
        bounds = [file.size * piece // pieces for piece in range(pieces + 1)]
        splits += [Split(file, start, end) for start, end in pairwise(bounds)]
    return splits


def group_splits(splits: Iterable[Split], task_cost: int) -> list[list[Split]]:
    """Share splits out among tasks that cost about `task_cost`, the dearest task first so that none ends long after.

    A task costs at most one and a half times as much, unless it is a single split.
    """
    tasks: list[list[Split]] = []
    costs: list[int] = []
    for split in splits:
        cost = split.cost
        if not tasks or costs[-1] >= task_cost * 3 // 4 or costs[-1] + cost > task_cost * 3 // 2:
            tasks.append([])
            costs.append(0)
        tasks[-1].append(split)
        costs[-1] += cost
    return [tasks[number] for number in sorted(range(len(tasks)), key=lambda number: -costs[number])]


def pack_splits(splits: Iterable[Split]) -> str:
    """Splits as a text to be sent elsewhere, for unpack_splits."""
    return json.dumps([[item.file.path, item.file.size, item.file.version, item.start, item.end] for item in splits])


def unpack_splits(text: str) -> list[Split]:
    """The splits in a text of pack_splits."""
    return [Split(SourceFile(path, size, version), start, end) for path, size, version, start, end in json.loads(text)]
