"""What a sample data tree shall hold, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from loadcast.errors import ConfigError

FIRST_YEAR, LAST_YEAR = 1970, 2199
MOST_SERVERS = 20_000
MOST_DAYS = 36_525
#: The plan holds a number for each server and day.
MOST_SERVER_DAYS = 20_000_000
#: Rows of one 5-minute bucket are made at once; more than this would not fit a small machine's memory.
MOST_ROWS_PER_BUCKET = 500_000
BUCKETS_PER_DAY = 288
FILES_PER_MONTH = 14
#: Processes that write at once.
MOST_JOBS = 256


@dataclass(frozen=True)
class SampleSpec:
    """What to write; the same spec gives the same bytes.

    `rows` counts data lines, dirty ones included; blank lines come on top. `start` is a midnight, `dirty` the share of
    the data lines that are dirty, and `files_per_month` 1 to 14. Raises ConfigError for a value that cannot be.
    """

    servers: int = 20
    days: int = 30
    rows: int = 200_000
    start: datetime = datetime(2016, 6, 1)
    seed: int = 42
    dirty: float = 0.005
    files_per_month: int = FILES_PER_MONTH

    def __post_init__(self) -> None:
        _check_range("servers", self.servers, 1, MOST_SERVERS)
        _check_range("days", self.days, 1, MOST_DAYS)
        _check_range("rows", self.rows, 1, self.days * BUCKETS_PER_DAY * MOST_ROWS_PER_BUCKET, " for so many days")
        _check_range("seed", self.seed, 0, 2**63 - 1)
        _check_range("files per month", self.files_per_month, 1, FILES_PER_MONTH)
        if isinstance(self.dirty, bool) or not isinstance(self.dirty, int | float) or not 0 <= self.dirty <= 1:
            raise ConfigError(f"dirty: found {self.dirty!r}, wanted a share from 0 to 1, such as 0.005.")
        self._check_period()
        if self.servers * self.days > MOST_SERVER_DAYS:
            raise ConfigError(
                f"servers × days: found {self.servers * self.days}, wanted at most {MOST_SERVER_DAYS}. "
                "Choose fewer servers or fewer days."
            )

    def _check_period(self) -> None:
        start = self.start
        if not isinstance(start, datetime) or start.tzinfo is not None:
            raise ConfigError(f"start: found {start!r}, wanted a date without a time zone, such as 2016-06-01.")
        if start != start.replace(hour=0, minute=0, second=0, microsecond=0):
            raise ConfigError(f"start: found {start}, wanted the start of a day, such as {start:%Y-%m-%d}.")
        last_day = datetime(LAST_YEAR, 12, 31)
        if start.year < FIRST_YEAR or start > last_day or self.days - 1 > (last_day - start).days:
            raise ConfigError(
                f"start and days: found {self.days} days from {start:%Y-%m-%d}, wanted all of them within the years "
                f"{FIRST_YEAR} to {LAST_YEAR}. Choose another start or fewer days."
            )

    @property
    def end(self) -> datetime:
        """First moment after the period."""
        return self.start + timedelta(days=self.days)


def _check_range(name: str, value: int, least: int, most: int, note: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError(f"{name}: found {value!r}, wanted a whole number from {least} to {most}{note}.")


@dataclass(frozen=True)
class FileSlice:
    """One file of the tree: its path below the destination, and its hours, counted from the spec's start."""

    path: str
    first_hour: int
    end_hour: int


def file_slices(spec: SampleSpec) -> list[FileSlice]:
    """The files of the period, in order of time.

    Half `a` of a month is its days 1 to 15, half `b` the rest. Each half is cut at whole hours into equal time slices.
    """
    slices = []
    month = spec.start.replace(day=1)
    while month < spec.end:
        next_month = (month + timedelta(days=32)).replace(day=1)
        slices += [part for part in _month_slices(spec, month, next_month) if part.first_hour < part.end_hour]
        month = next_month
    return slices


def _month_slices(spec: SampleSpec, month: datetime, next_month: datetime) -> list[FileSlice]:
    if spec.files_per_month == 1:
        halves = [("a", month, next_month, 1)]
    else:
        middle = month + timedelta(days=15)
        in_a = (spec.files_per_month + 1) // 2
        halves = [("a", month, middle, in_a), ("b", middle, next_month, spec.files_per_month - in_a)]
    slices = []
    for half, begin, end, parts in halves:
        offset, hours = _hours(begin - spec.start), _hours(end - begin)
        for part in range(parts):
            first = max(0, offset + hours * part // parts)
            last = min(_hours(spec.end - spec.start), offset + hours * (part + 1) // parts)
            slices.append(FileSlice(f"{month:%Y/%m}/{half}/{part}/request.csv", first, last))
    return slices


def _hours(span: timedelta) -> int:
    return span // timedelta(hours=1)
