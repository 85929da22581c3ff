"""Compiled code of the scan: one field of a row → a number or a time.

What `rows.parse_row` would say of the field, or UNSURE; then the row is left to it. A field's delimiter is the comma
or line end behind it; where a field is quoted in a way that is left to parse_row, the delimiter is -1.
"""

from __future__ import annotations

import numpy as np

from loadcast import schema
from loadcast.kernels.scan_tables import REPAIRS
from loadcast.kernels.words import (
    COLON,
    COMMA,
    CR,
    DOT,
    LF,
    MINUS,
    PLUS,
    QUOTE,
    SPACE,
    TAB,
    ZERO,
    Bytes,
    compiled,
    digits_value,
    each,
    first,
    load,
    marks,
    next_low,
    without,
    word,
)

# A number that is repaired, by its kind; other numbers are not negative.
_MISSING, _NOT_A_NUMBER, _NEGATIVE, _TOO_LARGE = (-1.0 - index for index in range(len(REPAIRS)))
UNSURE = -9.0
#: Seconds of no time, and of what may be the mark of a header.
NO_TIME, UNSURE_TIME = -(1 << 62), -(1 << 62) - 1

_LARGEST = schema.LARGEST_NUMBER
_COMMAS, _DOTS = each(COMMA), each(DOT)
_SHIFT = word(56)
_MARKS = np.array(
    [int.from_bytes(mark.encode(), "little") | len(mark) << 56 for mark in sorted(schema.MISSING_MARKS)], np.uint64
)
_LONGEST_MARK = max(map(len, schema.MISSING_MARKS))
# Each is exact, so a quotient of two exact numbers is rounded once, as the text itself would be.
_POWERS = 10.0 ** np.arange(23)
_LARGEST_POWER = 22
_MOST_DIGITS = 18  # that surely fit into an int64
_EXACT = 1 << 53
_SPLIT = float((1 << 27) + 1)

_TIME_CHARACTERS = len("yyyy-MM-dd HH:mm:ss")
_HEADER_CHARACTERS = len(schema.SESSION_START)
_DAYS_BEFORE_MONTH = np.array([0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334])
_DAYS_IN_MONTH = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_DAYS_TO_1970 = 719_162  # from 0001-01-01


@compiled
def is_blank(byte: int) -> bool:
    """Whether it is a space or tab."""
    return byte in (SPACE, TAB)


@compiled
def is_delimiter(byte: int) -> bool:
    """Whether a field ends there."""
    return byte in (COMMA, LF, CR)


@compiled
def skip_field(data: Bytes, position: int) -> int:
    """The delimiter of the field at `position`."""
    # Where the field is not last, a comma is behind its first byte or later.
    if data[position] > COMMA and data[position + 1] == COMMA:
        return position + 1
    end = next_low(data, position)
    while not is_delimiter(data[end]):
        if data[end] == QUOTE:
            return field_at(data, position)[2]
        end = next_low(data, end + 1)
    return end


@compiled
def field_at(data: Bytes, position: int) -> tuple[int, int, int]:
    """The text of the field at `position`, from and to, without blanks and quotes around it; and its delimiter."""
    while is_blank(data[position]):
        position += 1
    begin = position + (data[position] == QUOTE)
    end = begin
    if begin > position:
        while data[end] != QUOTE:
            if data[end] == LF or data[end] == CR:
                return begin, begin, -1
            end += 1
        position = end + 1
        while is_blank(data[position]):
            position += 1
        if not is_delimiter(data[position]):
            return begin, begin, -1
        while begin < end and is_blank(data[begin]):
            begin += 1
    else:
        while not is_delimiter(data[end]):
            if data[end] == QUOTE:
                return begin, begin, -1
            end += 1
        position = end
    while end > begin and is_blank(data[end - 1]):
        end -= 1
    return begin, end, position


# --- numbers --------------------------------------------------------------------------------------------------------


@compiled
def number_at(data: Bytes, position: int) -> tuple[float, int]:
    """The number in the field at `position`, and the field's delimiter."""
    text = load(data, position)
    length = first(marks(text, _COMMAS))
    if 0 < length < 8:
        # Most numbers are as short as this: read at once, without a look at each character.
        text <<= np.uint64(64 - 8 * length)
        digits, fraction = length, 0
        dots = marks(text, _DOTS)
        if dots != np.uint64(0):
            dot = first(dots)
            text = without(text, dot)
            digits, fraction = length - 1, 7 - dot
        if digits > 0:
            value = digits_value(text, digits)
            if value >= 0:
                return np.float64(value) / _POWERS[fraction], position + length
    begin, end, delimiter = field_at(data, position)
    return (number_of(data, begin, end) if delimiter >= 0 else UNSURE), delimiter


@compiled
def number_of(data: Bytes, position: int, end: int) -> float:
    """The number that a text of any form says."""
    if _is_missing(data, position, end):
        return _MISSING
    negative = data[position] == MINUS
    if negative or data[position] == PLUS:
        position += 1
    (significand, exponent, significant), exact, position = _significand(data, position, end)
    power, fine = _power(data, position, end)
    if significant < 0 or not fine:
        return _NOT_A_NUMBER
    exponent += power
    if significand == 0:
        return 0.0
    if negative:
        return _NEGATIVE if exponent > -300 else UNSURE  # smaller ones become 0
    if exponent + significant > 17:
        return _TOO_LARGE
    if not exact or exponent < -_LARGEST_POWER:
        return UNSURE
    if exponent >= 0:
        value = np.float64(significand) * _POWERS[exponent]  # below 10^17: rounded at most once
    elif significand < _EXACT:
        value = np.float64(significand) / _POWERS[-exponent]
    else:
        value = _quotient(significand, _POWERS[-exponent])
    return value if value <= _LARGEST else _TOO_LARGE


@compiled
def _is_missing(data: Bytes, begin: int, end: int) -> bool:
    length = end - begin
    if length > _LONGEST_MARK:
        return False
    text = np.uint64(length) << _SHIFT
    for number in range(length):
        byte = data[begin + number]
        lower = byte + 32 if byte >= 65 and byte <= 90 else byte
        text |= np.uint64(lower) << np.uint64(8 * number)
    missing = False
    for mark in _MARKS:
        missing = missing or mark == text
    return missing


@compiled
def _significand(data: Bytes, position: int, end: int) -> tuple[tuple[int, int, int], bool, int]:
    """Digits with at most one point: (significand, power of ten, its digits), whether that is all, where they end.

    The number of digits is -1 where there is none, not even a 0.
    """
    significand, exponent, significant, seen, exact, point = 0, 0, 0, False, True, False
    while position < end:
        digit = np.int64(data[position]) - ZERO
        if data[position] == DOT and not point:
            point = True
        elif digit < 0 or digit > 9:
            break
        elif significant < _MOST_DIGITS:
            seen = True
            significand = significand * 10 + digit
            significant += significand > 0
            exponent -= point
        else:
            exact = exact and digit == 0
            exponent += not point
        position += 1
    return (significand, exponent, significant if seen else -1), exact, position


@compiled
def _power(data: Bytes, position: int, end: int) -> tuple[int, bool]:
    """The power of ten that the rest of a number says; False where it says anything else."""
    if position == end:
        return 0, True
    if data[position] | 32 != 101:  # e, E
        return 0, False
    position += 1
    negative = position < end and data[position] == MINUS
    if position < end and (negative or data[position] == PLUS):
        position += 1
    power = 0
    fine = position < end
    while position < end:
        digit = np.int64(data[position]) - ZERO
        fine = fine and digit >= 0 and digit <= 9
        power = min(power * 10 + digit, 1 << 40)
        position += 1
    return (-power if negative else power), fine


@compiled
def _quotient(significand: int, power: float) -> float:
    """The double nearest to significand / power, for significands from 2^53 to 10^18; UNSURE where it is near a tie.

    A first quotient, and what it lacks: the remainder, exact by Dekker's product, over the power.
    """
    high = np.float64(significand)
    quotient = high / power
    carried, carried_power = quotient * _SPLIT, power * _SPLIT
    upper, upper_power = carried - (carried - quotient), carried_power - (carried_power - power)
    lower, lower_power = quotient - upper, power - upper_power
    product = quotient * power
    error = ((upper * upper_power - product) + upper * lower_power + lower * upper_power) + lower * lower_power
    rest = ((high - product) - error + np.float64(significand - np.int64(high))) / power
    least, most = quotient + rest * (1 - 1e-15), quotient + rest * (1 + 1e-15)
    return least if least == most else UNSURE


# --- times ----------------------------------------------------------------------------------------------------------


@compiled
def time_of(data: Bytes, begin: int, end: int) -> int:
    """Epoch second of a text `yyyy-MM-dd HH:mm:ss`; NO_TIME where it is none, UNSURE_TIME where it may be a header."""
    if end - begin != _TIME_CHARACTERS:
        return UNSURE_TIME if end - begin == _HEADER_CHARACTERS else NO_TIME
    year = _pair(data, begin) * 100 + _pair(data, begin + 2)
    month, day = _pair(data, begin + 5), _pair(data, begin + 8)
    hour, minute, second = _pair(data, begin + 11), _pair(data, begin + 14), _pair(data, begin + 17)
    fine = data[begin + 4] == MINUS and data[begin + 7] == MINUS and data[begin + 10] == SPACE
    fine = fine and data[begin + 13] == COLON and data[begin + 16] == COLON
    fine = fine and year >= 1 and month >= 1 and month <= 12 and day >= 1
    fine = fine and hour >= 0 and hour <= 23 and minute >= 0 and minute <= 59 and second >= 0 and second <= 59
    if not fine:
        return NO_TIME
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if day > _DAYS_IN_MONTH[month] + (leap and month == 2):
        return NO_TIME
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 - _DAYS_TO_1970
    days += _DAYS_BEFORE_MONTH[month] + (leap and month > 2) + day - 1
    return days * 86_400 + hour * 3600 + minute * 60 + second


@compiled
def _pair(data: Bytes, position: int) -> int:
    """Two digits as a number; far below 0 where they are none."""
    tens, ones = np.int64(data[position]) - ZERO, np.int64(data[position + 1]) - ZERO
    return tens * 10 + ones if tens >= 0 and tens <= 9 and ones >= 0 and ones <= 9 else -10_000
