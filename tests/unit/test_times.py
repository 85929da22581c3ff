"""Times read many at once, against the reader of one time."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest

from loadcast import schema
from loadcast.kernels.rows import parse_time
from loadcast.kernels.times import parse_seconds

GOOD = b"2016-06-30 23:59:59"


def texts_of(values: list[bytes]) -> pa.StringArray:
    """A string array of any bytes, UTF-8 or not."""
    array = pa.array(values, pa.binary())
    return pa.StringArray.from_buffers(len(array), array.buffers()[1], array.buffers()[2])


def one_by_one(values: list[bytes]) -> list[int]:
    """What the reader of one time says, -1 for no time and for one before 1970."""
    seconds = (parse_time(value) for value in values)
    return [second if second is not None and second >= 0 else -1 for second in seconds]


def test_every_day_from_1970_to_2100_has_its_seconds() -> None:
    begin, days = datetime(1970, 1, 1, tzinfo=timezone.utc), 131 * 365 + 32
    times = [begin + timedelta(days=day, seconds=day * 7919 % 86_400) for day in range(days)]
    assert times[-1].year == 2100
    texts = pa.array([time.strftime(schema.TIME_FORMAT) for time in times])
    assert parse_seconds(texts).tolist() == [int(time.timestamp()) for time in times]


def test_every_second_of_a_day_is_read() -> None:
    day = parse_time(b"2016-02-29 00:00:00")
    assert day is not None
    texts = [f"2016-02-29 {s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}" for s in range(86_400)]
    assert np.array_equal(parse_seconds(pa.array(texts)), day + np.arange(86_400))


@pytest.mark.parametrize("good", [GOOD, b"2001-01-01 00:00:00", b"2000-02-29 09:09:09"])
def test_each_byte_in_each_place_is_judged_as_by_the_reader_of_one_time(good: bytes) -> None:
    values = [good[:place] + bytes([byte]) + good[place + 1 :] for place in range(19) for byte in range(256)]
    found = parse_seconds(texts_of(values)).tolist()
    assert found == one_by_one(values)
    assert 20 < sum(second >= 0 for second in found) < 120


@pytest.mark.parametrize("first", ["00", "01", "09", "10", "12", "13", "19", "23", "24", "29", "59", "60", "99"])
def test_every_pair_of_month_and_day_and_every_clock_is_judged_alike(first: str) -> None:
    pairs = [f"{second:02d}" for second in range(100)]
    values = [f"{year}-{first}-{day} 00:00:00".encode() for day in pairs for year in (1900, 1999, 2000, 2016)]
    values += [f"2016-06-01 {first}:{pair}:{pair}".encode() for pair in pairs]
    values += [f"2016-06-01 00:{pair}:{first}".encode() for pair in pairs]
    assert parse_seconds(texts_of(values)).tolist() == one_by_one(values)


@pytest.mark.parametrize(
    ("text", "second"),
    [
        (b"1970-01-01 00:00:00", 0),
        (b"1969-12-31 23:59:59", -1),
        (b"0000-01-01 00:00:00", -1),
        (b"9999-12-31 23:59:59", 253_402_300_799),
        (b"2000-02-29 00:00:00", 951_782_400),
        (b"2100-02-29 00:00:00", -1),
        (b"2016-02-30 00:00:00", -1),
        (b"", -1),
        (b"2016-06-30 23:59:59 ", -1),
        (b" 2016-06-30 23:59:5", -1),
    ],
)
def test_edges_of_the_calendar(text: bytes, second: int) -> None:
    assert parse_seconds(texts_of([text])).tolist() == [second]
    # Beside a text of another length, and beside one of the same date, other paths are taken.
    assert parse_seconds(texts_of([b"x", text, text[:10]])).tolist()[1] == second
    assert parse_seconds(texts_of([GOOD, text, GOOD])).tolist()[1] == second


def test_texts_of_other_lengths_do_not_shift_their_neighbours() -> None:
    values = [b"", GOOD, b"x" * 18, GOOD[:-1] + b"8", b"", b"y" * 38, GOOD]
    assert parse_seconds(texts_of(values)).tolist() == one_by_one(values)


def test_a_slice_is_read_from_its_own_start() -> None:
    values = [b"2016-06-01 00:00:00", b"bad", GOOD, b"2016-06-02 00:00:00"]
    assert parse_seconds(texts_of(values).slice(2)).tolist() == one_by_one(values[2:])
    assert parse_seconds(texts_of(values).slice(1, 2)).tolist() == one_by_one(values[1:3])


def test_no_texts_give_no_seconds() -> None:
    for empty in (texts_of([]), texts_of([GOOD]).slice(1), pa.array([], pa.string())):
        assert parse_seconds(empty).tolist() == []
    assert parse_seconds(texts_of([b"", b""])).tolist() == [-1, -1]
