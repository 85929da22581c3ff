"""The scan kernel: bytes of session logs → sums per server and 5 minutes, rejected rows, counts.

Rows made of nothing but digits and separators are parsed together, as columns; any row that such parsing cannot vouch
for goes, alone,
through `rows.parse_row`, which defines what a row means. What comes out is the same as if every row had gone there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from loadcast import schema
from loadcast.kernels import buckets as bucket_kernel
from loadcast.kernels import rows as row_kernel
from loadcast.kernels.buckets import Buckets, Float64s, Int64s
from loadcast.kernels.rows import Layout, Row
from loadcast.kernels.times import parse_seconds
from loadcast.schema import Reason, Repair

_CHUNK = 1 << 18  # bytes looked at together: stays in the processor's cache
_LF, _CR, _SPACE = 10, 13, 32
#: How often parsing starts again, without the lines it complained about, before number columns are read as text.
_ATTEMPTS = 3
_COMPLAINT = re.compile(r"invalid value '(.*)'$", re.DOTALL)
#: Missing numbers among plain lines. The parser compares these before it drops spaces; longer runs of spaces are rare.
_MISSING = ["", "-", " ", "  ", "   ", "    "]
_PLAIN_NUMBER = r"^(-?[0-9]+(\.[0-9]*)?|-?\.[0-9]+|-| {0,4})$"


@dataclass(frozen=True)
class RowFilter:
    """Which placed rows are kept: epoch seconds from `begin` to `end`, both included, and these servers (None: all)."""

    begin: int
    end: int
    servers: frozenset[str] | None = None


@dataclass
class Counts:
    """What became of the lines. rows = good + outside_period + other_server + the rejected."""

    rows: int = 0
    blank: int = 0
    good: int = 0
    outside_period: int = 0
    other_server: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)  # by "<column>:<kind>"

    def as_dict(self) -> dict[str, Any]:
        """The counts as plain values, fit for JSON and for Counts(**values)."""
        return {**vars(self), "rejected": dict(self.rejected), "repaired": dict(self.repaired)}

    def add(self, other: Counts) -> None:
        """Add the counts of another piece of the input."""
        for name in ("rows", "blank", "good", "outside_period", "other_server"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.rejected.update(other.rejected)
        self.repaired.update(other.repaired)


@dataclass(frozen=True)
class Rejected:
    """One row that could not be placed; `offset` in bytes from the start of the block."""

    offset: int
    reason: Reason
    line: bytes


@dataclass(frozen=True)
class ScanResult:
    """Sums of the kept rows of a block, its rejected rows in file order, and the counts."""

    buckets: Buckets
    rejected: list[Rejected]
    counts: Counts


class BadNumbers:
    """Texts met in number columns that are no numbers, such as `1.2.3`.

    Lines that hold one are put aside before parsing, which one such text would stop. What is remembered from block to
    block changes how long scanning takes, never its result.
    """

    _MOST = 16

    def __init__(self) -> None:
        self._texts: list[bytes] = []

    def learn(self, error: pa.ArrowInvalid) -> bool:
        """Remember the text that an attempt to parse complained about; whether it was a new one."""
        match = _COMPLAINT.search(str(error))
        text = match.group(1).encode() if match else b""
        if not text or text in self._texts:
            return False
        self._texts = [text, *self._texts[: self._MOST - 1]]
        return True

    def lines_with(self, lines: _Lines) -> Int64s:
        """Numbers of the lines that hold a remembered text as a field."""
        places = [place + 1 for text in self._texts for place in _places_of(b"," + text, lines.data)]
        return np.searchsorted(lines.ends, np.array(places, dtype=np.int64))


def _places_of(head: bytes, data: bytes) -> Iterator[int]:
    """Where `head` stands at the end of a field."""
    place = data.find(head)
    while place >= 0:
        if data[place + len(head) : place + len(head) + 1] in b",\r\n":
            yield place
        place = data.find(head, place + 1)


def scan_block(data: bytes, layout: Layout, keep: RowFilter, bad_numbers: BadNumbers | None = None) -> ScanResult:
    """Scan whole lines. `data` begins at a line's start and ends at a line's end or the file's.

    `bad_numbers` may be passed from block to block to save time.
    """
    lines = _Lines.of(data)
    slow = lines.suspicious()
    fast = _read_plain(lines, slow, layout, bad_numbers or BadNumbers())
    counts = Counts()
    kept = _Kept()
    if fast is not None:
        slow |= fast.unsure()
        kept.add_fast(fast, ~slow[fast.line_numbers], keep, counts)
    rejected = _read_singly(lines, np.flatnonzero(slow), layout, (keep, counts, kept))
    counts.rows = counts.good + counts.outside_period + counts.other_server + sum(counts.rejected.values())
    return ScanResult(kept.buckets(), rejected, counts)


@dataclass(frozen=True)
class _Lines:
    """A block's bytes and where its lines start and end (ends without the terminator, but with the CR of a CRLF)."""

    data: bytes
    starts: Int64s
    ends: Int64s

    @classmethod
    def of(cls, data: bytes) -> _Lines:
        if b"\r" in data:
            data = _mend_lone_cr(data)
        ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == _LF)
        if data and data[-1] != _LF:
            ends = np.append(ends, len(data))
        starts = np.concatenate((np.zeros(min(len(ends), 1), dtype=np.int64), ends[:-1] + 1))
        return cls(data, starts, ends)

    def suspicious(self) -> npt.NDArray[np.bool_]:
        """Lines with a byte that plain rows don't have, or too short to be one."""
        marked = (self.ends - self.starts) <= 1
        for positions in _unusual_bytes(np.frombuffer(self.data, dtype=np.uint8)):
            marked[np.searchsorted(self.ends, positions)] = True
        return marked

    def line(self, number: int) -> bytes:
        text = self.data[self.starts[number] : self.ends[number]]
        return text[:-1] if text.endswith(b"\r") else text


def _mend_lone_cr(data: bytes) -> bytes:
    """The bytes with each CR that no LF follows turned into an LF: both end a line."""
    view = np.frombuffer(data, dtype=np.uint8)
    positions = np.flatnonzero(view == _CR)
    followers = np.minimum(positions + 1, len(view) - 1)
    lone = positions[view[followers] != _LF]
    if not len(lone):
        return data
    mended = view.copy()
    mended[lone] = _LF
    return bytes(mended.data)


def _unusual_bytes(view: npt.NDArray[np.uint8]) -> Iterator[Int64s]:
    """Positions of bytes other than `, - . / 0-9 :`, space, CR and LF, chunk by chunk."""
    for begin in range(0, len(view), _CHUNK):
        chunk = view[begin : begin + _CHUNK]
        odd = (chunk - np.uint8(ord(","))) > ord(":") - ord(",")
        odd &= chunk != _LF
        odd &= chunk != _SPACE
        odd &= chunk != _CR
        if odd.any():
            yield np.flatnonzero(odd) + begin


@dataclass(frozen=True)
class _Plain:
    """Plain lines as columns; `line_numbers` says which line each entry is. Entries may still turn out unsure."""

    line_numbers: Int64s
    total_lines: int
    servers: pa.DictionaryArray
    seconds: Int64s  # -1 where SessionStart is not a time
    values: list[Float64s]  # NaN where missing

    def unsure(self) -> npt.NDArray[np.bool_]:
        """Over all lines: those among the plain ones, or lost in parsing them, that must be looked at singly."""
        names = self.servers.dictionary.to_pylist()
        fine = np.array([row_kernel.parse_server(name.encode()) == name for name in names], dtype=bool)
        codes = self.servers.indices.to_numpy()
        sure = fine[codes] & (self.seconds >= 0) if len(codes) else np.zeros(0, dtype=bool)
        marked = np.zeros(self.total_lines, dtype=bool)
        marked[self.line_numbers[~sure]] = True
        return marked


def _read_plain(lines: _Lines, slow: npt.NDArray[np.bool_], layout: Layout, bad_numbers: BadNumbers) -> _Plain | None:
    """Parse all lines not marked `slow` as columns; marks further lines that cannot be parsed so."""
    attempts = _ATTEMPTS
    while attempts >= 0:
        slow[bad_numbers.lines_with(lines)] = True
        numbers = np.flatnonzero(~slow)
        if not len(numbers):
            return None
        text = _without(lines, np.flatnonzero(slow))
        read = _convert if attempts else _convert_marking_bad_numbers
        try:
            table, bad = read(text, layout)
        except pa.ArrowInvalid as error:
            attempts = attempts - 1 if bad_numbers.learn(error) else min(attempts - 1, 0)
            continue
        if table.num_rows + len(bad) != len(numbers):
            break
        slow[numbers[bad]] = True
        return _plain(table, np.delete(numbers, bad), len(slow))
    # The parser sees other lines than we do, or refuses the text: nothing is lost, every line is read singly.
    slow[:] = True
    return None


def _plain(table: pa.Table, line_numbers: Int64s, total_lines: int) -> _Plain:
    values = [_as_floats(table.column(name)) for name in schema.MEASURES]
    seconds = parse_seconds(_one_chunk(table.column(schema.SESSION_START)))
    return _Plain(line_numbers, total_lines, _one_chunk(table.column(schema.SERVER)), seconds, values)


def _without(lines: _Lines, numbers: Int64s) -> bytes:
    """The block's text without the lines of these numbers."""
    if not len(numbers):
        return lines.data
    begins = np.concatenate(([0], lines.ends[numbers] + 1))
    stops = np.append(lines.starts[numbers], len(lines.data))
    view = memoryview(lines.data)
    return b"".join(
        view[begin:stop] for begin, stop in zip(begins.tolist(), stops.tolist(), strict=True) if begin < stop
    )


def _convert(text: bytes, layout: Layout, as_text: bool = False) -> tuple[pa.Table, list[int]]:
    """Parse plain text into columns; also the numbers of the lines with another count of fields.

    Raises ArrowInvalid.
    """
    bad: list[int] = []

    def note(row: csv.InvalidRow) -> str:
        bad.append(row.number - 1)
        return "skip"

    number = pa.string() if as_text else pa.float64()
    types = {schema.SESSION_START: pa.string(), schema.SERVER: pa.dictionary(pa.int32(), pa.string())}
    table = csv.read_csv(
        pa.py_buffer(text),
        read_options=csv.ReadOptions(
            column_names=layout.columns, use_threads=False, block_size=max(len(text) + 1, 1 << 16)
        ),
        parse_options=csv.ParseOptions(
            quote_char=False, double_quote=False, ignore_empty_lines=False, invalid_row_handler=note
        ),
        convert_options=csv.ConvertOptions(
            column_types={**types, **dict.fromkeys(schema.MEASURES, number)},
            include_columns=[schema.SESSION_START, schema.SERVER, *schema.MEASURES],
            null_values=_MISSING,
            strings_can_be_null=False,
            check_utf8=False,
        ),
    )
    return table, bad


def _convert_marking_bad_numbers(text: bytes, layout: Layout) -> tuple[pa.Table, list[int]]:
    """As _convert, for text in which some numbers are none (`1.2.3`): their lines count as bad too."""
    table, bad = _convert(text, layout, as_text=True)
    fine = np.ones(table.num_rows, dtype=bool)
    for name in schema.MEASURES:
        fine &= pc.match_substring_regex(_one_chunk(table.column(name)), _PLAIN_NUMBER).to_numpy(zero_copy_only=False)
    numbers = np.delete(np.arange(table.num_rows + len(bad)), bad)
    table = table.filter(pa.array(fine))
    for name in schema.MEASURES:
        column = _one_chunk(table.column(name))
        empty = pc.is_in(column, value_set=pa.array(_MISSING))
        parsed = pc.if_else(empty, None, column).cast(pa.float64())
        table = table.set_column(table.column_names.index(name), name, parsed)
    return table, sorted([*bad, *numbers[~fine].tolist()])


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    if isinstance(combined, pa.ChunkedArray):  # no rows: combine_chunks gives no array
        return pa.array([], column.type) if combined.num_chunks == 0 else combined.chunk(0)
    return combined


def _as_floats(column: pa.ChunkedArray) -> Float64s:
    values: Float64s = _one_chunk(column).to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
    return values


class _Kept:
    """The kept rows of a block, gathered from both paths."""

    def __init__(self) -> None:
        self._parts: list[Buckets] = []
        self._rows: list[Row] = []

    def add_fast(self, plain: _Plain, sure: npt.NDArray[np.bool_], keep: RowFilter, counts: Counts) -> None:
        """Count and keep the sure entries that lie in the period and belong to the wanted servers."""
        names = tuple(plain.servers.dictionary.to_pylist())
        codes = plain.servers.indices.to_numpy()
        inside = sure & (plain.seconds >= keep.begin) & (plain.seconds <= keep.end)
        counts.outside_period += int(sure.sum() - inside.sum())
        chosen = inside
        if keep.servers is not None:
            chosen = inside & np.array([name in keep.servers for name in names], dtype=bool)[codes]
            counts.other_server += int(inside.sum() - chosen.sum())
        counts.good += int(chosen.sum())
        everything = bool(chosen.all())
        columns = [_repair(values if everything else values[chosen], name, counts)
                   for name, values in zip(schema.MEASURES, plain.values, strict=True)]  # fmt: skip
        seconds = plain.seconds if everything else plain.seconds[chosen]
        code = (codes if everything else codes[chosen]).astype(np.int64)
        values = np.stack(columns, axis=1) if len(code) else np.zeros((0, len(schema.MEASURES)))
        self._parts.append(bucket_kernel.sum_rows(names, code, seconds // schema.BUCKET_SECONDS, values))

    def add_row(self, row: Row, keep: RowFilter, counts: Counts) -> None:
        """Count one singly read row, and keep it where it is wanted."""
        if not keep.begin <= row.second <= keep.end:
            counts.outside_period += 1
        elif keep.servers is not None and row.server not in keep.servers:
            counts.other_server += 1
        else:
            counts.good += 1
            counts.repaired.update(f"{name}:{kind.value}" for name, kind in row.repairs)
            self._rows.append(row)

    def buckets(self) -> Buckets:
        """Sums of all kept rows."""
        if self._rows:
            encoded = pa.array([row.server for row in self._rows]).dictionary_encode()
            values = np.array([[value or 0.0 for value in row.values] for row in self._rows], dtype=np.float64)
            seconds = np.array([row.second for row in self._rows], dtype=np.int64)
            codes = encoded.indices.to_numpy().astype(np.int64)
            names = tuple(encoded.dictionary.to_pylist())
            self._parts.append(bucket_kernel.sum_rows(names, codes, seconds // schema.BUCKET_SECONDS, values))
        return join(self._parts)


def join(parts: list[Buckets]) -> Buckets:
    """Sums of several parts together; servers are matched by name."""
    place: dict[str, int] = {}
    codes = []
    for part in parts:
        numbers = np.array([place.setdefault(name, len(place)) for name in part.servers], dtype=np.int64)
        codes.append(numbers[part.codes] if len(part.codes) else part.codes)
    if len(parts) == 1:
        return parts[0]
    none = np.zeros(0, dtype=np.int64)
    return bucket_kernel.merge(
        tuple(place),
        np.concatenate([none, *codes]),
        np.concatenate([none, *(part.buckets for part in parts)]),
        np.concatenate([none, *(part.counts for part in parts)]),
        np.concatenate([np.zeros((0, len(schema.MEASURES))), *(part.sums for part in parts)]),
    )


def _repair(values: Float64s, name: str, counts: Counts) -> Float64s:
    """The values with missing ones as 0; each is counted under its kind."""
    missing = np.isnan(values)
    with np.errstate(invalid="ignore"):
        negative = values < 0
        large = values > schema.LARGEST_NUMBER
    for kind, found in ((Repair.MISSING, missing), (Repair.NEGATIVE, negative), (Repair.TOO_LARGE, large)):
        number = int(np.count_nonzero(found))
        if number:
            counts.repaired[f"{name}:{kind.value}"] += number
            values = np.where(found, 0.0, values)
    return values


def _read_singly(
    lines: _Lines, numbers: Int64s, layout: Layout, into: tuple[RowFilter, Counts, _Kept]
) -> list[Rejected]:
    """Read lines one at a time; the placed ones are kept, the others returned."""
    keep, counts, kept = into
    rejected = []
    for number in numbers.tolist():
        line = lines.line(number)
        if row_kernel.is_blank(line):
            counts.blank += 1
            continue
        row = row_kernel.parse_row(line, layout)
        if isinstance(row, Row):
            kept.add_row(row, keep, counts)
        else:
            counts.rejected[row.value] += 1
            rejected.append(Rejected(int(lines.starts[number]), row, line))
    return rejected
