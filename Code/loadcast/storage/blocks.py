"""Reading input files: from a byte range to blocks of whole lines, all of one state of the file."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO

from loadcast.kernels.rows import LAYOUT_HEAD_BYTES
from loadcast.storage.compressed import Readable, is_compressed, unpacked
from loadcast.storage.files import SourceFile, Split, unreadable
from loadcast.storage.sources import LOCAL, ReadsAhead, Source, damaged_on_the_way

#: Bytes per kernel call: with 1 to 8 MB it is equally fast, and larger requests are better where data is far away.
BLOCK_BYTES = 8 << 20
#: A longer line is no session but a damaged file, and would not fit into a worker's memory.
LONGEST_LINE_BYTES = 32 << 20
_PIECE_BYTES = 64 << 10
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\n|\r(?!\n)")


class _LongLineError(OSError):
    pass


def read_head(file: SourceFile, source: Source = LOCAL) -> tuple[bytes, bool]:
    """A file's first LAYOUT_HEAD_BYTES (decompressed, without byte order mark), and whether they are all of it.

    Raises InputError as read_blocks does.
    """
    with _opened(file, source) as (_, stream, _):
        head = _read_fully(stream.read, LAYOUT_HEAD_BYTES)
        complete = not stream.read(1)
    return head.removeprefix(_BYTE_ORDER_MARK), complete


def read_blocks(
    split: Split, block_bytes: int = BLOCK_BYTES, source: Source = LOCAL
) -> Iterator[tuple[int, bytearray]]:
    """Blocks of whole lines of a split, each with its byte offset in the (decompressed) file.

    Raises InputError where the file cannot be read to the split's end or is no longer what was found: no block holds
    bytes of another state of the file.
    """
    file = split.file
    with _opened(file, source) as (raw, stream, check):
        if is_compressed(file.path):
            blocks = _blocks(partial(_fill_by_parts, stream), 0, None, block_bytes)
        else:
            begin, stop = (_line_start(raw, offset, file.size) for offset in (split.start, split.end))
            raw.seek(begin)
            if isinstance(raw, ReadsAhead):
                raw.will_read(begin, stop)
            blocks = _blocks(partial(_fill, raw), begin, stop, block_bytes)
        for block in blocks:
            check()
            yield block


@contextmanager
def _opened(file: SourceFile, source: Source) -> Iterator[tuple[BinaryIO, Readable, Callable[[], None]]]:
    """The open file, the stream of what it holds, and the check; unchanged at the start and at the end.

    What goes wrong with it becomes an InputError.
    """
    try:
        with source.opened(file) as (raw, check):
            check()
            try:
                stream = unpacked(file.path, raw)  # kept here: pyarrow's closes the file when it goes
                yield raw, stream, check
            except (OSError, EOFError, zlib.error):
                check()  # the reason behind the reason
                raise
            check()
    except _LongLineError as error:
        raise unreadable(file.path, error) from error
    except (OSError, EOFError, zlib.error) as error:
        raise (damaged_on_the_way(file, source, error) or unreadable(file.path, error)) from error


def _line_start(file: BinaryIO, offset: int, size: int) -> int:
    """The first start of a line at or after `offset`."""
    if offset <= 0 or offset >= size:
        return max(0, min(offset, size))
    position = offset - 1
    file.seek(position)
    while piece := _read_fully(file.read, min(_PIECE_BYTES, size - position)):
        if piece.endswith(b"\r"):  # perhaps the first half of a CRLF
            piece += file.read(1)
        if b"\n" in piece or b"\r" in piece:  # far faster than the expression
            match = _LINE_END.search(piece)
            if match:
                return position + match.end()
        position += len(piece)
        _check_line(position - offset)
    return size


def _check_line(size: int) -> None:
    if size > LONGEST_LINE_BYTES:
        raise _LongLineError(f"it has a line of more than {LONGEST_LINE_BYTES >> 20} MB")


def _read_fully(read: Callable[[int], bytes], length: int) -> bytes:
    parts = []
    while length > 0 and (part := read(length)):
        parts.append(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _fill(raw: BinaryIO, buffer: bytearray, begin: int) -> int:
    """Read into the buffer from `begin` on; up to where it is filled."""
    with memoryview(buffer) as view:
        while begin < len(buffer) and (number := raw.readinto(view[begin:])):  # type: ignore[attr-defined]
            begin += number
    return begin


def _fill_by_parts(stream: Readable, buffer: bytearray, begin: int) -> int:
    """As _fill, for a stream that gives new bytes."""
    while begin < len(buffer) and (part := stream.read(len(buffer) - begin)):
        buffer[begin : begin + len(part)] = part
        begin += len(part)
    return begin


def _blocks(
    fill: Callable[[bytearray, int], int], position: int, stop: int | None, block_bytes: int
) -> Iterator[tuple[int, bytearray]]:
    """Cut a stream that begins at `position` into blocks that end at a line's end, up to `stop` or the stream's end.

    Each block is the buffer that was read into, cut to its length: at this speed, copying it would be felt.
    """
    rest = b""
    while True:
        # A line longer than a block: twice as much each time, so that the whole of it is not copied over and over.
        wanted = min(max(block_bytes - len(rest), len(rest)), LONGEST_LINE_BYTES + 1 - len(rest))
        if stop is not None:
            wanted = min(wanted, stop - position - len(rest))
        data = bytearray(len(rest) + wanted)
        data[: len(rest)] = rest
        filled = fill(data, len(rest))
        last = filled < len(data) or (stop is not None and position + filled >= stop)
        del data[filled:]
        cut = filled if last else _after_last_line(data)
        rest = bytes(data[cut:])
        del data[cut:]
        if cut:
            marked = position == 0 and data.startswith(_BYTE_ORDER_MARK)
            yield (len(_BYTE_ORDER_MARK), data[len(_BYTE_ORDER_MARK) :]) if marked else (position, data)
        if last:
            return
        _check_line(len(rest))
        position += cut


def _after_last_line(data: bytearray) -> int:
    """Where the last complete line of `data` ends; 0 if none does."""
    end = data.rfind(b"\n") + 1
    if end:
        return end
    # Only CRs: the last byte may be half of a CRLF, so it does not count.
    return data.rfind(b"\r", 0, len(data) - 1) + 1
