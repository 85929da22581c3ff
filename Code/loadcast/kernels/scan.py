"""The scan kernel: bytes of session logs → sums per server and 5 minutes, rejected rows, counts.

Rows made of nothing but digits and separators are parsed together, as columns; any row that such parsing cannot vouch
for goes, alone, through `rows.parse_row`, which defines what a row means. What comes out is the same as if every row
had gone there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from loadcast import schema
from loadcast.kernels import buckets as bucket_kernel
from loadcast.kernels import rows as row_kernel
from loadcast.kernels.buckets import Buckets, Float64s, Int64s
from loadcast.kernels.contract import Contract
from loadcast.kernels.lines import Lines
from loadcast.kernels.plain import BadNumbers, Plain, read_places, read_plain
from loadcast.kernels.rows import Layout, Row
from loadcast.schema import Reason, Repair

#: With more lines than this share that hold text, lines with text are read together too.
_TEXT_SHARE = 0.1


@dataclass(frozen=True)
class RowFilter:
    """Which placed rows are kept: epoch seconds from `begin` to `end`, both included, and these servers (None: all).

    Of those, rows that break the `contract` are rejected.
    """

    begin: int
    end: int
    servers: frozenset[str] | None = None
    contract: Contract | None = None


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
    breaches: Counter[str] = field(default_factory=Counter)  # of the data contract, by column

    def as_dict(self) -> dict[str, Any]:
        """The counts as plain values, fit for JSON and for Counts(**values)."""
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}

    def add(self, other: Counts) -> None:
        """Add the counts of another piece of the input."""
        for name in ("rows", "blank", "good", "outside_period", "other_server"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.rejected.update(other.rejected)
        self.repaired.update(other.repaired)
        self.breaches.update(other.breaches)


@dataclass(frozen=True)
class Rejected:
    """One row that could not be placed, or breaks the contract; `offset` in bytes from the start of the block."""

    offset: int
    reason: Reason
    line: bytes


@dataclass(frozen=True)
class ScanResult:
    """Sums of the kept rows of a block, its rejected rows in file order, and the counts."""

    buckets: Buckets
    rejected: list[Rejected]
    counts: Counts


def scan_block(
    data: bytes | bytearray, layout: Layout, keep: RowFilter, bad_numbers: BadNumbers | None = None
) -> ScanResult:
    """Scan whole lines. `data` begins at a line's start and ends at a line's end or the file's.

    `bad_numbers` may be passed from block to block to save time.
    """
    lines = Lines.of(data)
    slow = lines.suspicious()
    # Text in columns that are not used, or IPv6 servers: reading all such lines singly would take twenty times longer.
    text_lines = bool(np.count_nonzero(slow) > _TEXT_SHARE * len(slow))
    if text_lines:
        slow = lines.suspicious_text()
    counts = Counts()
    kept = _Kept()
    broken: list[Rejected] = []
    if keep.servers is not None:
        others = _leave_out_others(lines, slow, layout, keep, counts)
        unread = slow | others
        fast = read_plain(lines, unread, layout, bad_numbers or BadNumbers(), text_lines)
        slow |= unread & ~others
    else:
        fast = read_plain(lines, slow, layout, bad_numbers or BadNumbers(), text_lines)
    if fast is not None:
        slow |= fast.unsure()
        numbers = kept.add_fast(fast, ~slow[fast.line_numbers], keep, counts)
        broken = [_rejected(lines, number, Reason.CONTRACT, counts) for number in numbers]
    rejected = _read_singly(lines, np.flatnonzero(slow), layout, (keep, counts, kept))
    rejected = sorted(rejected + broken, key=lambda row: row.offset)
    counts.rows = counts.good + counts.outside_period + counts.other_server + sum(counts.rejected.values())
    return ScanResult(kept.buckets(), rejected, counts)


def _leave_out_others(
    lines: Lines, slow: npt.NDArray[np.bool_], layout: Layout, keep: RowFilter, counts: Counts
) -> npt.NDArray[np.bool_]:
    """Count rows out of the period or of other servers, before their numbers are read; over all lines: which they are.

    Marks further lines `slow`.
    """
    others = np.zeros(len(slow), dtype=bool)
    places = read_places(lines, slow, layout)
    if places is not None:
        slow |= places.unsure()
        sure = ~slow[places.line_numbers]
        others[places.line_numbers[sure & ~_chosen(places, sure, keep, counts)]] = True
    return others


def _chosen(plain: Plain, sure: npt.NDArray[np.bool_], keep: RowFilter, counts: Counts) -> npt.NDArray[np.bool_]:
    """Which sure entries lie in the period and belong to the wanted servers; the others are counted."""
    inside = sure & (plain.seconds >= keep.begin) & (plain.seconds <= keep.end)
    counts.outside_period += int(np.count_nonzero(sure) - np.count_nonzero(inside))
    if keep.servers is None:
        return inside
    wanted = np.array([name in keep.servers for name in plain.servers.dictionary.to_pylist()], dtype=bool)
    chosen = inside & wanted[plain.servers.indices.to_numpy()] if len(wanted) else inside
    counts.other_server += int(np.count_nonzero(inside) - np.count_nonzero(chosen))
    return chosen


def _leave_out_broken(plain: Plain, chosen: npt.NDArray[np.bool_], keep: RowFilter, counts: Counts) -> list[int]:
    """Count breaches of the contract among the chosen entries, and drop those it rejects; the numbers of their lines.

    Changes `chosen`.
    """
    if keep.contract is None:
        return []
    broken = keep.contract.broken_rows(plain.values, chosen, counts.breaches)
    if broken is None:
        return []
    chosen &= ~broken
    numbers: list[int] = plain.line_numbers[broken].tolist()
    return numbers


class _Kept:
    """The kept rows of a block, gathered from both paths."""

    def __init__(self) -> None:
        self._parts: list[Buckets] = []
        self._rows: list[Row] = []

    def add_fast(self, plain: Plain, sure: npt.NDArray[np.bool_], keep: RowFilter, counts: Counts) -> list[int]:
        """Keep the sure entries of the period and the wanted servers; numbers of the lines that break the contract."""
        chosen = _chosen(plain, sure, keep, counts)
        broken = _leave_out_broken(plain, chosen, keep, counts)
        counts.good += int(chosen.sum())
        everything = bool(chosen.all())
        columns = [_repair(values if everything else values[chosen], name, counts)
                   for name, values in zip(schema.MEASURES, plain.values, strict=True)]  # fmt: skip
        seconds = plain.seconds if everything else plain.seconds[chosen]
        names = tuple(plain.servers.dictionary.to_pylist())
        codes = plain.servers.indices.to_numpy()
        code = (codes if everything else codes[chosen]).astype(np.int64)
        values = np.stack(columns, axis=1) if len(code) else np.zeros((0, len(schema.MEASURES)))
        self._parts.append(bucket_kernel.sum_rows(names, code, seconds // schema.BUCKET_SECONDS, values))
        return broken

    def add_row(self, row: Row, keep: RowFilter, counts: Counts) -> bool:
        """Count one singly read row, and keep it where it is wanted; False where it breaks the contract."""
        if not keep.begin <= row.second <= keep.end:
            counts.outside_period += 1
        elif keep.servers is not None and row.server not in keep.servers:
            counts.other_server += 1
        elif keep.contract is not None and keep.contract.breaks(row.values, counts.breaches):
            return False
        else:
            counts.good += 1
            counts.repaired.update(f"{name}:{kind.value}" for name, kind in row.repairs)
            self._rows.append(row)
        return True

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
    if len(parts) == 1:
        return parts[0]
    place: dict[str, int] = {}
    codes = []
    for part in parts:
        numbers = np.array([place.setdefault(name, len(place)) for name in part.servers], dtype=np.int64)
        codes.append(numbers[part.codes] if len(part.codes) else part.codes)
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
    if ((values >= 0) & (values <= schema.LARGEST_NUMBER)).all():  # comparing with NaN gives False
        return values
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
    lines: Lines, numbers: Int64s, layout: Layout, into: tuple[RowFilter, Counts, _Kept]
) -> list[Rejected]:
    """Read lines one at a time; the good ones are kept, the rejected ones returned."""
    keep, counts, kept = into
    rejected = []
    for number in numbers.tolist():
        line = lines.line(number)
        if row_kernel.is_blank(line):
            counts.blank += 1
            continue
        row = row_kernel.parse_row(line, layout)
        if not isinstance(row, Row):
            rejected.append(_rejected(lines, number, row, counts))
        elif not kept.add_row(row, keep, counts):
            rejected.append(_rejected(lines, number, Reason.CONTRACT, counts))
    return rejected


def _rejected(lines: Lines, number: int, reason: Reason, counts: Counts) -> Rejected:
    """The line of this number as a rejected row, which is counted."""
    counts.rejected[reason.value] += 1
    return Rejected(int(lines.starts[number]), reason, lines.line(number))
