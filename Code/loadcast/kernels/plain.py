"""The vectorized path of the scan: lines made of nothing but digits and separators, parsed together as typed columns.

A line that this path cannot vouch for is marked, and left to `rows.parse_row`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from loadcast import schema
from loadcast.kernels import rows as row_kernel
from loadcast.kernels.buckets import Float64s, Int64s
from loadcast.kernels.lines import Lines
from loadcast.kernels.rows import Layout
from loadcast.kernels.times import parse_seconds

#: How often parsing starts again, without the lines it complained about, before number columns are read as text.
_ATTEMPTS = 3
_COMPLAINT = re.compile(r"invalid value '(.*)'$", re.DOTALL)
#: Missing numbers among plain lines. The parser compares these before it drops spaces; longer runs of spaces are rare.
_MISSING = ["", "-", " ", "  ", "   ", "    "]
_PLAIN_NUMBER = r"^(-?[0-9]+(\.[0-9]*)?|-?\.[0-9]+|-| {0,4})$"


class BadNumbers:
    """Texts met in number columns that are no numbers, such as `1.2.3`.

    Lines that hold one are put aside before parsing, which one such text would stop. What is remembered from block to
    block changes how long scanning takes, never its result.
    """

    _MOST, _LONGEST, _LARGEST_SHARE = 16, 64, 0.02

    def __init__(self) -> None:
        self._texts: list[bytes] = []
        self._common: set[bytes] = set()

    def learn(self, error: pa.ArrowInvalid) -> bool:
        """Remember the text that an attempt to parse complained about; whether it was a new one."""
        match = _COMPLAINT.search(str(error))
        text = match.group(1).encode() if match else b""
        if not text or len(text) > self._LONGEST or text in self._texts or text in self._common:
            return False
        self._texts = [text, *self._texts[: self._MOST - 1]]
        return True

    def lines_with(self, lines: Lines) -> Int64s:
        """Numbers of the lines that hold a remembered text as a field."""
        found: list[int] = []
        most = 1 + int(self._LARGEST_SHARE * len(lines.ends))
        for text in tuple(self._texts):
            places = [place + 1 for place in islice(_places_of(b"," + text, lines.data), most + 1)]
            if len(places) <= most:
                found += places
            elif len(self._common) < self._MOST:
                # An address in a number column, say: many good lines hold it elsewhere.
                self._texts.remove(text)
                self._common.add(text)
        return np.searchsorted(lines.ends, np.array(found, dtype=np.int64))


def _places_of(head: bytes, data: bytes) -> Iterator[int]:
    """Where `head` stands at the end of a field."""
    place = data.find(head)
    while place >= 0:
        if data[place + len(head) : place + len(head) + 1] in b",\r\n":
            yield place
        place = data.find(head, place + 1)


@dataclass(frozen=True)
class Plain:
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


def read_plain(
    lines: Lines, slow: npt.NDArray[np.bool_], layout: Layout, bad_numbers: BadNumbers, text_lines: bool = False
) -> Plain | None:
    """Parse all lines not marked `slow` as columns; marks further lines that cannot be parsed so.

    With `text_lines` they may hold any text: then only numbers that look plain are parsed, as `inf` and `1e5` are not.
    """
    attempts = 0 if text_lines else _ATTEMPTS
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


def _plain(table: pa.Table, line_numbers: Int64s, total_lines: int) -> Plain:
    values = [_as_floats(table.column(name)) for name in schema.MEASURES]
    seconds = parse_seconds(_one_chunk(table.column(schema.SESSION_START)))
    return Plain(line_numbers, total_lines, _one_chunk(table.column(schema.SERVER)), seconds, values)


def _without(lines: Lines, numbers: Int64s) -> bytes:
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
