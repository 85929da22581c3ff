"""A block of session logs as lines: where they start and end, and which of them hold unusual bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loadcast.kernels.buckets import Int64s

_CHUNK = 1 << 18  # bytes looked at together: stays in the processor's cache
_LF, _CR, _SPACE, _QUOTE, _COLON, _TILDE = 10, 13, 32, 34, 58, 126


@dataclass(frozen=True)
class Lines:
    """A block's bytes and where its lines start and end (ends without the terminator, but with the CR of a CRLF).

    `unusual` are the positions of bytes that plain rows don't have: other than space to colon in ASCII, and quotes.
    """

    data: bytes | bytearray
    starts: Int64s
    ends: Int64s
    unusual: Int64s

    @classmethod
    def of(cls, data: bytes | bytearray) -> Lines:
        view = np.frombuffer(data, dtype=np.uint8)
        # Line ends and unusual bytes are found in one pass: rows of numbers have few others above space and colon.
        marks = _outside(view, _SPACE, _COLON)
        kinds = view[marks]
        returns = kinds == _CR
        lone = _lone(view, marks[returns])
        if len(lone):  # a CR that no LF follows ends a line as an LF does
            view = view.copy()
            view[lone] = _LF
            data, kinds = bytes(view.data), view[marks]
            returns = kinds == _CR
        ending = kinds == _LF
        ends, unusual = (marks, marks[:0]) if ending.all() else (marks[ending], marks[~ending & ~returns])
        if data and data[-1] != _LF:
            ends = np.append(ends, len(data))
        if b'"' in data:
            unusual = np.sort(np.concatenate((unusual, np.flatnonzero(view == _QUOTE))))
        starts = np.concatenate((np.zeros(min(len(ends), 1), dtype=np.int64), ends[:-1] + 1))
        return cls(data, starts, ends, unusual)

    def suspicious(self) -> npt.NDArray[np.bool_]:
        """Lines with a byte that plain rows don't have, or too short."""
        return self._too_short_or_with(self.unusual)

    def suspicious_text(self) -> npt.NDArray[np.bool_]:
        """Lines with a byte that plain text doesn't have (printable ASCII but quotes), or too short."""
        view = np.frombuffer(self.data, dtype=np.uint8)
        kinds = view[self.unusual]
        return self._too_short_or_with(self.unusual[(kinds - np.uint8(_SPACE) > _TILDE - _SPACE) | (kinds == _QUOTE)])

    def _too_short_or_with(self, positions: Int64s) -> npt.NDArray[np.bool_]:
        marked = (self.ends - self.starts) <= 1
        marked[np.searchsorted(self.ends, positions)] = True
        return marked

    def line(self, number: int) -> bytes:
        text = bytes(self.data[self.starts[number] : self.ends[number]])
        return text[:-1] if text.endswith(b"\r") else text


def _lone(view: npt.NDArray[np.uint8], returns: Int64s) -> Int64s:
    """Those CRs, given by their positions, that no LF follows."""
    followers = np.minimum(returns + 1, len(view) - 1)
    lone: Int64s = returns[view[followers] != _LF]
    return lone


def _outside(view: npt.NDArray[np.uint8], low: int, high: int) -> Int64s:
    """Positions of bytes below `low` or above `high`, found chunk by chunk."""
    found = [np.zeros(0, dtype=np.int64)]
    for begin in range(0, len(view), _CHUNK):
        positions = np.flatnonzero((view[begin : begin + _CHUNK] - np.uint8(low)) > high - low)
        positions += begin
        found.append(positions)
    return np.concatenate(found)
