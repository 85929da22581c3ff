"""Times read by compiled code, against the reader of one time that defines them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from block_rows import row
from loadcast import schema
from loadcast.kernels.fields import NO_TIME, UNSURE_TIME, time_of
from loadcast.kernels.rows import LAYOUT_17, parse_time
from loadcast.kernels.scan import RowFilter, Scanner
from loadcast.kernels.sweep import sweep_bytes

GOOD = b"2016-06-30 23:59:59"


def compiled(values: list[bytes]) -> list[int]:
    """What compiled code reads from these texts, in bytes that hold nothing else but an LF."""
    return [time_of(sweep_bytes(value + b"\n"), 0, len(value)) for value in values]


def one_by_one(values: list[bytes]) -> list[int]:
    seconds = (parse_time(value) for value in values)
    return [NO_TIME if second is None else second for second in seconds]


def test_every_day_from_the_first_to_the_last_year_has_its_seconds() -> None:
    begin, days = datetime(1, 1, 1, tzinfo=UTC), 3_652_059
    times = [begin + timedelta(days=day, seconds=day * 7919 % 86_400) for day in {*range(0, days, 97), days - 1}]
    texts = [f"{time.year:04d}-{time:%m-%d %H:%M:%S}".encode() for time in times]
    assert compiled(texts) == [int(time.timestamp()) for time in times]


def test_every_day_from_1970_to_2100_has_its_seconds() -> None:
    begin = datetime(1970, 1, 1, tzinfo=UTC)
    times = [begin + timedelta(days=day) for day in range(131 * 365 + 32)]
    assert times[-1].year == 2100
    assert compiled([f"{time:{schema.TIME_FORMAT}}".encode() for time in times]) == [
        day * 86_400 for day in range(len(times))
    ]


def test_every_second_of_a_day_is_read() -> None:
    day = parse_time(b"2016-02-29 00:00:00")
    assert day is not None
    texts = [f"2016-02-29 {s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}".encode() for s in range(86_400)]
    assert compiled(texts) == [day + second for second in range(86_400)]


@pytest.mark.parametrize("good", [GOOD, b"2001-01-01 00:00:00", b"2000-02-29 09:09:09"])
def test_each_byte_in_each_place_is_judged_as_by_the_reader_of_one_time(good: bytes) -> None:
    values = [good[:index] + bytes([byte]) + good[index + 1 :] for index in range(19) for byte in range(256)]
    actual = compiled(values)
    assert actual == one_by_one(values)
    assert 20 < sum(second > NO_TIME for second in actual) < 140


@pytest.mark.parametrize("first", ["00", "01", "09", "10", "12", "13", "19", "23", "24", "29", "59", "60", "99"])
def test_every_pair_of_month_and_day_and_every_clock_is_judged_alike(first: str) -> None:
    pairs = [f"{second:02d}" for second in range(100)]
    values = [f"{year}-{first}-{day} 00:00:00".encode() for day in pairs for year in (1900, 1999, 2000, 2016)]
    values += [f"2016-06-01 {first}:{pair}:{pair}".encode() for pair in pairs]
    values += [f"2016-06-01 00:{pair}:{first}".encode() for pair in pairs]
    assert compiled(values) == one_by_one(values)


@pytest.mark.parametrize(
    ("text", "second"),
    [
        (b"1970-01-01 00:00:00", 0),
        (b"1969-12-31 23:59:59", -1),
        (b"0000-01-01 00:00:00", NO_TIME),
        (b"9999-12-31 23:59:59", 253_402_300_799),
        (b"2000-02-29 00:00:00", 951_782_400),
        (b"2100-02-29 00:00:00", NO_TIME),
        (b"2016-02-30 00:00:00", NO_TIME),
        (b"", NO_TIME),
        (b"2016-06-30 23:59:59 ", NO_TIME),
        (b" 2016-06-30 23:59:5", NO_TIME),
        (b"SessionStart", UNSURE_TIME),
        (b"2016-06-30 2", UNSURE_TIME),
    ],
)
def test_edges_of_the_calendar(text: bytes, second: int) -> None:
    assert compiled([text]) == [second]


@pytest.mark.parametrize(
    "odd", [b"\x00" * 20, b"\xff" * 20, b"\xff" * 16, b"\x00" * 16, b"x", b"", GOOD[:-1] + b"8", b'"' + GOOD + b'"']
)
def test_a_time_is_not_taken_for_the_one_before_it(odd: bytes) -> None:
    """A time that is the one read last, byte for byte, is not read again."""
    texts = [odd, GOOD, odd, odd, GOOD, GOOD, odd]
    wanted = [parse_time(text.strip(b'"')) for text in texts]
    scanner = Scanner(LAYOUT_17, RowFilter(-(1 << 40), 1 << 40))
    rejected = scanner.scan(b"\n".join(b",".join([b"0", text, *row().split(b",")[2:]]) for text in texts))
    assert (len(rejected), scanner.counts().good) == (wanted.count(None), 7 - wanted.count(None))
    assert set(scanner.buckets().buckets.tolist()) == {second // 300 for second in wanted if second is not None}
