"""The scan kernel against two slow readers, on any bytes: rows.parse_row line by line, and the oracle."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import log_bytes
from block_rows import ScanResult, scan_block
from loadcast import schema
from loadcast.kernels import buckets as bucket_kernel
from loadcast.kernels import scan, scan_tables
from loadcast.kernels.calendar import epoch_seconds
from loadcast.kernels.data_contract import Contract
from loadcast.kernels.rows import LAYOUT_16, LAYOUT_17, Layout, Row, is_blank, parse_row
from loadcast.kernels.scan import RowFilter, Scanner
from oracle import rows as oracle_rows
from oracle import stages

LAYOUTS = {17: LAYOUT_17, 16: LAYOUT_16}
BEGIN, END = (datetime.strptime(text, schema.TIME_FORMAT) for text in (log_bytes.BEGIN, log_bytes.END))
PERIOD = (epoch_seconds(BEGIN), epoch_seconds(END))
FILTERS = (None, frozenset({log_bytes.SERVERS[0]}), frozenset(log_bytes.SERVERS[1:]))
BOUNDS = (-1e300, -1.0, -0.0, 5e-324, 0.3, 0.5, 1.25, 5.0, 7.0, 41.0, 42.0, 100.0, 1e15, 1e16, 1e308)
LINE = re.compile(rb"([^\r\n]*)(?:\r\n|\n|\r|\Z)")
# Sums of the two are added up in another order, and hypothesis finds terms of every size.
TOLERANCE = 1e-13
SMALLEST = 1e-300

Sums = dict[tuple[str, int], tuple[int, tuple[float, ...]]]


@dataclass
class Outcome:
    """What became of a block's lines, in a form that any reader can give."""

    counts: Counter[str] = field(default_factory=Counter)
    rejected: list[tuple[int, str]] = field(default_factory=list)
    repaired: Counter[str] = field(default_factory=Counter)
    breaches: Counter[str] = field(default_factory=Counter)
    sums: Sums = field(default_factory=dict)


def line_by_line(data: bytes, layout: Layout, keep: RowFilter) -> Outcome:
    """The definition: each line alone through rows.parse_row."""
    outcome = Outcome()
    kept: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for match in LINE.finditer(data):
        if match.start() == len(data):
            break
        if is_blank(match.group(1)):
            outcome.counts["blank"] += 1
            continue
        outcome.counts["rows"] += 1
        row = parse_row(match.group(1), layout)
        if not isinstance(row, Row):
            outcome.rejected.append((match.start(), row.value))
        elif not keep.begin <= row.second <= keep.end:
            outcome.counts["outside_period"] += 1
        elif keep.servers is not None and row.server not in keep.servers:
            outcome.counts["other_server"] += 1
        elif breaks(row, keep.contract or Contract(), outcome.breaches):
            outcome.rejected.append((match.start(), schema.Reason.CONTRACT.value))
        else:
            outcome.counts["good"] += 1
            outcome.repaired.update(f"{name}:{kind.value}" for name, kind in row.repairs)
            kept[row.server, row.second // schema.BUCKET_SECONDS].append(row)
    for key, members in kept.items():
        columns = zip(*(row.values for row in members), strict=True)
        outcome.sums[key] = (len(members), tuple(math.fsum(value or 0.0 for value in column) for column in columns))
    return outcome


def breaks(row: Row, contract: Contract, breaches: Counter[str]) -> bool:
    """Whether the contract rejects the row; its breaches are counted."""
    broken = [
        index
        for index, value in enumerate(row.values)
        if value is not None and (value < contract.low[index] or value > contract.high[index])
    ]
    breaches.update(schema.MEASURES[index] for index in broken)
    return any(contract.reject[index] for index in broken)


def by_oracle(data: bytes, layout: Layout, keep: RowFilter) -> Outcome:
    """As the oracle reads it."""
    servers = None if keep.servers is None else set(keep.servers)
    contract = None if keep.contract is None else as_configured(keep.contract)
    reading = oracle_rows.read_rows(data, BEGIN, END, layout.columns, servers, contract)
    outcome = Outcome(rejected=[(offset, reason) for offset, reason, _ in reading.rejected], breaches=reading.breaches)
    outcome.repaired = Counter({f"{name}:{kind}": number for (name, kind), number in reading.repaired.items()})
    outcome.counts = Counter(
        rows=reading.rows,
        blank=reading.blank,
        good=len(reading.sessions),
        outside_period=reading.outside_period,
        other_server=reading.other_server,
    )
    for server, by_start in stages.make_buckets(reading.sessions).items():
        for start, bucket in by_start.items():
            key = (server, epoch_seconds(start) // schema.BUCKET_SECONDS)
            outcome.sums[key] = (bucket.num_session, bucket.sums)
    return outcome


def as_configured(contract: Contract) -> dict[str, dict[str, Any]]:
    """As a configuration says it."""
    bounds = zip(schema.MEASURES, contract.low, contract.high, contract.reject, strict=True)
    ranges = {
        name: {"min": None if low == -math.inf else low, "max": None if high == math.inf else high}
        | ({"onBreach": "reject"} if reject else {})
        for name, low, high, reject in bounds
    }
    return {name: allowed for name, allowed in ranges.items() if (allowed["min"], allowed["max"]) != (None, None)}


def scanned(result: ScanResult) -> Outcome:
    counts = {name: value for name, value in vars(result.counts).items() if isinstance(value, int)}
    sums = result.buckets
    keys = zip([sums.servers[code] for code in sums.codes.tolist()], sums.buckets.tolist(), strict=True)
    values = zip(sums.counts.tolist(), map(tuple, bucket_kernel.round_sums(sums.sums).tolist()), strict=True)
    return Outcome(
        Counter(counts),
        [(row.offset, row.reason.value) for row in result.rejected],
        result.counts.repaired,
        result.counts.breaches,
        dict(zip(keys, values, strict=True)),
    )


def assert_same(actual: Outcome, wanted: Outcome) -> None:
    assert actual.counts == wanted.counts
    assert actual.rejected == wanted.rejected
    assert actual.repaired == wanted.repaired
    assert actual.breaches == wanted.breaches
    assert {key: number for key, (number, _) in actual.sums.items()} == {
        key: number for key, (number, _) in wanted.sums.items()
    }
    for key, (_, values) in actual.sums.items():
        np.testing.assert_allclose(values, wanted.sums[key][1], rtol=TOLERANCE, atol=SMALLEST)


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    """Bounds of some columns: of what the numbers of the logs are, and of what no number is."""
    ranges = {}
    for name in draw(st.lists(st.sampled_from(schema.MEASURES), min_size=1, unique=True)):
        low, high = sorted((draw(st.sampled_from(BOUNDS)), draw(st.sampled_from(BOUNDS))))
        ends = draw(st.sampled_from(((low, high), (low, None), (None, high))))
        ranges[name] = (*ends, draw(st.booleans()))
    return Contract.of(ranges)


@st.composite
def cases(draw: st.DrawFn) -> tuple[bytes, Layout, RowFilter]:
    """Bytes, the layout they are read as (mostly theirs), and a filter, often with a contract."""
    layout = draw(st.sampled_from((17, 17, 16)))
    data = draw(log_bytes.any_bytes(layout))
    # A byte order mark is for the reader of files, who takes it off.
    while data.startswith(oracle_rows.BYTE_ORDER_MARK):
        data = data.removeprefix(oracle_rows.BYTE_ORDER_MARK)
    return data, LAYOUTS[layout], RowFilter(*PERIOD, draw(st.sampled_from(FILTERS)), draw(st.none() | contracts()))


@given(case=cases())
@settings(max_examples=log_bytes.examples(2))
def test_a_block_is_read_as_if_each_line_had_been_read_alone_and_as_the_oracle_reads_it(case: Any) -> None:
    actual = scanned(scan_block(*case))
    assert_same(actual, line_by_line(*case))
    assert_same(actual, by_oracle(*case))


@given(data=log_bytes.plain_logs(17), contract=contracts(), servers=st.sampled_from(FILTERS))
@settings(max_examples=log_bytes.examples(2))
def test_a_contract_does_to_rows_read_together_what_it_does_to_each(
    data: bytes, contract: Contract, servers: Any
) -> None:
    case = data, LAYOUT_17, RowFilter(*PERIOD, servers, contract)
    actual = scanned(scan_block(*case))
    assert_same(actual, line_by_line(*case))
    assert_same(actual, by_oracle(*case))


@given(
    blocks=st.lists(log_bytes.any_bytes(17) | log_bytes.plain_logs(17), max_size=5),
    rules=cases(),
    room=st.sampled_from((1, 2, 3, 5, 1000)),
    other_texts=st.sampled_from((0, 1, 1000)),
)
@settings(max_examples=log_bytes.examples(1))
def test_tables_of_any_size_and_what_earlier_blocks_have_left_in_them_change_nothing(
    blocks: list[bytes], rules: Any, room: int, other_texts: int
) -> None:
    _, _, keep = rules
    wanted = Outcome()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_EVENTS", "_FIRST_NAMES", "_FIRST_SLOTS"):
            patch.setattr(scan_tables, name, room)
        patch.setattr(scan, "_MOST_OTHER_TEXTS", other_texts)
        scanner = Scanner(LAYOUT_17, keep)
        for block in blocks:
            outcome = line_by_line(block, LAYOUT_17, keep)
            assert [(row.offset, row.reason.value) for row in scanner.scan(block)] == outcome.rejected
            for name in ("counts", "repaired", "breaches"):
                getattr(wanted, name).update(getattr(outcome, name))
    wanted.sums = line_by_line(b"\n".join(blocks), LAYOUT_17, keep).sums
    actual = scanned(ScanResult(scanner.buckets(), [], scanner.counts()))
    assert_same(actual, wanted)


@given(case=cases())
@settings(max_examples=log_bytes.examples(0.5))
def test_every_line_is_counted_exactly_once(case: Any) -> None:
    counts = scan_block(*case).counts
    lines = [match for match in LINE.finditer(case[0]) if match.start() < len(case[0])]
    assert counts.rows + counts.blank == len(lines)
    assert counts.rows == counts.good + counts.outside_period + counts.other_server + counts.rejected.total()


@given(case=cases())
@settings(max_examples=log_bytes.examples(0.3))
def test_a_contract_that_nothing_breaks_is_as_none(case: Any) -> None:
    data, layout, keep = case
    plain = RowFilter(keep.begin, keep.end, keep.servers)
    wanted = scan_block(data, layout, plain)
    for contract in (Contract(), Contract.of(dict.fromkeys(schema.MEASURES, (0.0, schema.LARGEST_NUMBER, True)))):
        actual = scan_block(data, layout, replace(plain, contract=contract))
        assert (actual.counts, actual.rejected) == (wanted.counts, wanted.rejected)
        assert actual.buckets.sums.tobytes() == wanted.buckets.sums.tobytes()
    assert wanted.counts.breaches == Counter()


@given(data=st.binary(max_size=300), layout=st.sampled_from((LAYOUT_16, LAYOUT_17)))
@settings(max_examples=log_bytes.examples(1))
def test_no_bytes_at_all_make_the_scan_fail(data: bytes, layout: Layout) -> None:
    counts = scan_block(data, layout, RowFilter(0, 1)).counts
    assert counts.rows == counts.rejected.total() + counts.outside_period


@pytest.mark.parametrize("layout", [17, 16])
def test_the_grammar_yields_rows_that_are_kept_and_rows_of_every_other_fate(layout: int) -> None:
    """Else the properties would hold for nothing: the strategies must reach every branch."""
    total: Counter[str] = Counter()

    @given(data=log_bytes.logs(layout) | log_bytes.plain_logs(layout), contract=st.none() | contracts())
    @settings(max_examples=150, database=None)
    def collect(data: bytes, contract: Contract | None) -> None:
        counts = scan_block(data, LAYOUTS[layout], RowFilter(*PERIOD, FILTERS[2], contract)).counts
        total.update(breaches=counts.breaches.total())
        total.update(good=counts.good, blank=counts.blank, outside=counts.outside_period, other=counts.other_server)
        total.update(counts.rejected)

    collect()
    fates = {"good", "blank", "outside", "other", "breaches", *(reason.value for reason in schema.Reason)}
    assert {fate for fate in fates if total[fate]} == fates
