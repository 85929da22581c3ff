"""Whole files, packed, cut and read as the pipeline does it, but without Spark."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import pyarrow as pa

from block_rows import scan_block
from loadcast.kernels.rows import Layout, detect_layout
from loadcast.kernels.scan import Counts, RowFilter
from loadcast.storage.blocks import BLOCK_BYTES, read_blocks, read_head
from loadcast.storage.compressed import is_compressed
from loadcast.storage.files import SourceFile, Split, find_files

Rejected = tuple[int, str, bytes]


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


def _zstd(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data, asbytes=True))


#: How a file of each name is written: its parts are packed one by one, then put together.
PACKERS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": _gzip, ".zst": _zstd, ".zstd": _zstd}
#: What Zstandard readers must skip; parallel packers write such frames.
SKIPPED_FRAME = struct.pack("<III", 0x184D2A50, 4, 99)


def write(place: Path, *parts: bytes) -> SourceFile:
    """Write a file, packed as its name says; each part becomes a member or frame of its own."""
    place.write_bytes(b"".join(map(PACKERS["" if place.suffix not in PACKERS else place.suffix], parts)))
    return source(place)


def source(place: Path | str) -> SourceFile:
    """The file as it is now."""
    (file,) = find_files(str(place))
    return file


def cut(file: SourceFile, places: Iterable[int] = ()) -> list[Split]:
    """Splits of a file at these places; a compressed one stays whole."""
    inner = [] if is_compressed(file.path) else sorted(place % (file.size + 1) for place in places)
    return [Split(file, start, end) for start, end in pairwise([0, *inner, file.size])]


def scan(
    splits: Sequence[Split], keep: RowFilter, layout: Layout | None = None, block_bytes: int = BLOCK_BYTES
) -> tuple[Counts, list[Rejected]]:
    """What became of the lines, and the rejected ones with their offset in the file."""
    total, rejected = Counts(), []
    for split in splits:
        own = layout or detect_layout(*read_head(split.file))
        for offset, block in read_blocks(split, block_bytes):
            result = scan_block(block, own, keep)
            total.add(result.counts)
            rejected += [(offset + row.offset, row.reason.value, row.line) for row in result.rejected]
    return total, rejected
