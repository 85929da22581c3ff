"""Compiled code of the scan: the decorator, and bytes looked at eight at a time.

Text is an array of bytes that ends with LF; every function here reads within the array, whatever its bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from loadcast.kernels.compiled_cache import keep_compiled

Bytes = npt.NDArray[np.uint8]
Function = TypeVar("Function", bound=Callable[..., Any])

TAB, LF, CR, SPACE, QUOTE, PLUS, COMMA, MINUS, DOT, ZERO, COLON = b'\t\n\r "+,-.0:'


def compiled(function: Function, **options: Any) -> Function:
    """The function, compiled when it is first called; numba's `options` besides those that all code here has.

    It may make no arrays: without the counting of references, which nothing here needs, it is six times faster.
    """
    options |= {"error_model": "numpy", "_nrt": False}
    return cast(Function, njit(**options)(function))


def ready(function: Function, *arguments: Any, **options: Any) -> Function:
    """As compiled, and called once with such arguments as it is for: so it is compiled by now, or read from disk.

    The first process ever compiles it, for seconds, and leaves it in the user's cache folder (compiled_cache.py). Where
    that cannot be written or read each process compiles for itself.
    """
    with suppress(Exception):  # whatever is wrong with the cache: what is wrong with the code comes again
        return _kept(function, arguments, options)
    here = compiled(function, **options)
    here(*arguments)
    return here


def _kept(function: Function, arguments: tuple[Any, ...], options: dict[str, Any]) -> Function:
    kept = compiled(function, **options)
    keep_compiled(kept)
    try:
        kept(*arguments)
    except Exception:
        # What is kept may name types of other packages that are gone.
        kept._cache.flush()  # type: ignore[attr-defined]  # numba's own way to forget it
        kept(*arguments)
    return kept


def inner(function: Function) -> Function:
    """As compiled, for compiled code alone to call: a way in for Python that takes tables is long to compile."""
    return compiled(function, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def word(number: int) -> np.uint64:
    """A number as numba wants it among words: with a signed one, it would go over to floats."""
    return np.uint64(number)


def each(byte: int) -> np.uint64:
    """A word of eight times the same byte."""
    return np.uint64(byte * 0x0101010101010101)


_ONES, _TOPS, _ABOVE_COMMA, _NINES = each(1), each(0x80), each(COMMA + 1), each(0x76)
_ZEROS = each(ZERO)
_ALL = word((1 << 64) - 1)
_0, _1, _8, _16, _32 = (word(number) for number in (0, 1, 8, 16, 32))
# Eight digits to a number in three steps: pairs, fours, all.
_PAIRS, _FOURS, _EIGHTS = word(10 << 8 | 1), word(100 << 16 | 1), word(10_000 << 32 | 1)
_EVERY_SECOND, _EVERY_FOURTH = word(0x00FF00FF00FF00FF), word(0x0000FFFF0000FFFF)
_MIX, _MIX_TOO = word(0x9E3779B97F4A7C15), word(0xC2B2AE3D27D4EB4F)


def _type_load(_: Any, data: Any, position: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, values[0])
        address = builder.gep(array.data, [values[1]])
        return builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(data, types.int64), generate


def _type_trailing_zeros(_: Any, number: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.cttz(values[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


#: The eight bytes at a position, the first one lowest; not checked against the array's end.
_load = cast(Callable[[Bytes, int], np.uint64], intrinsic(_type_load))
_trailing_zeros = cast(Callable[[np.uint64], int], intrinsic(_type_trailing_zeros))


@compiled
def lowest_bit(text: np.uint64) -> int:
    """The number of the lowest bit that is set; 64 where none is."""
    return _trailing_zeros(text)


@compiled
def load(data: Bytes, position: int) -> np.uint64:
    """The eight bytes from `position` on, the first one lowest; 0 for those behind the end."""
    if position + 8 <= len(data):
        return _load(data, position)
    text = _0
    for number in range(len(data) - position):
        text |= np.uint64(data[position + number]) << np.uint64(8 * number)
    return text


@compiled
def load_some(data: Bytes, position: int, number: int) -> np.uint64:
    """As load, but of the first `number` bytes only; 0 to 8, and less or more counts as these."""
    if number <= 0:
        return _0
    text = load(data, position)
    return text if number >= 8 else text & ((_1 << np.uint64(8 * number)) - _1)


@compiled
def marks(text: np.uint64, bytes_sought: np.uint64) -> np.uint64:
    """For `first`: where the two words have the same byte. Only the first mark can be relied on."""
    difference = text ^ bytes_sought
    return (difference - _ONES) & ~difference & _TOPS


@compiled
def first(marked: np.uint64) -> int:
    """The index of the first marked byte; 8 where there is none."""
    return _trailing_zeros(marked) >> 3


@compiled
def next_low(data: Bytes, position: int) -> int:
    """The next position whose byte is not above the comma's: a comma, quote, blank, line end or other sign.

    The LF at the end is one, so there always is one.
    """
    text = load(data, position)
    lows = (text - _ABOVE_COMMA) & ~text & _TOPS
    while lows == _0:
        position += 8
        text = load(data, position)
        lows = (text - _ABOVE_COMMA) & ~text & _TOPS
    return position + first(lows)


@compiled
def without(text: np.uint64, position: int) -> np.uint64:
    """A word without the byte at `position`: those below move up, and 0 comes in."""
    below = (_1 << np.uint64(8 * position)) - _1
    return (text & ~((below << _8) | np.uint64(0xFF))) | ((text & below) << _8)


@compiled
def digits_value(text: np.uint64, number: int) -> int:
    """What the last `number` of a word's characters (1 to 8) say as digits; -1 where one of them is no digit."""
    digits = (text ^ _ZEROS) & (_ALL << np.uint64(64 - 8 * number))
    if ((digits + _NINES) | digits) & _TOPS != _0:
        return -1
    digits = ((digits * _PAIRS) >> _8) & _EVERY_SECOND
    digits = ((digits * _FOURS) >> _16) & _EVERY_FOURTH
    return np.int64((digits * _EIGHTS) >> _32)


@compiled
def mixed(left: np.uint64, right: np.uint64) -> np.uint64:
    """A hash of two words."""
    product = (left ^ (right * _MIX_TOO)) * _MIX
    return product ^ (product >> _32)
