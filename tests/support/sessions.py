"""Seeded, hostile session logs for tests: everything the data contract names, in small.

A log is a list of *items*: bytes that end with LF and hold one line, or a few that belong together (a lone CR never
meets the LF of a neighbour). Items can be shuffled and split over files at will without any line changing. The values
stand in `session_values`. Sums that need 15 digits, which the contract leaves open, do not occur.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from session_values import (
    BAD_SERVERS,
    BAD_STARTS,
    BLANKS,
    FAR_STARTS,
    GOOD_NUMBERS,
    MISSING_NUMBERS,
    NEGATIVE_NUMBERS,
    NOT_NUMBERS,
    TOO_LARGE_NUMBERS,
)

BEGIN = datetime(2016, 6, 1)
SERVERS = (
    "115.220.193.16",  # always there
    "210.181.165.92",  # hours and days of silence
    "10.0.0.3",  # starts late
    "10.0.0.20",  # retires early
    "2001:db8::a:1",  # written in every form IPv6 has
    "10.0.0.100",  # ties and thresholds, and nothing else
    "9.9.9.9",  # starts on the last day: unseen in any sensible training period
    "192.0.2.1",  # one session in all
)
IPV6_FORMS = (
    "2001:db8::a:1",
    "2001:0db8:0000:0000:0000:0000:000a:0001",
    "2001:DB8:0:0:0:0:A:1",
    "2001:db8:0:0::a:1",
    "2001:db8::0.10.0.1",
)

#: Broken by some rows of every hostile log, but by few: other rows of the same five minutes stay.
CONTRACT = {
    "TotalLoad": {"max": 700, "onBreach": "reject"},
    "MbytesTransferred": {"min": 0.2, "max": 60},
    "SubService_3_Load": {"min": 0.5, "max": 199, "onBreach": "reject"},
    "SubService_5_Load": {"max": 1e14},
    "SecureBytes_Load": {"min": 1, "onBreach": "count"},
}

_COLUMNS = 17
_START, _END, _MBYTES, _SUBS, _SECURE, _TOTAL, _SERVER, _CLIENT = 1, 2, 4, range(8, 13), 13, 14, 15, 16
_NUMBERS = (_MBYTES, *_SUBS, _SECURE, _TOTAL)


@dataclass(frozen=True)
class _Log:
    """What the makers of rows share. `layout` is 17 or 16 columns; the period has `days` days from `begin`."""

    rng: random.Random
    layout: int
    begin: datetime
    days: int

    def row(self, server: str, start: datetime | str, total: str | None = None) -> list[str]:
        """The 17 fields of a clean row."""
        rng = self.rng
        loads = [f"{rng.uniform(0, 200):.{rng.randrange(4)}f}" for _ in range(6)]
        mbytes = rng.choice(["0.1", "0.2", "0.3", "0.7", f"{rng.expovariate(0.1):.3f}", str(rng.randrange(90))])
        total = total or rng.choice(["0.1", "0.2", "0.3", "1.1", f"{10 ** rng.uniform(-1, 2.9):.3f}"])
        text = f"{start:%Y-%m-%d %H:%M:%S}" if isinstance(start, datetime) else start
        end = f"{start + timedelta(minutes=7):%Y-%m-%d %H:%M:%S}" if isinstance(start, datetime) else "never"
        client = f"172.16.{rng.randrange(256)}.{rng.randrange(256)}"
        head = ["web", text, end, str(rng.randrange(50)), mbytes, "gold", "GET /", "apache"]
        return [*head, *loads, total, server, client]

    def line(self, fields: list[str]) -> bytes:
        """Fields (of 17) as a line of the layout, without its end. A lone surrogate \\udcNN stands for the byte NN."""
        if self.layout == 16 and len(fields) == _COLUMNS:
            fields = [*fields[1:_SERVER], fields[_CLIENT], fields[_SERVER]]
        return ",".join(fields).encode("utf-8", errors="surrogateescape")

    def any_time(self) -> datetime:
        """A time in the period, often exactly on, or one second beside, a bucket's, an hour's or a day's edge."""
        seconds = self.rng.randrange(self.days * 86400)
        edge = self.rng.choice([0, 0, 0, 300, 3600, 86400])
        if edge:
            seconds = max(0, seconds // edge * edge - self.rng.choice([0, 0, 1]))
        return self.begin + timedelta(seconds=seconds)


def last_second(days: int, begin: datetime = BEGIN) -> datetime:
    """trainEnd of a log: both ends of the period belong to it."""
    return begin + timedelta(days=days, seconds=-1)


def hostile_log(
    seed: int,
    *,
    servers: int = len(SERVERS),
    days: int = 14,
    rows: int = 5000,
    layout: int = 17,
    dirty: float = 0.2,
    begin: datetime = BEGIN,
) -> list[bytes]:
    """Items in time order: about `rows` clean rows, and `dirty` times as many of every bad and odd kind.

    Each kind of `KINDS` occurs at least once for every value it has (some 400 items), unless dirty is 0. Dirt is spread
    evenly over the kinds, so more than the customary 5 % of a small log are rejected. Raises ValueError for a layout
    that is neither 16 nor 17 and for a number of servers that is not between 1 and 200.
    """
    if layout not in (16, 17) or not 1 <= servers <= 200:
        raise ValueError(f"found layout {layout} and {servers} servers, wanted layout 16 or 17 and 1 to 200 servers")
    log = _Log(random.Random(f"{seed}/{servers}/{days}/{rows}/{layout}"), layout, begin, days)
    clean = [*_scenarios(log, servers), *_clean(log, servers, rows)]
    items = [(start, _dressed(log, fields)) for start, fields in clean]
    if dirty:
        kinds = list(KINDS.values())
        bad = [item for kind in kinds for item in kind(log)]
        while len(bad) < dirty * rows:
            bad.extend(log.rng.choice(kinds)(log))
        items += [(log.any_time(), item) for item in bad]
    items.sort(key=lambda pair: pair[0])
    return [item for _, item in items]


def server_names(servers: int) -> tuple[str, ...]:
    """The servers of a log, as they are written after reading."""
    return (*SERVERS, *(f"10.1.{i // 100}.{i % 100}" for i in range(servers)))[:servers]


def _lives(log: _Log, server: str, start: datetime) -> bool:
    """Whether a server of the given role has sessions at that time."""
    day = (start - log.begin).days
    if server == SERVERS[1]:
        return start.hour not in (2, 3, 4) and day % 5 != 3
    if server == SERVERS[2]:
        return day >= log.days // 2
    if server == SERVERS[3]:
        return day <= log.days // 3
    if server == SERVERS[6]:
        return day == log.days - 1
    return server not in (SERVERS[5], SERVERS[7])


def _clean(log: _Log, servers: int, rows: int) -> Iterator[tuple[datetime, list[str]]]:
    names = server_names(servers)
    for _ in range(rows):
        start, server = log.any_time(), log.rng.choice(names)
        if not _lives(log, server, start):
            server = names[0]
        form = log.rng.choice(IPV6_FORMS) if server == SERVERS[4] else server
        yield start, log.row(form, start)


def _scenarios(log: _Log, servers: int) -> Iterator[tuple[datetime, list[str]]]:
    """The period's two edges, the server of one session, and hours of ties and thresholds."""
    names = server_names(servers)
    for start in (log.begin, last_second(log.days, log.begin)):
        yield start, log.row(names[0], start)
    if SERVERS[7] in names:
        start = log.begin + timedelta(days=1, hours=5, minutes=5)
        yield start, log.row(SERVERS[7], start)
    if SERVERS[5] not in names:
        return
    # Loads by 5-minute bucket of an hour; as plain float sums some of these ties would be none.
    hours = (
        {1: "0.1 0.2 0.3", 4: "0.6"},
        {2: "0.6", 3: "0.3 0.2 0.1", 11: "0.1 0.2 0.3"},
        {0: "40 60", 5: "99.9"},
        {0: "99.9 0.1 0.001"},
        {7: "250.25 249.75", 8: "500"},
        {7: "500 0.0001"},
        {0: "0", 6: "-0"},
        {3: "NULL", 9: "abc"},
        {11: "0.7 0.1 0.1 0.1", 10: "1"},
    )
    for number in range(0, max(1, log.days - 1) * 24, 2):
        for slot, loads in hours[number // 2 % len(hours)].items():
            for load in loads.split():
                start = log.begin + timedelta(hours=number, minutes=5 * slot, seconds=log.rng.randrange(300))
                yield start, log.row(SERVERS[5], start, load)


def _dressed(log: _Log, fields: list[str]) -> bytes:
    """A clean row as an item, sometimes with the quotes, spaces, bytes and line ends that must not matter."""
    rng = log.rng
    if rng.random() < 0.1:
        place = rng.randrange(_COLUMNS)
        fields[place] = rng.choice(['"{}"', " {}", "{}\t", '" {} "', " \t{}  ", ' "{}"\t']).format(fields[place])
    if rng.random() < 0.05:
        text = rng.choice(['"a,b"', '"say ""hi"", twice"', '""', "\x00", "\udcff\udcfe", "naïve", 'q"uo"te', "a" * 300])
        fields[rng.choice([_END, 5, 6, 7])] = text
    if rng.random() < 0.02:
        fields[rng.choice(_SUBS)] = rng.choice(GOOD_NUMBERS)
    return log.line(fields) + rng.choice([b"\n"] * 8 + [b"\r\n"])


def _good_numbers(log: _Log) -> Iterator[bytes]:
    for place in (_TOTAL, _SECURE):
        yield from _with_numbers(log, GOOD_NUMBERS, place)
    yield from _with_numbers(log, ("1e15", "1000000000000000.000", "1000000000000000.01"), _SUBS[4])


def _with_numbers(log: _Log, values: Sequence[str], place: int | None = None) -> Iterator[bytes]:
    for value in values:
        start = log.any_time()
        fields = log.row(SERVERS[0], start)
        fields[log.rng.choice(_NUMBERS) if place is None else place] = value
        yield log.line(fields) + b"\n"


def _repairs(values: Sequence[str]) -> Callable[[_Log], Iterator[bytes]]:
    def make(log: _Log) -> Iterator[bytes]:
        yield from _with_numbers(log, values)
        yield from _with_numbers(log, values[:3], _TOTAL)

    return make


def _stray_byte_numbers(log: _Log) -> Iterator[bytes]:
    yield from _with_numbers(log, ("5\udcff", "\udc80", "\udcc3("))


def _many_repairs(log: _Log) -> Iterator[bytes]:
    fields = log.row(SERVERS[0], log.any_time())
    for place, value in zip(_NUMBERS, ("", "x", "-1", "1e16", "NULL", "inf", "-1e400", "1e400"), strict=True):
        fields[place] = value
    yield log.line(fields) + b"\r\n"


def _field_counts(log: _Log) -> Iterator[bytes]:
    good = log.line(log.row(SERVERS[0], log.any_time()))
    fields = good.split(b",")
    for kept in (1, 2, 9, log.layout - 2, log.layout - 1):
        yield b",".join(fields[:kept]) + b"\n"
    for added in (b",", b",,", b",extra", b',"a,b"', b",x\r"):
        yield good + added + b"\n"
    yield good[: len(good) // 2] + b"\n"
    yield b'web,"' + good + b"\n"
    yield b",".join([b'"' + fields[0], fields[1] + b'"', *fields[2:]]) + b"\n"
    yield from (b"garbage\n", b'"\n', b'""\n', b",\n", b"\x00\n", b"\xff\xfe\xfd\n", b"\x0c\n", b"\xc2\xa0\n", b"\\\n")
    yield b"," * (log.layout - 2) + b"\n"
    yield b"z\xe9" * 2500 + b"\n"


def _headers(log: _Log) -> Iterator[bytes]:
    for name in ("IPs", "ServerIP", " IPs ", '"IPs"', '"ServerIP"\t'):
        yield log.line(log.row(name, log.any_time())) + b"\n"
    for start in ("SessionStart", '"SessionStart"', "\tSessionStart"):
        yield log.line(log.row(SERVERS[0], start)) + b"\n"
    yield log.line(log.row("nonsense", "SessionStart")) + b"\r\n"
    yield log.line(log.row("IPs", "nonsense")) + b"\n"


def _bad_servers(log: _Log) -> Iterator[bytes]:
    for server in (*BAD_SERVERS, "1.2.3.4\udcff"):
        yield log.line(log.row(server, log.any_time())) + b"\n"
    yield log.line(log.row("nonsense", "nonsense")) + b"\n"


def _bad_starts(log: _Log) -> Iterator[bytes]:
    for start in (*BAD_STARTS, "2016-06-01 00:00:0\udcff"):
        fields = log.row(SERVERS[0], start, log.rng.choice(("5", "-1", "x")))
        yield log.line(fields) + b"\n"


def _outside(log: _Log) -> Iterator[bytes]:
    """Just and far outside the period, with numbers whose repair must not be counted."""
    end = last_second(log.days, log.begin)
    beside = (log.begin - timedelta(seconds=1), end + timedelta(seconds=1), end + timedelta(days=9))
    for start in (*beside, *FAR_STARTS):
        for server in (SERVERS[0], "10.99.0.1"):
            yield log.line(log.row(server, start, log.rng.choice(("5", "-1", "x")))) + b"\n"


def _lone_returns(log: _Log) -> Iterator[bytes]:
    for parting in (b"\r", b"\r\r", b"\r \r"):
        pair = [log.line(log.row(SERVERS[0], log.any_time())) for _ in range(2)]
        yield parting.join(pair) + b"\n"
    yield log.line(log.row(SERVERS[0], log.any_time())).replace(b"GET /", b'"GET\r/"') + b"\n"


def _blanks(log: _Log) -> Iterator[bytes]:
    yield from BLANKS


def _odd_quotes(log: _Log) -> Iterator[bytes]:
    """Rows that are kept: every field quoted, and quotes that do not open or close a field."""
    yield log.line([f'"{value}"' for value in log.row(SERVERS[0], log.any_time())]) + b"\n"
    for text in ('"never closed', 'opened"late"', '"closed"early', '"a""', '"a"" ', '" a "" "b'):
        fields = log.row(SERVERS[0], log.any_time())
        fields[log.rng.choice([_END, 6, _CLIENT])] = text
        yield log.line(fields) + b"\n"


KINDS: dict[str, Callable[[_Log], Iterator[bytes]]] = {
    "good numbers": _good_numbers,
    "missing": _repairs(MISSING_NUMBERS),
    "not a number": _repairs(NOT_NUMBERS),
    "negative": _repairs(NEGATIVE_NUMBERS),
    "too large": _repairs(TOO_LARGE_NUMBERS),
    "stray bytes": _stray_byte_numbers,
    "many repairs": _many_repairs,
    "field count": _field_counts,
    "header": _headers,
    "bad server": _bad_servers,
    "bad start": _bad_starts,
    "outside": _outside,
    "lone CR": _lone_returns,
    "blank": _blanks,
    "odd quotes": _odd_quotes,
}


def write_split(
    lines: Sequence[bytes], folder: Path, parts: int, seed: int, *, shuffle: bool = False, plain: bool = False
) -> list[Path]:
    """Write a log over `parts` files of unequal size, `a/0/request.csv` and so on; gives their paths.

    Unless `plain`, some files are gzipped, start with a byte order mark or lack the last line end. Each file needs some
    tens of rows, or its layout can't be told from its dirt. Raises ValueError for fewer than 40 items to a file.
    """
    if parts < 1 or len(lines) < 40 * parts:
        raise ValueError(f"found {len(lines)} items for {parts} files, wanted at least 40 for each")
    rng = random.Random(f"{seed}/{parts}/{shuffle}")
    items = list(lines)
    if shuffle:
        rng.shuffle(items)
    spare = len(items) - 40 * parts
    cuts = sorted(rng.randint(0, spare) for _ in range(parts - 1))
    edges = [0, *(cut + 40 * number for number, cut in enumerate(cuts, start=1)), len(items)]
    paths = []
    for number in range(parts):
        data = b"".join(items[edges[number] : edges[number + 1]])
        path = folder / "ab"[number % 2] / str(number // 2) / "request.csv"
        paths.append(_write(path, data, None if plain else rng))
    return paths


def _write(path: Path, data: bytes, rng: random.Random | None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if rng is not None:
        if rng.random() < 0.3:
            data = b"\xef\xbb\xbf" + data
        ends_in_text = data.endswith(b"\n") and data[-2:-1] not in (b"\n", b"\r", b" ", b"\t")
        if ends_in_text and rng.random() < 0.5:
            data = data[:-1]
        if rng.random() < 0.3:
            path, data = path.with_name("request.csv.gz"), gzip.compress(data, 1, mtime=0)
    path.write_bytes(data)
    return path
