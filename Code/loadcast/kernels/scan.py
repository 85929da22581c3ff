"""The scan kernel: bytes of session logs → sums per server and 5 minutes, rejected rows, counts.

Compiled code (`sweep`) goes over the bytes once. Any row that it cannot vouch for goes, alone, through
`rows.parse_row`, which defines what a row means. What comes out is the same as if every row had gone there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from loadcast import schema
from loadcast.kernels import rows as row_kernel
from loadcast.kernels import scan_tables as table_kernel
from loadcast.kernels.buckets import Buckets
from loadcast.kernels.data_contract import Contract
from loadcast.kernels.rows import Layout, Row
from loadcast.schema import Reason

#: Texts of servers that are remembered besides the names of those in the sums: unwanted, odd and bad ones.
_MOST_OTHER_TEXTS = 1 << 17


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


def load() -> None:
    """Load the compiled code, which Scanner otherwise does when it first needs it; compiles it where that is to do."""
    _sweep_kernel().compiled_sweep()


def _sweep_kernel() -> ModuleType:
    """The module of the compiled code, imported by none but who scans: it takes most of a second."""
    from loadcast.kernels import sweep

    return sweep


class Scanner:
    """Scans block after block of a piece of the input; how it is cut into blocks does not show in the sums."""

    def __init__(self, layout: Layout, keep: RowFilter) -> None:
        self._kernel = _sweep_kernel()
        self._layout, self._keep = layout, keep
        self._rules = self._kernel.new_rules(_kinds(layout, self._kernel), (keep.begin, keep.end), keep.contract)
        self._tables = table_kernel.new_tables()
        self._codes: dict[str, int] = {}
        self._counts = Counts()  # of what compiled code does not count

    def scan(self, data: bytes | bytearray) -> list[Rejected]:
        """The rejected rows of whole lines: `data` begins at a line's start and ends at a line's end or the file's."""
        sweep, view = self._kernel.compiled_sweep(), self._kernel.sweep_bytes(data)
        rejected: list[Rejected] = []
        position, status = 0, self._kernel.EVENTS_FULL
        while status != self._kernel.DONE or self._tables.used[table_kernel.PENDING]:
            status, position = sweep(view, position, self._rules, self._tables)
            rejected += self._take_events(data)
            if status == self._kernel.NAMES_NEW:
                self._judge_names()
            elif status == self._kernel.NAMES_FULL:
                self._make_room_for_names()
            elif status == self._kernel.SLOTS_FULL:
                self._tables = table_kernel.with_slots(self._tables, 2 * len(self._tables.slot_records))
        return rejected

    def counts(self) -> Counts:
        """What became of the lines so far."""
        counts = Counts()
        counts.add(self._counts)
        tables = self._tables
        for name, index in (
            ("blank", table_kernel.BLANK),
            ("good", table_kernel.GOOD),
            ("outside_period", table_kernel.OUTSIDE_PERIOD),
            ("other_server", table_kernel.OTHER_SERVER),
        ):
            setattr(counts, name, getattr(counts, name) + int(tables.counts[index]))
        for measure, name in enumerate(schema.MEASURES):
            for kind, repaired in zip(table_kernel.REPAIRS, tables.repaired[measure].tolist(), strict=True):
                counts.repaired += Counter({f"{name}:{kind.value}": repaired})
            counts.breaches += Counter({name: int(tables.breaches[measure])})
        counts.rows = counts.good + counts.outside_period + counts.other_server + counts.rejected.total()
        return counts

    def buckets(self) -> Buckets:
        """Sums of the rows kept so far."""
        used = self._tables.used[table_kernel.SLOTS]
        codes, buckets, rows = self._tables.slot_records[:used].T
        order = np.lexsort((buckets, codes))
        sums = self._tables.sums[order]
        width = table_kernel.WIDTH
        return Buckets(tuple(self._codes), codes[order], buckets[order], rows[order], sums[:, :width] + sums[:, width:])

    # --- names of servers -------------------------------------------------------------------------------------------

    def _judge_names(self) -> None:
        """Say of each name that is new what it names."""
        used, step = self._tables.used, table_kernel.LONGEST_NAME
        begin, end = used[table_kernel.NAMES_JUDGED], used[table_kernel.NAMES]
        texts, lengths = self._tables.names[begin:end].tobytes(), self._tables.name_lengths[begin:end].tolist()
        for number, length in enumerate(lengths):
            target = self._target(texts[step * number : step * number + length])
            self._tables.targets[begin + number] = target  # the tables may have grown
        used[table_kernel.NAMES_JUDGED] = end

    def _target(self, text: bytes) -> int:
        """What the text of a server's field names: a code, or what else tables.targets has."""
        if text.decode("latin-1") in schema.HEADER_MARKS[schema.SERVER]:
            return table_kernel.HEADER_NAME
        server = row_kernel.parse_server(text)
        if server is None:
            return table_kernel.BAD_NAME
        if self._keep.servers is not None and server not in self._keep.servers:
            return table_kernel.NOT_WANTED
        return self._code(server)

    def _code(self, server: str) -> int:
        code = self._codes.setdefault(server, len(self._codes))
        if code == len(self._tables.last_buckets):
            self._tables = table_kernel.with_names(self._tables, 2 * code)
        return code

    def _make_room_for_names(self) -> None:
        """Room for more names: larger tables, or, where too many are none of servers in the sums, what these take."""
        if self._tables.used[table_kernel.NAMES] - len(self._codes) > _MOST_OTHER_TEXTS:
            table_kernel.forget_names(self._tables)
        else:
            self._tables = table_kernel.with_names(self._tables, 2 * len(self._tables.names))

    # --- lines that compiled code leaves to us ----------------------------------------------------------------------

    def _take_events(self, data: bytes | bytearray) -> list[Rejected]:
        """Read the lines that must be read singly; they and others that are rejected."""
        used = self._tables.used
        events = self._tables.events[: used[table_kernel.EVENTS]].tolist()
        used[table_kernel.EVENTS] = 0
        rejected = []
        view = memoryview(data)
        for begin, end, number in events:
            line = bytes(view[begin:end])
            reason = self._kernel.REASONS[number] or self._read_singly(line)
            if reason is not None:
                self._counts.rejected[reason.value] += 1
                rejected.append(Rejected(begin, reason, line))
        return rejected

    def _read_singly(self, line: bytes) -> Reason | None:
        """Read, count and keep a line; why it is rejected, if it is."""
        keep, counts = self._keep, self._counts
        if row_kernel.is_blank(line):
            counts.blank += 1
            return None
        row = row_kernel.parse_row(line, self._layout)
        if not isinstance(row, Row):
            return row
        if not keep.begin <= row.second <= keep.end:
            counts.outside_period += 1
        elif keep.servers is not None and row.server not in keep.servers:
            counts.other_server += 1
        elif keep.contract is not None and keep.contract.breaks(row.values, counts.breaches):
            return Reason.CONTRACT
        else:
            counts.good += 1
            counts.repaired.update(f"{name}:{kind.value}" for name, kind in row.repairs)
            self._add_later(row)
        return None

    def _add_later(self, row: Row) -> None:
        """Leave a row to compiled code, to be added to the sums."""
        code = self._code(row.server)
        number = self._tables.used[table_kernel.PENDING]
        self._tables.pending_keys[number] = code, row.second // schema.BUCKET_SECONDS
        self._tables.pending[number] = [value or 0.0 for value in row.values]
        self._tables.used[table_kernel.PENDING] = number + 1


def _kinds(layout: Layout, kernel: ModuleType) -> tuple[int, ...]:
    """What each column is to the compiled code."""
    kinds = [kernel.UNUSED] * len(layout.columns)
    kinds[layout.start], kinds[layout.server] = kernel.START, kernel.SERVER
    for measure, index in enumerate(layout.measures):
        kinds[index] = kernel.MEASURE + measure
    return tuple(kinds)
