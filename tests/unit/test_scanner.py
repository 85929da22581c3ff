"""The scan over many servers, very many terms and odd names: its tables grow, and forget what they need not know."""

from __future__ import annotations

import math
import random
import time

import numpy as np
import pytest

from block_rows import ALL, BUCKET, ScanResult, row, sums_of
from loadcast import schema
from loadcast.kernels import scan, scan_tables
from loadcast.kernels.buckets import round_sums
from loadcast.kernels.rows import LAYOUT_17
from loadcast.kernels.scan import Counts, RowFilter, Scanner
from loadcast.kernels.scan_tables import NAMES, SLOTS
from oracle.stages import rounded_sum


def scanned(lines: list[bytes], keep: RowFilter = ALL, blocks: int = 1) -> Scanner:
    scanner = Scanner(LAYOUT_17, keep)
    for number in range(blocks):
        scanner.scan(b"\n".join(lines[number::blocks]))
    return scanner


def address(number: int) -> str:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


@pytest.mark.parametrize("form", ["10.{0}.{1}.{2}", "2001:db8:85a3:8d3:1319:{0:x}:{1:x}:{2:x}a"])
def test_a_hundred_thousand_servers_have_their_own_sums(form: str) -> None:
    servers = [
        form.format(number // 10_000 + 1, number // 100 % 100 + 1, number % 100 + 1) for number in range(100_000)
    ]
    lines = [row(server=server, total=str(number)) for number, server in enumerate(servers)]
    begin_s = time.process_time()
    scanned([*lines[:25_000], *lines[24_999::-1]], blocks=3)
    quarter_s, begin_s = time.process_time() - begin_s, time.process_time()
    scanner = scanned([*lines, *lines[::-1]], blocks=3)
    # Looking servers up one by one among all the others would take 16 times as long.
    assert time.process_time() - begin_s < 10 * quarter_s
    actual = scanner.buckets()
    assert (scanner.counts().good, len(actual.codes)) == (200_000, 100_000)
    assert (actual.counts == 2).all()
    totals = dict(
        zip((actual.servers[code] for code in actual.codes.tolist()), actual.sums[:, 0].tolist(), strict=True)
    )
    assert totals == {server: 2.0 * number for number, server in enumerate(servers)}


def test_servers_come_out_sorted_and_once() -> None:
    rng = random.Random(1)
    lines = [row(f"2016-06-01 00:{rng.randrange(5, 60):02d}:00", address(rng.randrange(9))) for _ in range(3000)]
    sums = scanned(lines).buckets()
    keys = list(zip(sums.codes.tolist(), sums.buckets.tolist(), strict=True))
    assert keys == sorted(set(keys))
    assert sums.counts.sum() == 3000


def test_times_in_no_order_are_summed_by_bucket() -> None:
    minutes = random.Random(2).choices(range(5, 60), k=5000)
    sums = sums_of(
        ScanResult(scanned([row(f"2016-06-01 00:{minute:02d}:59") for minute in minutes]).buckets(), [], Counts())
    )
    assert {bucket: count for (_, bucket), (count, _) in sums.items()} == {
        number: sum(minute // 5 == number + 1 for minute in minutes) for number in range(11)
    }
    assert min(bucket for _, bucket in sums) + BUCKET == BUCKET


@pytest.mark.parametrize("size", [10_000, 100_000])
def test_the_order_of_very_many_terms_does_not_show(size: int) -> None:
    rng = random.Random(size)
    texts = [f"{rng.uniform(0, 900):.3f}" for _ in range(size)]
    wanted = rounded_sum([float(text) for text in texts])
    for _ in range(5):
        rng.shuffle(texts)
        sums = scanned([row(total=text) for text in texts], blocks=3).buckets().sums
        assert round_sums(sums)[0, 0] == wanted


def test_small_terms_beside_very_large_ones_are_not_lost() -> None:
    texts = ["1e15", *["0.001"] * 1000, "1e15", *["0.1"] * 1000]
    (sums,) = scanned([row(total=text) for text in texts]).buckets().sums
    assert sums[0] == math.fsum(map(float, texts))


@pytest.mark.parametrize("servers", [None, frozenset({address(0)})])
def test_texts_of_odd_and_of_unwanted_servers_are_forgotten(
    servers: frozenset[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "_MOST_OTHER_TEXTS", 2000)
    keep = RowFilter(ALL.begin, ALL.end, servers)
    texts = [
        text
        for number in range(20_000)
        for text in (f"host{number}", address(number % 50 if servers is None else number))
    ]
    scanner = scanned([row(server=text) for text in texts], keep, blocks=2)
    counts = scanner.counts()
    assert counts.rejected == {schema.Reason.SERVER_IP.value: 20_000}
    assert (counts.good, counts.other_server) == ((20_000, 0) if servers is None else (1, 19_999))
    assert len(scanner._tables.names) <= 4096


def test_many_forms_of_few_addresses_are_forgotten_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_MOST_OTHER_TEXTS", 500)
    rng = random.Random(3)
    forms = ["".join(rng.choice((sign, sign.upper())) for sign in "2001:db8:abcd:ef01::abcd") for _ in range(9000)]
    scanner = scanned([row(server=form) for form in forms])
    assert (scanner.counts().good, scanner.buckets().servers) == (9000, ("2001:db8:abcd:ef01::abcd",))
    assert len(scanner._tables.names) <= 2048


def test_tables_double_when_they_are_full() -> None:
    made = scan_tables.new_tables()
    room = len(made.names), len(made.slot_records)
    scanner = scanned([row(server=address(number)) for number in range(room[1] + 1)])
    assert scanner._tables.used[NAMES] == scanner._tables.used[SLOTS] == room[1] + 1
    assert len(scanner._tables.slot_records) == 2 * room[1]
    assert len(scanner._tables.slot_index) >= 2 * len(scanner._tables.slot_records)


def test_rows_read_alone_are_added_to_sums_that_are_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_tables, "_FIRST_SLOTS", 1)
    lines = [row(server=address(number), kind='a"') for number in range(10_000)]
    scanner = scanned(lines)
    assert (scanner.counts().good, len(scanner.buckets().codes)) == (10_000, 10_000)


def test_a_block_of_more_events_than_are_noted_at_once_keeps_their_order() -> None:
    lines = [row(server=f"x{number}") if number % 3 else row(kind=f'"{number}"7') for number in range(20_000)]
    scanner = Scanner(LAYOUT_17, ALL)
    rejected = scanner.scan(b"\r\n".join(lines))
    assert [entry.line for entry in rejected] == [line for line in lines if b"x" in line]
    starts = np.cumsum([0, *(len(line) + 2 for line in lines)]).tolist()
    assert [entry.offset for entry in rejected] == [
        start for start, line in zip(starts, lines, strict=False) if b"x" in line
    ]
    assert scanner.counts().good == 20_000 - len(rejected)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_is_read_and_none_is_changed(kind: type) -> None:
    for data in (row(), row() + b"\n", row() + b"\r", b""):
        given = kind(bytearray(data))
        assert Scanner(LAYOUT_17, ALL).scan(given) == []
        assert bytes(given) == data
