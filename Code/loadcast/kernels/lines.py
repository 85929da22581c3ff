"""A block of session logs as lines: where they start and end, and which of them hold unusual bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loadcast.kernels.buckets import Int64s

_CHUNK = 1 << 18  # bytes looked at together: stays in the processor's cache
_LF, _CR, _SPACE, _QUOTE, _TILDE = 10, 13, 32, 34, 126


@dataclass(frozen=True)
class Lines:
    """A block's bytes and where its lines start and end (ends without the terminator, but with the CR of a CRLF)."""

    data: bytes
    starts: Int64s
    ends: Int64s

    @classmethod
    def of(cls, data: bytes) -> Lines:
        if b"\r" in data:
            data = _mend_lone_cr(data)
        ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == _LF)
        if data and data[-1] != _LF:
            ends = np.append(ends, len(data))
        starts = np.concatenate((np.zeros(min(len(ends), 1), dtype=np.int64), ends[:-1] + 1))
        return cls(data, starts, ends)

    def suspicious(self, text: bool = False) -> npt.NDArray[np.bool_]:
        """Lines with a byte that plain rows don't have (with `text`: that plain text doesn't have), or too short."""
        marked = (self.ends - self.starts) <= 1
        for positions in _unusual_bytes(np.frombuffer(self.data, dtype=np.uint8), text):
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


def _unusual_bytes(view: npt.NDArray[np.uint8], text: bool) -> Iterator[Int64s]:
    """Positions of unusual bytes, chunk by chunk; CR and LF are usual."""
    for begin in range(0, len(view), _CHUNK):
        chunk = view[begin : begin + _CHUNK]
        odd = _other_than_text(chunk) if text else _other_than_numbers(chunk)
        odd &= chunk != _LF
        odd &= chunk != _CR
        if odd.any():
            yield np.flatnonzero(odd) + begin


def _other_than_numbers(chunk: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Bytes other than `, - . / 0-9 :` and space."""
    odd: npt.NDArray[np.bool_] = (chunk - np.uint8(ord(","))) > ord(":") - ord(",")
    odd &= chunk != _SPACE
    return odd


def _other_than_text(chunk: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Bytes other than the printable ones of ASCII, and the quote."""
    odd: npt.NDArray[np.bool_] = (chunk - np.uint8(_SPACE)) > _TILDE - _SPACE
    odd |= chunk == _QUOTE
    return odd
