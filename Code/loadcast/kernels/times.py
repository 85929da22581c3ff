"""Wall-clock times as text → seconds, many at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Int64s = npt.NDArray[np.int64]

TIME_BYTES = 19  # yyyy-MM-dd HH:mm:ss
_DATE_BYTES = 11  # with the space behind it
_DAYS_BEFORE_MONTH = np.array([0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334], dtype=np.int64)
_DAYS_IN_MONTH = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], dtype=np.int64)
_DAYS_TO_1970 = 719_162  # from 0001-01-01

# HH:mm:ss as one little-endian word of eight bytes.
_CLOCK_ZEROS = np.uint64(int.from_bytes(b"00:00:00", "little"))
_CLOCK_NOT_DIGIT = np.uint64(int.from_bytes(bytes([0xF0, 0xF0, 0xFF, 0xF0, 0xF0, 0xFF, 0xF0, 0xF0]), "little"))
_CLOCK_SIX = np.uint64(int.from_bytes(bytes([6, 6, 0, 6, 6, 0, 6, 6]), "little"))


def parse_seconds(texts: pa.StringArray) -> Int64s:
    """Epoch seconds of `yyyy-MM-dd HH:mm:ss` texts (no nulls); -1 where a text is no such time or before 1970."""
    result = np.full(len(texts), -1, dtype=np.int64)
    _, offset_buffer, data = texts.buffers()
    if len(texts) == 0 or data is None:
        return result
    offsets = np.frombuffer(offset_buffer, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    right_length = np.diff(offsets) == TIME_BYTES
    if right_length.all():
        return _seconds_of(data, slice(offsets[0], None, TIME_BYTES), len(texts))
    begins = offsets[:-1][right_length]
    if len(begins):
        result[right_length] = _seconds_of(data, begins, len(begins))
    return result


def _seconds_of(data: pa.Buffer, begins: slice | npt.NDArray[np.int32], number: int) -> Int64s:
    """Epoch seconds of `number` > 0 times of 19 bytes that begin at these places of the buffer.

    Logs are near sorted: a time is read once per run of equal times, a date once per run of equal dates.
    """

    def words(place: int, kind: str) -> npt.NDArray[Any]:
        """As many bytes as `kind` has, from this place of each time on, as one number."""
        size = np.dtype(kind).itemsize
        anywhere = np.ndarray((data.size - size - place + 1,), kind, data, place, (1,))  # at every byte of the buffer
        found: npt.NDArray[Any] = anywhere[begins][:number].copy()
        return found

    year_month, month_day, clock = words(0, "<u8"), words(_DATE_BYTES - 4, "<u4"), words(_DATE_BYTES, "<u8")
    day_changes = (year_month[1:] != year_month[:-1]) | (month_day[1:] != month_day[:-1])
    heads = _heads(day_changes | (clock[1:] != clock[:-1]))
    day_heads = _heads(day_changes[heads[1:] - 1])  # among the heads
    dates = np.concatenate((year_month.view(np.uint8).reshape(-1, 8)[heads[day_heads]],
                            month_day.view(np.uint8).reshape(-1, 4)[heads[day_heads], 1:]), axis=1)  # fmt: skip
    days = _days_of(dates)
    day_seconds = np.repeat(np.where(days < 0, -1, days * 86_400), np.diff(day_heads, append=len(heads)))
    clock_seconds = _clock_seconds(clock[heads])
    seconds: Int64s = np.where((day_seconds < 0) | (clock_seconds < 0), -1, day_seconds + clock_seconds)
    repeated: Int64s = np.repeat(seconds, np.diff(heads, append=number))
    return repeated


def _heads(changes: npt.NDArray[np.bool_]) -> Int64s:
    """Where runs begin, given where an entry differs from the one before it (from the second entry on)."""
    return np.concatenate((np.zeros(1, dtype=np.int64), np.flatnonzero(changes) + 1))


def _clock_seconds(words: npt.NDArray[np.uint64]) -> Int64s:
    """Seconds since midnight of HH:mm:ss words, -1 where a word is no time: eight characters at a time."""
    digits = words ^ _CLOCK_ZEROS
    wrong = ((digits | (digits + _CLOCK_SIX)) & _CLOCK_NOT_DIGIT) != 0
    pairs = digits * np.uint64(10) + (digits >> np.uint64(8))
    byte = np.uint64(0xFF)
    hour, minute, second = pairs & byte, (pairs >> np.uint64(24)) & byte, (pairs >> np.uint64(48)) & byte
    wrong |= (hour > 23) | (minute > 59) | (second > 59)
    seconds: Int64s = (hour * np.uint64(3600) + minute * np.uint64(60) + second).view(np.int64)
    seconds[wrong] = -1
    return seconds


def _days_of(characters: npt.NDArray[np.uint8]) -> Int64s:
    """Days since 1970 of `yyyy-MM-dd ` at the start of each row; -1 where it is no date."""
    columns = np.ascontiguousarray(characters[:, :_DATE_BYTES].T)
    digits = (columns - np.uint8(ord("0"))).astype(np.int64)
    fine = (digits[[0, 1, 2, 3, 5, 6, 8, 9]] <= 9).all(axis=0)
    for place, mark in ((4, "-"), (7, "-"), (10, " ")):
        fine &= columns[place] == ord(mark)
    year = digits[0] * 1000 + digits[1] * 100 + digits[2] * 10 + digits[3]
    month, day = digits[5] * 10 + digits[6], digits[8] * 10 + digits[9]
    fine &= (year >= 1970) & (month >= 1) & (month <= 12)
    month = np.where(fine, month, 1)
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    fine &= (day >= 1) & (day <= _DAYS_IN_MONTH[month] + (leap & (month == 2)))
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 + _DAYS_BEFORE_MONTH[month]
    days += (leap & (month > 2)) + day - 1 - _DAYS_TO_1970
    known: Int64s = np.where(fine, days, -1)
    return known
