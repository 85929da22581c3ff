"""Input files: from a pattern to byte ranges, and from a byte range to blocks of whole lines."""

from __future__ import annotations

import glob
import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO, cast
from urllib.parse import unquote

from loadcast.errors import InputError
from loadcast.kernels.rows import LAYOUT_HEAD_BYTES

#: Bytes per kernel call: measured fastest, as a block and its columns then stay near the processor.
BLOCK_BYTES = 8 << 20
#: A longer line is no session but a damaged file, and would not fit into a worker's memory.
LONGEST_LINE_BYTES = 256 << 20
_PIECE_BYTES = 64 << 10
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\n|\r(?!\n)")


@dataclass(frozen=True)
class SourceFile:
    """An input file as it was when it was found: `size` in bytes, and a `version` that changes when the file does."""

    path: str
    size: int
    version: str


@dataclass(frozen=True)
class Split:
    """The lines of a file that start in the bytes from `start` to `end` (not included)."""

    file: SourceFile
    start: int
    end: int

    @property
    def path(self) -> str:
        """The file's path."""
        return self.file.path


def find_files(pattern: str) -> list[SourceFile]:
    """Files that match a path, `file:` URL or glob pattern, sorted by path.

    Raises InputError where there are none.
    """
    path = local_path(pattern)
    if os.path.isdir(path):
        raise InputError(
            f"dataFile {pattern} is a folder; wanted a file or a pattern such as {pattern.rstrip('/')}/*/*.csv."
        )
    files = [path] if os.path.isfile(path) else _matches(path)
    if not files:
        raise InputError(
            f"dataFile {pattern} matches no file (looked from {os.getcwd()}). "
            "Check the path, or write sample data with `loadcast sample`."
        )
    with _explained(pattern):
        return [_source_file(name) for name in files]


def _source_file(path: str) -> SourceFile:
    state = os.stat(path)
    return SourceFile(path, state.st_size, str(state.st_mtime_ns))


def _matches(pattern: str) -> list[str]:
    try:
        return sorted(name for name in glob.glob(pattern, recursive=True) if os.path.isfile(name))
    except ValueError:  # a NUL character: no file can have such a name
        return []


def local_path(url: str) -> str:
    """The path of a local file or folder given as a path or `file:` URL.

    Raises InputError for any other kind of URL.
    """
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):(//[^/]*)?", url)
    if found is None:
        return url
    scheme, host = found.group(1).lower(), found.group(2)
    # Not urlsplit: it takes the ? and [ of a pattern for a query and an IPv6 host.
    if scheme == "file" and host in (None, "//", "//localhost"):
        return unquote(url[found.end() :])
    kind = "file: URLs of another machine" if scheme == "file" else f"{scheme}: URLs"
    raise InputError(
        f"{kind} cannot be read by this version. Wanted a path or a file: URL; copy the data to a local folder first."
    )


def is_compressed(path: str) -> bool:
    """Whether the file is read as gzip, by its name."""
    return path.endswith(".gz")


def plan_splits(files: list[SourceFile], split_bytes: int) -> list[Split]:
    """Cut files into near equal ranges of at most `split_bytes`; a compressed file stays whole."""
    splits = []
    for file in files:
        pieces = 1 if is_compressed(file.path) else max(1, -(-file.size // split_bytes))
        bounds = [file.size * piece // pieces for piece in range(pieces + 1)]
        splits += [Split(file, start, end) for start, end in pairwise(bounds)]
    return splits


def group_splits(splits: list[Split], task_bytes: int) -> list[list[Split]]:
    """Put splits together, in order, into tasks of at least `task_bytes`: small files do not make many tasks."""
    tasks: list[list[Split]] = []
    filled = task_bytes
    for split in splits:
        if filled >= task_bytes:
            tasks.append([])
            filled = 0
        tasks[-1].append(split)
        filled += split.end - split.start
    return tasks


def read_head(file: SourceFile) -> tuple[bytes, bool]:
    """A file's first LAYOUT_HEAD_BYTES (decompressed, without byte order mark), and whether they are all of it."""
    with _open(file.path) as stream, _explained(file.path):
        head = _read_fully(stream.read, LAYOUT_HEAD_BYTES)
        complete = not stream.read(1)
    return head.removeprefix(_BYTE_ORDER_MARK), complete


def read_blocks(split: Split, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, bytes]]:
    """Blocks of whole lines of a split, each with its byte offset in the (decompressed) file."""
    with _open(split.path) as file, _explained(split.path):
        if is_compressed(split.path):
            yield from _blocks(file.read, 0, None, block_bytes)
            return
        begin, stop = (_line_start(file, place, split.file.size) for place in (split.start, split.end))
        file.seek(begin)
        yield from _blocks(file.read, begin, stop, block_bytes)


def _open(path: str) -> BinaryIO:
    with _explained(path):
        return cast(BinaryIO, gzip.open(path)) if is_compressed(path) else open(path, "rb", buffering=0)


class _explained:
    """Turns an operating system's or gzip's complaint about `path` into an InputError."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (OSError, EOFError, zlib.error)):
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"Cannot read {self._path}: {reason}. Replace the file, or leave it out of dataFile."
            ) from error


def _line_start(file: BinaryIO, place: int, size: int) -> int:
    """The first start of a line at or after `place`."""
    if place <= 0 or place >= size:
        return max(0, min(place, size))
    length = _PIECE_BYTES
    while True:
        file.seek(place - 1)
        piece = _read_fully(file.read, length)
        ended = place - 1 + len(piece) >= size
        match = _LINE_END.search(piece)
        # A CR at the end of what was read may be the first half of a CRLF.
        if match and (ended or match.end() < len(piece)):
            return place - 1 + match.end()
        if ended:
            return size
        _check_line(len(piece))
        length *= 4


def _check_line(size: int) -> None:
    if size > LONGEST_LINE_BYTES:
        raise OSError(f"it has a line of more than {LONGEST_LINE_BYTES >> 20} MB")


def _read_fully(read: Callable[[int], bytes], length: int) -> bytes:
    parts = []
    while length > 0 and (part := read(length)):
        parts.append(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _blocks(
    read: Callable[[int], bytes], position: int, stop: int | None, block_bytes: int
) -> Iterator[tuple[int, bytes]]:
    """Cut a stream that begins at `position` into blocks that end at a line's end, up to `stop` or the stream's end."""
    rest = b""
    while True:
        # A line longer than a block: twice as much each time, so that the whole of it is not copied over and over.
        wanted = max(block_bytes - len(rest), len(rest))
        if stop is not None:
            wanted = min(wanted, stop - position - len(rest))
        fresh = _read_fully(read, wanted)
        data = rest + fresh if rest else fresh
        last = len(fresh) < wanted or (stop is not None and position + len(data) >= stop)
        cut = len(data) if last else _after_last_line(data)
        if cut:
            block = data[:cut] if cut < len(data) else data
            marked = position == 0 and block.startswith(_BYTE_ORDER_MARK)
            yield (len(_BYTE_ORDER_MARK), block[len(_BYTE_ORDER_MARK) :]) if marked else (position, block)
        if last:
            return
        rest = data[cut:]
        _check_line(len(rest))
        position += cut


def _after_last_line(data: bytes) -> int:
    """Where the last complete line of `data` ends; 0 if none does."""
    end = data.rfind(b"\n") + 1
    if end:
        return end
    # Only CRs: the last byte may be half of a CRLF, so it does not count.
    return data.rfind(b"\r", 0, len(data) - 1) + 1
