"""Means and deviations of columns from sums in which nothing is rounded: the order and cutting of rows do not show.

A double is a whole number of 53 bits times a power of two. The whole numbers are cut into three limbs of 18 bits; limbs
and products of limbs are added up in 64-bit integers, apart for each exponent, by compiled code. What that comes to is
kept in Python's whole numbers, and rounded once, at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from loadcast.kernels.buckets import Float64s, Int64s

#: Every double is a whole number of 2**-1074, and every product of two a whole number of 2**-2148.
_UNIT_BITS = 1074
_EXPONENTS = 1 << 11
_NOT_FINITE = _EXPONENTS - 1
#: Bits by which the limbs stand above the number's last one, and those of the sums of products of limbs.
_LIMBS, _PRODUCTS = (36, 18, 0), (72, 55, 36, 19, 0)
#: A sum of products takes less than 2**38 from a row, and has room for 2**63.
_MOST_ROWS = 1 << 24
#: Bits of a square root before it is rounded to 53, with room to spare.
_ROOT_BITS = 64

#: A whole number as odd number × 2**exponent: short in JSON, where the number itself would have hundreds of zeros.
Packed = tuple[int, int]
_Adding = Callable[[Int64s, Int64s], None]


@dataclass(frozen=True)
class Moments:
    """Of `rows` rows of k columns: the exact sums of values, in 2**-1074, and of their squares, in 2**-2148; (k,) each.

    Moments of parts are added with `+`.
    """

    rows: int
    sums: tuple[int, ...]
    squares: tuple[int, ...]

    @classmethod
    def of(cls, values: Float64s) -> Moments:
        """The moments of values (k, n). Raises ValueError where one is not finite."""
        columns, rows = values.shape
        sums, squares = [0] * columns, [0] * columns
        for begin in range(0, rows, _MOST_ROWS):
            bins = np.zeros((columns, _EXPONENTS, len(_LIMBS) + len(_PRODUCTS)), np.int64)
            part = np.ascontiguousarray(values[:, begin : begin + _MOST_ROWS], np.float64)
            compiled_adding()(part.view(np.int64), bins)
            if bins[:, _NOT_FINITE].any():
                raise ValueError("found a value that is no finite number")
            for column, exponent in np.argwhere(bins.any(axis=2)).tolist():
                limbs = bins[column, exponent].tolist()
                shift = max(exponent, 1) - 1
                sums[column] += _joined(limbs[: len(_LIMBS)], _LIMBS) << shift
                squares[column] += _joined(limbs[len(_LIMBS) :], _PRODUCTS) << 2 * shift
        return cls(rows, tuple(sums), tuple(squares))

    @classmethod
    def none(cls, columns: int) -> Moments:
        """The moments of no rows."""
        return cls(0, (0,) * columns, (0,) * columns)

    def __add__(self, other: Moments) -> Moments:
        sums = (mine + more for mine, more in zip(self.sums, other.sums, strict=True))
        squares = (mine + more for mine, more in zip(self.squares, other.squares, strict=True))
        return Moments(self.rows + other.rows, tuple(sums), tuple(squares))

    @property
    def mean(self) -> Float64s:
        """The doubles nearest to the means, (k,); 0 for no rows."""
        return np.array([total / (max(self.rows, 1) << _UNIT_BITS) for total in self.sums])

    @property
    def deviation(self) -> Float64s:
        """The doubles nearest to the sample standard deviations, (k,); 0 for equal values and for a single row."""
        pairs = self.rows * (self.rows - 1)
        if not pairs:
            return np.zeros(len(self.sums))
        both = zip(self.sums, self.squares, strict=True)
        return np.array([_root(self.rows * squares - total**2, pairs) for total, squares in both])

    def packed(self) -> dict[str, list[Packed]]:
        """The sums for JSON."""
        return {"sums": [_pack(total) for total in self.sums], "squares": [_pack(total) for total in self.squares]}

    @classmethod
    def unpacked(cls, rows: int, sums: Sequence[Packed], squares: Sequence[Packed]) -> Moments:
        """The moments that `packed` gave the sums of."""
        return cls(rows, tuple(odd << bits for odd, bits in sums), tuple(odd << bits for odd, bits in squares))


@cache
def compiled_adding() -> _Adding:
    """The compiled code."""
    from loadcast.kernels.words import ready  # numba: who adds nothing up need not load it

    return ready(_add, np.zeros((0, 0), np.int64), np.zeros((0, 0, 0), np.int64))


def _add(values: Int64s, bins: Int64s) -> None:
    """Add the limbs of doubles, and products of limbs, to `bins`: (k, n) bits of doubles, (k, exponents, 8)."""
    for column in range(values.shape[0]):
        for row in range(values.shape[1]):
            bits = values[column, row]
            exponent = (bits >> 52) & 0x7FF
            number = bits & ((1 << 52) - 1)
            if exponent:
                number |= 1 << 52
            sums = bins[column, exponent]
            high, middle, low = number >> 36, (number >> 18) & 0x3FFFF, number & 0x3FFFF
            sums[3] += high * high
            sums[4] += high * middle
            sums[5] += 2 * high * low + middle * middle
            sums[6] += middle * low
            sums[7] += low * low
            if bits < 0:
                high, middle, low = -high, -middle, -low
            sums[0] += high
            sums[1] += middle
            sums[2] += low


def _joined(limbs: Sequence[int], shifts: Sequence[int]) -> int:
    return sum(limb << shift for limb, shift in zip(limbs, shifts, strict=True))


def _root(numerator: int, denominator: int) -> float:
    """The double nearest to the square root of numerator ÷ denominator, times 2**-1074."""
    shift = max(0, 2 * _ROOT_BITS + denominator.bit_length() - numerator.bit_length())
    shift += shift % 2
    quotient, rest = divmod(numerator << shift, denominator)
    root = math.isqrt(quotient)
    # One bit more says whether the root goes on behind its last bit: so it is rounded to the right side.
    goes_on = rest != 0 or root * root != quotient
    return (2 * root + goes_on) / (1 << (_UNIT_BITS + 1 + shift // 2))


def _pack(total: int) -> Packed:
    bits = (total & -total).bit_length() - 1 if total else 0
    return total >> bits, bits
