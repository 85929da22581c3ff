"""The random numbers that Spark's forest draws: java.util.Random, Spark's XORShiftRandom, WELL19937c; compiled.

Sources: java.util.Random's documentation; org.apache.spark.util.random.XORShiftRandom; Well19937c of Apache Commons
Math 3.6. A state is an array of words that the functions change; unsigned, so that sums overflow as Java's do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadcast.kernels.words import inner, word

Words = NDArray[np.uint64]
Halves = NDArray[np.uint32]

_MULTIPLIER, _INCREMENT, _48_BITS = word(0x5DEECE66D), word(0xB), word((1 << 48) - 1)
_32_BITS = word(0xFFFFFFFF)
_HASH_SEED = word(0x3C074A61)  # MurmurHash3.arraySeed of Scala
_C1, _C2, _C3, _C4, _C5 = map(word, (0xCC9E2D51, 0x1B873593, 0xE6546B64, 0x85EBCA6B, 0xC2B2AE35))
_1, _4, _5, _6, _7, _8, _9, _13, _15, _16 = map(word, (1, 4, 5, 6, 7, 8, 9, 13, 15, 16))
_21, _25, _26, _27, _32, _35 = map(word, (21, 25, 26, 27, 32, 35))
_LOW_26, _LOW_27 = word((1 << 26) - 1), word((1 << 27) - 1)
_SIGN, _BELOW_SIGN = word(1 << 31), word((1 << 31) - 1)
_EVERY_SECOND_BYTE, _LOW_HALF = word(0x00FF00FF), word(0xFFFF)
_TEMPER, _TEMPER_TOO = word(0xE46E1700), word(0x9B868000)

#: Words of the state of WELL19937c, and behind them the index of the current one.
WELL_WORDS = 624
_M1, _M2, _M3 = 70, 179, 449


def java_state(seed: int) -> Words:
    """The state of java.util.Random after setSeed: one word."""
    return np.array([(seed ^ 0x5DEECE66D) & ((1 << 48) - 1)], dtype=np.uint64)


@inner
def java_next(state: Words) -> np.uint64:
    """The next 32 bits of java.util.Random."""
    state[0] = (state[0] * _MULTIPLIER + _INCREMENT) & _48_BITS
    drawn: np.uint64 = state[0] >> _16
    return drawn


@inner
def java_long(state: Words) -> np.uint64:
    """What nextLong gives: the second half counts as signed."""
    high = java_next(state)
    low = java_next(state)
    extended = low if low < _SIGN else low | (_32_BITS << _32)
    return (high << _32) + extended


@inner
def _turned(half: np.uint64, bits: np.uint64) -> np.uint64:
    return ((half << bits) | (half >> (_32 - bits))) & _32_BITS


@inner
def _mixed(value: np.uint64, hashed: np.uint64) -> np.uint64:
    """One step of MurmurHash3 over 32 bits."""
    value = (_turned((value * _C1) & _32_BITS, _15) * _C2) & _32_BITS
    return (_turned(hashed ^ value, _13) * _5 + _C3) & _32_BITS


@inner
def _swapped(half: np.uint64) -> np.uint64:
    """32 bits with their bytes in the other order."""
    half = ((half >> _8) & _EVERY_SECOND_BYTE) | ((half & _EVERY_SECOND_BYTE) << _8)
    return (half >> _16) | ((half & _LOW_HALF) << _16)


@inner
def _hashed(seed: np.uint64, start: np.uint64) -> np.uint64:
    """MurmurHash3 of the seed's eight bytes, the highest first; they are hashed four at a time, the lowest first."""
    hashed = _mixed(_swapped(seed & _32_BITS), _mixed(_swapped(seed >> _32), start)) ^ _8
    hashed = ((hashed ^ (hashed >> _16)) * _C4) & _32_BITS
    hashed = ((hashed ^ (hashed >> _13)) * _C5) & _32_BITS
    return hashed ^ (hashed >> _16)


@inner
def shift_state(seed: np.uint64) -> np.uint64:
    """The state of XORShiftRandom for a seed."""
    low = _hashed(seed, _HASH_SEED)
    return (_hashed(seed, low) << _32) | low


@inner
def shift_step(state: np.uint64) -> np.uint64:
    """The next state; its low bits are the number drawn."""
    state ^= state << _21
    state ^= state >> _35
    return state ^ (state << _4)


@inner
def shift_double(first: np.uint64, second: np.uint64) -> float:
    """What nextDouble makes of two states that follow each other."""
    return float(((first & _LOW_26) << _27) + (second & _LOW_27)) * 2.0**-53


def well_state(seed: int) -> Halves:
    """The state of WELL19937c after setSeed(long): its words, and the index."""
    words = [(seed >> 32) & 0xFFFFFFFF, seed & 0xFFFFFFFF]
    for index in range(2, WELL_WORDS):
        signed = words[index - 2] - ((words[index - 2] & 0x80000000) << 1)
        words.append((1_812_433_253 * (signed ^ (signed >> 30)) + index) & 0xFFFFFFFF)
    return np.array([*words, 0], dtype=np.uint32)


@inner
def _wrapped(index: Any) -> Any:
    return index - WELL_WORDS if index >= WELL_WORDS else index


@inner
def _well_next(state: Halves) -> np.uint64:
    """The next 32 bits of WELL19937c, tempered."""
    index = np.int64(state[WELL_WORDS])
    before, second = _wrapped(index + WELL_WORDS - 1), _wrapped(index + WELL_WORDS - 2)
    v0, vm1 = np.uint64(state[index]), np.uint64(state[_wrapped(index + _M1)])
    vm2, vm3 = np.uint64(state[_wrapped(index + _M2)]), np.uint64(state[_wrapped(index + _M3)])
    z0 = (_SIGN & np.uint64(state[before])) ^ (_BELOW_SIGN & np.uint64(state[second]))
    z1 = ((v0 ^ (v0 << _25)) ^ (vm1 ^ (vm1 >> _27))) & _32_BITS
    z2 = (vm2 >> _9) ^ (vm3 ^ (vm3 >> _1))
    z3 = z1 ^ z2
    z4 = (z0 ^ (z1 ^ (z1 << _9)) ^ (z2 ^ (z2 << _21)) ^ (z3 ^ (z3 >> _21))) & _32_BITS
    state[index] = np.uint32(z3)
    state[before] = np.uint32(z4)
    state[second] = np.uint32(np.uint64(state[second]) & _SIGN)
    state[WELL_WORDS] = np.uint32(before)
    z4 ^= (z4 << _7) & _TEMPER
    return z4 ^ ((z4 << _15) & _TEMPER_TOO)


@inner
def well_double(state: Halves) -> float:
    """What nextDouble gives: 52 bits."""
    high = _well_next(state) >> _6
    low = _well_next(state) >> _6
    return float((high << _26) | low) * 2.0**-52
