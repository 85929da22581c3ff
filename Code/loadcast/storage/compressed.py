"""Compressed input files: which they are, and what they hold as a stream."""

from __future__ import annotations

import zlib
from typing import BinaryIO, Protocol

import pyarrow as pa

_GZIP_SUFFIX = ".gz"
_ZSTD_SUFFIXES = (".zst", ".zstd")
#: Bytes handed to zlib at once: measured fastest.
_PACKED_BYTES = 128 << 10
#: What zlib wants to be told for: a gzip member with its header and its checksum.
_GZIP_WINDOW = 31


class Readable(Protocol):
    """What blocks are read from."""

    def read(self, length: int, /) -> bytes:
        """At most `length` (> 0) bytes; none at the end."""


def is_compressed(path: str) -> bool:
    """Whether the file is read as gzip or Zstandard, by its name."""
    return path.endswith((_GZIP_SUFFIX, *_ZSTD_SUFFIXES))


def unpacked(path: str, raw: BinaryIO) -> Readable:
    """The bytes that an open file holds: for a compressed one those of all its members or frames, one after the other.

    Reading raises OSError, EOFError or zlib.error where the file is broken, cut, or followed by something else.
    """
    if path.endswith(_ZSTD_SUFFIXES):
        stream: Readable = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
        return stream
    return _GzipStream(raw) if path.endswith(_GZIP_SUFFIX) else raw


class _GzipStream:
    """Members one after the other, zeros behind each skipped: some writers fill up the file's last block with them.

    A quarter faster than Python's gzip module before 3.12; pyarrow's stream takes no zeros.
    """

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._member = zlib.decompressobj(_GZIP_WINDOW)
        self._packed = b""
        self._begun = False

    def read(self, length: int, /) -> bytes:
        while not self._member.eof or self._next_member():
            packed = self._packed or self._raw.read(_PACKED_BYTES)
            if not packed and not self._begun:
                break  # a file of no bytes holds none
            self._begun = True
            data = self._member.decompress(packed, length)
            self._packed = self._member.unconsumed_tail
            if data:
                return data
            if not packed:
                raise EOFError("it ends early")
        return b""

    def _next_member(self) -> bool:
        packed = self._member.unused_data.lstrip(b"\0")
        while not packed:
            piece = self._raw.read(_PACKED_BYTES)
            if not piece:
                return False
            packed = piece.lstrip(b"\0")
        self._member, self._packed = zlib.decompressobj(_GZIP_WINDOW), packed
        return True
