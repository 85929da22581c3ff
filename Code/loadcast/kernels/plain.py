"""The vectorized path of the scan: lines made of nothing but digits and separators, parsed together as typed columns.

A line that this path cannot vouch for is marked, and left to `rows.parse_row`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

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
_NUMBER = pa.float64()
#: With a larger share of lines in which a number is missing, these are not looked at singly.
_MOST_DOUBTFUL = 0.02
_PLAIN_NUMBER = r"^(-?[0-9]+(\.[0-9]*)?|-?\.[0-9]+|-| {0,4})$"


class BadNumbers:
    """Texts met in number columns that are no numbers, such as `1.2.3`, one of which stops the parser.

    Once met they are parsed as missing, and the lines in which a number is missing are looked at again. What is
    remembered from block to block changes how long scanning takes, never its result.
    """

    _MOST, _LONGEST = 16, 64

    def __init__(self) -> None:
        self.texts: list[str] = []

    def learn(self, error: pa.ArrowInvalid) -> bool:
        """Remember the text that an attempt to parse complained about; whether it was a new one."""
        match = _COMPLAINT.search(str(error))
        text = match.group(1) if match else ""
        if not text or len(text) > self._LONGEST or text in self.texts:
            return False
        self.texts = [text, *self.texts[: self._MOST - 1]]
        return True


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

    def with_missing(self) -> Int64s:
        """Numbers of the lines in which a number is missing."""
        missing = np.zeros(len(self.line_numbers), dtype=bool)
        for values in self.values:
            missing |= np.isnan(values)
        return self.line_numbers[missing]


def read_plain(
    lines: Lines, slow: npt.NDArray[np.bool_], layout: Layout, bad_numbers: BadNumbers, text_lines: bool = False
) -> Plain | None:
    """Parse all lines not marked `slow` as columns; marks further lines that cannot be parsed so.

    With `text_lines` they may hold any text: then only numbers that look plain are parsed, as `inf` and `1e5` are not.
    """
    attempts = 0 if text_lines else _ATTEMPTS
    while attempts >= 0:
        convert = partial(_convert, missing=bad_numbers.texts) if attempts else _convert_marking_bad_numbers
        try:
            plain = _parse(lines, slow, partial(convert, layout=layout))
        except pa.ArrowInvalid as error:
            attempts = attempts - 1 if bad_numbers.learn(error) else min(attempts - 1, 0)
            continue
        if plain is None or not attempts or not bad_numbers.texts:
            return plain
        doubtful = plain.with_missing()
        if len(doubtful) <= _MOST_DOUBTFUL * len(slow):
            slow[doubtful] = True
            return plain
        attempts = 0  # many are missing: too many to look at singly
    slow[:] = True  # the parser refuses the text
    return None


def read_places(lines: Lines, slow: npt.NDArray[np.bool_], layout: Layout) -> Plain | None:
    """As read_plain, but without numbers: in half the time."""
    return _parse(lines, slow, partial(_convert, layout=layout, missing=[], measures=()), measures=())


def _parse(
    lines: Lines,
    slow: npt.NDArray[np.bool_],
    convert: Callable[[bytes | bytearray], tuple[pa.Table, list[int]]],
    measures: tuple[str, ...] = schema.MEASURES,
) -> Plain | None:
    """All lines not marked `slow`, as `convert` makes columns of them; those of another field count are marked, too.

    None where no line is left. Raises ArrowInvalid.
    """
    numbers = np.flatnonzero(~slow)
    if not len(numbers):
        return None
    table, bad = convert(_without(lines, np.flatnonzero(slow)))
    if table.num_rows + len(bad) != len(numbers):
        slow[:] = True  # the parser sees other lines than we do: nothing is lost, every line is read singly
        return None
    slow[numbers[bad]] = True
    return _plain(table, np.delete(numbers, bad), len(slow), measures)


def _plain(table: pa.Table, line_numbers: Int64s, total_lines: int, measures: tuple[str, ...]) -> Plain:
    values = [_as_floats(table.column(name)) for name in measures]
    seconds = parse_seconds(_one_chunk(table.column(schema.SESSION_START)))
    return Plain(line_numbers, total_lines, _one_chunk(table.column(schema.SERVER)), seconds, values)


def _without(lines: Lines, numbers: Int64s) -> bytes | bytearray:
    """The block's text without the lines of these numbers."""
    if not len(numbers):
        return lines.data
    begins = np.concatenate(([0], lines.ends[numbers] + 1))
    stops = np.append(lines.starts[numbers], len(lines.data))
    some = begins < stops
    view = memoryview(lines.data)
    return b"".join(map(view.__getitem__, map(slice, begins[some].tolist(), stops[some].tolist())))


def _convert(
    text: bytes | bytearray,
    layout: Layout,
    missing: list[str],
    measures: tuple[str, ...] = schema.MEASURES,
    number: pa.DataType = _NUMBER,
) -> tuple[pa.Table, list[int]]:
    """Parse plain text into columns; also the numbers of the lines with another count of fields.

    Numbers that read as one of the `missing` texts are missing, too. Raises ArrowInvalid.
    """
    bad: list[int] = []

    def note(row: csv.InvalidRow) -> str:
        bad.append(row.number - 1)
        return "skip"

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
            column_types={**types, **dict.fromkeys(measures, number)},
            include_columns=[schema.SESSION_START, schema.SERVER, *measures],
            null_values=[*_MISSING, *missing],
            strings_can_be_null=False,
            check_utf8=False,
        ),
    )
    return table, bad


def _convert_marking_bad_numbers(text: bytes | bytearray, layout: Layout) -> tuple[pa.Table, list[int]]:
    """As _convert, for text in which some numbers are none (`1.2.3`): their lines count as bad too."""
    table, bad = _convert(text, layout, [], number=pa.string())
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
