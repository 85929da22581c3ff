"""Where in a file the dirty and blank lines stand, and how they get into a chunk of clean text. Pure."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from loadcast.sample.dirt import KIND_CYCLE, DirtyKind, blank_line, dirty_line
from loadcast.sample.spec import SampleSpec

Integers = NDArray[np.int64]

#: Of every so many files, one ends in a cut line.
CUT_EVERY = 3
_POSITIONS = 4  # stream of random numbers
_NEWLINE = 0x0A


@dataclass
class FileDirt:
    """What goes into one file. Positions are row numbers of the file, in order.

    `cycle_start` is the number of dirty lines in the files before. `done` counts what has been put in so far.
    """

    dirty_rows: Integers
    blank_before: Integers
    cut_last_row: bool
    total_rows: int
    cycle_start: int
    rng: random.Random
    done: Counter[DirtyKind] = field(default_factory=Counter)


def plan_dirt(spec: SampleSpec, file_index: int, file_rows: Integers) -> FileDirt:
    """Choose the positions in the file `file_index` of a tree whose files have `file_rows` rows."""
    shares = np.cumsum(file_rows) / spec.rows
    dirty_until = np.floor(shares * round(spec.rows * spec.dirty) + 0.5).astype(np.int64)
    before = int(dirty_until[file_index - 1]) if file_index else 0
    rows = int(file_rows[file_index])
    count = int(dirty_until[file_index]) - before
    rng = np.random.default_rng([spec.seed, _POSITIONS, file_index])
    dirty_rows = np.sort(rng.choice(rows, count, replace=False, shuffle=False))
    cut = count > 0 and file_index % CUT_EVERY == 0
    if cut:
        dirty_rows[-1] = rows - 1
    return FileDirt(
        dirty_rows=dirty_rows,
        blank_before=np.sort(rng.integers(0, rows, count // 10 + (count > 0))),
        cut_last_row=cut,
        total_rows=rows,
        cycle_start=before,
        rng=random.Random(int(rng.integers(0, 2**63))),
    )


def make_dirty(text: bytes, first_row: int, rows: int, dirt: FileDirt) -> bytes:
    """`text` holds the file's clean rows from `first_row` on; answer it with the dirty and blank lines in their places.

    Chunks of a file must come in order: the random state in `dirt` moves on.
    """
    dirty = _within(dirt.dirty_rows, first_row, rows)
    blank = _within(dirt.blank_before, first_row, rows)
    if not len(dirty) and not len(blank):
        return text
    line_end = np.flatnonzero(np.frombuffer(text, np.uint8) == _NEWLINE)
    line_start = np.concatenate([[0], line_end + 1])
    blanks = Counter(blank.tolist())
    is_dirty = set(dirty.tolist())
    parts, copied = [], 0
    for row in sorted(is_dirty | blanks.keys()):
        begin, end = int(line_start[row - first_row]), int(line_start[row - first_row + 1])
        parts.append(text[copied:begin])
        parts += [blank_line(dirt.rng) for _ in range(blanks[row])]
        parts.append(_dirty(text[begin : end - 1], row, dirt) if row in is_dirty else text[begin:end])
        copied = end
    parts.append(text[copied:])
    return b"".join(parts)


def _within(rows: Integers, first: int, count: int) -> Integers:
    begin, end = np.searchsorted(rows, [first, first + count])
    return rows[begin:end]


def _dirty(line: bytes, row: int, dirt: FileDirt) -> bytes:
    is_cut = dirt.cut_last_row and row == dirt.total_rows - 1
    kind = KIND_CYCLE[(dirt.cycle_start + dirt.done.total()) % len(KIND_CYCLE)]
    kind = DirtyKind.CUT_LINE if is_cut else kind
    dirt.done[kind] += 1
    return dirty_line(kind, line, dirt.rng) + (b"" if is_cut else b"\n")
