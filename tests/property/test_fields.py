"""Fields read by compiled code, against the readers of one field that define them; no byte beyond the end is read."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

import log_bytes
import session_values
from loadcast.kernels import fields
from loadcast.kernels.fields import UNSURE, field_at, number_at, skip_field
from loadcast.kernels.rows import parse_number, split_fields
from loadcast.kernels.scan_tables import REPAIRS
from loadcast.kernels.sweep import sweep_bytes
from loadcast.schema import LARGEST_NUMBER, Repair

SIGNS = [bytes([byte]) for byte in b"00123456789.-+eE \tnaNulULL/:\x00\x80\xff"]
ODD = tuple(
    text.encode("utf-8", errors="surrogateescape")
    for text in (
        *session_values.GOOD_NUMBERS,
        *session_values.MISSING_NUMBERS,
        *session_values.NOT_NUMBERS,
        *session_values.NEGATIVE_NUMBERS,
        *session_values.TOO_LARGE_NUMBERS,
    )
)


def compiled(field: bytes, behind: bytes = b",x\n") -> float | Repair | None:
    """What compiled code makes of the number in a field; None where it leaves it to parse_row."""
    value, delimiter = number_at(sweep_bytes(field + behind), 0)
    assert delimiter in (-1, len(field))
    if value == UNSURE:
        return None
    assert delimiter == len(field)
    return value if value >= 0 else REPAIRS[int(-1 - value)]


def assert_as_defined(field: bytes, behind: bytes = b",x\n") -> bool:
    """Whether compiled code vouches for the field; if so, what it says is what defines it, to the last bit."""
    actual = compiled(field, behind)
    (text,) = split_fields(field, 1)
    if actual is not None:
        wanted = parse_number(text)
        assert actual == wanted
        assert isinstance(actual, Repair) == isinstance(wanted, Repair)
    return actual is not None


@given(
    whole=st.integers(0, 10**19) | st.integers(0, 10**6),
    places=st.integers(0, 24),
    form=st.sampled_from(
        ("{}", " {}", "{}\t", '"{}"', ' " {} "', "+{}", "-{}", "000{}", "{}0", "{}e0", "{}E+5", "{}e-3")
    ),
    behind=st.sampled_from((b",", b"\n", b"\r", b"\r\n", b",1234567\n", b"\n1,2\n")),
)
@settings(max_examples=log_bytes.examples(2))
def test_decimals_are_read_to_the_last_bit(whole: int, places: int, form: str, behind: bytes) -> None:
    digits = str(whole).zfill(places + 1)
    field = form.format(f"{digits[:-places]}.{digits[-places:]}" if places else digits).encode()
    vouched = assert_as_defined(field, behind)
    event(f"vouched: {vouched}")
    if whole < 10**15 and places < 15:
        assert vouched


@given(value=st.floats(0, 1e15))
@settings(max_examples=log_bytes.examples(2))
def test_doubles_as_they_are_printed_are_read_to_the_last_bit(value: float) -> None:
    vouched = assert_as_defined(repr(value).encode())
    event(f"vouched: {vouched}")
    assert vouched or value < 1e-5


@given(digits=st.integers(1 << 53, 10**18 - 1), places=st.integers(1, 22), shift=st.sampled_from((-1, 0, 1)))
@settings(max_examples=log_bytes.examples(2))
def test_numbers_nearly_halfway_between_two_doubles_are_right_or_left_alone(
    digits: int, places: int, shift: int
) -> None:
    value = digits / 10**places
    halfway = (Fraction(value) + Fraction(math.nextafter(value, math.inf))) / 2
    near = int(halfway * 10**places) + shift
    text = str(near).zfill(places + 1)
    assert_as_defined(f"{text[:-places]}.{text[-places:]}".encode())


@given(text=st.lists(st.sampled_from(SIGNS), max_size=26).map(b"".join) | st.sampled_from(ODD))
@settings(max_examples=log_bytes.examples(4))
def test_any_text_is_the_number_or_the_repair_that_it_is_by_definition(text: bytes) -> None:
    if b"," not in text:  # a comma would end the field
        event(f"vouched: {assert_as_defined(text)}")


@pytest.mark.parametrize("text", ODD)
def test_odd_numbers_are_what_they_are_by_definition(text: bytes) -> None:
    if b"," not in text.split(b'"')[0]:
        (shown,) = split_fields(text, 1)
        actual = compiled(text)
        assert actual is None or actual == parse_number(shown)


@pytest.mark.parametrize(
    "text",
    [
        *[b"", b"-", b"-0", b"5.", b".5", b"-.5", b" 5", b"5 ", b"007", b"9" * 400, b"1e5", b"1e16", b"1e999", b"0e9"],
        *[b"NULL", b"inf", b"1.2.3", b"x" * 99, b"\xff", b"-1e400", b"1000000000000000", b"1000000000000000.5"],
        *[b"0.06213378906250001", b"1234.5678", b"123456789012345"],
    ],
)
def test_common_texts_are_not_left_to_parse_row(text: bytes) -> None:
    assert assert_as_defined(text)


@pytest.mark.parametrize("mark", ["null", "n/a", "na", "nan", "none", "-", ""])
def test_every_case_of_a_missing_mark_is_one_and_nothing_near_it(mark: str) -> None:
    for text in (mark, mark.upper(), mark.title(), f" {mark}\t", f'"{mark}"'):
        assert compiled(text.encode()) is Repair.MISSING
    for text in (f"{mark}\0", f"{mark}x", f"\0{mark}", mark[:1] + "q" + mark[2:], mark + "\x20\xa0"):
        assert compiled(text.encode()) is Repair.NOT_A_NUMBER


def test_the_largest_number_is_one() -> None:
    assert compiled(b"1000000000000000") == LARGEST_NUMBER
    assert compiled(b"1000000000000000.0625") is not Repair.MISSING
    assert compiled(b"1000000000000001") is Repair.TOO_LARGE


@given(line=st.lists(st.sampled_from([*SIGNS, b",", b",", b'"', b'"', b"abc", b"7.25"]), max_size=40).map(b"".join))
@settings(max_examples=log_bytes.examples(3))
def test_fields_end_where_the_definition_says(line: bytes) -> None:
    data = sweep_bytes(line + b"\n")
    wanted = split_fields(line)
    position, actual = 0, []
    while True:
        begin, end, delimiter = field_at(data, position)
        assert skip_field(data, position) == delimiter
        if delimiter < 0:
            event("left to parse_row")
            assert b'"' in line
            return
        actual.append(bytes(data[begin:end]))
        position = delimiter + 1
        if delimiter == len(line):
            break
    assert actual == wanted


def test_a_number_that_ends_the_bytes_is_read_without_a_look_beyond_them() -> None:
    for length in range(20):
        field = b"1234567.8901234567890"[:length]
        assert assert_as_defined(field, b"\n")
    assert fields.number_of(sweep_bytes(b"+"), 0, 1) == -1 - REPAIRS.index(Repair.NOT_A_NUMBER)
