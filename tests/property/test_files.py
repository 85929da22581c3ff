"""Any bytes at all as a file: reading never fails, and every line is counted once, where the oracle counts it.

For 20,000 new examples run pytest on this file with HYPOTHESIS_PROFILE=search and HYPOTHESIS_EXAMPLES=20000.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

import log_bytes
import scanned_files
from loadcast import schema
from loadcast.kernels.calendar import epoch_seconds
from loadcast.kernels.rows import LAYOUT_HEAD_BYTES
from loadcast.kernels.scan import RowFilter
from loadcast.storage import blocks, compressed
from oracle import rows as oracle_rows

BEGIN, END = (datetime.strptime(text, schema.TIME_FORMAT) for text in (log_bytes.BEGIN, log_bytes.END))
SERVERS = (None, frozenset({log_bytes.SERVERS[0]}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


def contents() -> st.SearchStrategy[bytes]:
    """Any bytes, and what is nearly a log in one of the two layouts or both; some begin with a byte order mark."""
    logs = st.sampled_from((17, 16)).flatmap(log_bytes.any_bytes)
    both = st.builds(bytes.__add__, log_bytes.logs(17), log_bytes.logs(16))
    mark = st.sampled_from((b"", b"", b"", b"\xef\xbb\xbf", b"\xef\xbb"))
    return st.builds(
        bytes.__add__, mark, st.binary(max_size=300) | logs | log_bytes.logs(17) | log_bytes.logs(16) | both
    )


positions = st.lists(st.integers(0, 3000), max_size=6)


@given(
    data=contents(),
    suffix=st.sampled_from(("", "", ".gz", ".zst")),
    members=positions,
    cuts=positions,
    block_bytes=st.integers(1, 60) | st.integers(60, 4000),
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    servers=st.sampled_from(SERVERS),
)
@settings(max_examples=log_bytes.examples(1))
def test_no_file_makes_the_scan_fail_and_every_line_is_counted_once(folder: Path, data: bytes, **how: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # What is read, and handed to zlib, at a time.
        patch.setattr(blocks, "_PIECE_BYTES", how["sizes"][0])
        patch.setattr(compressed, "_PACKED_BYTES", how["sizes"][1])
        bounds = [0, *sorted(position % (len(data) + 1) for position in how["members"]), len(data)]
        parts = [data[start:end] for start, end in pairwise(bounds)]
        file = scanned_files.write(folder / f"any.csv{how['suffix']}", *parts)
        keep = RowFilter(epoch_seconds(BEGIN), epoch_seconds(END), how["servers"])
        splits = scanned_files.cut(file, how["cuts"])
        counts, rejected = scanned_files.scan(splits, keep, block_bytes=how["block_bytes"])
    lines = [line.text.strip(b" \t") for line in oracle_rows.lines(data)]
    assert counts.blank == lines.count(b"")
    assert counts.blank + counts.good + counts.outside_period + counts.other_server + len(rejected) == len(lines)
    wanted = oracle_rows.read_rows(data, BEGIN, END, None, how["servers"] and set(how["servers"]))
    assert (counts.rows, counts.good) == (wanted.rows, len(wanted.sessions))
    assert (counts.outside_period, counts.other_server) == (wanted.outside_period, wanted.other_server)
    assert counts.rejected == Counter(reason for _, reason, _ in rejected)
    actual = [(offset, reason, oracle_rows.shown(line)) for offset, reason, line in rejected]
    assert actual == wanted.rejected
    assert counts.repaired == {f"{name}:{kind}": number for (name, kind), number in wanted.repaired.items()}
    for name in ("good", "blank", "outside_period", "other_server"):
        event(f"{name}: {bool(getattr(counts, name))}")
    event(f"rejected: {bool(rejected)}")


@given(
    rows=st.lists(st.tuples(log_bytes.rows(17) | log_bytes.rows(16), st.integers(1, 300)), min_size=1, max_size=12),
    end=st.sampled_from((b"\n", b"\r\n", b"\r")),
    suffix=st.sampled_from(tuple(scanned_files.PACKERS)),
    cuts=st.lists(st.integers(0, 1 << 20), max_size=4),
)
@settings(max_examples=log_bytes.examples(0.3))
def test_a_file_larger_than_the_head_that_tells_its_layout_is_read_so_too(folder: Path, **how: Any) -> None:
    data = b"".join((row + how["end"]) * number for row, number in how["rows"])
    event(f"larger than the head: {len(data) > LAYOUT_HEAD_BYTES}")
    file = scanned_files.write(folder / f"large.csv{how['suffix']}", data)
    keep = RowFilter(epoch_seconds(BEGIN), epoch_seconds(END))
    counts, rejected = scanned_files.scan(scanned_files.cut(file, how["cuts"]), keep, block_bytes=30_000)
    wanted = oracle_rows.read_rows(data, BEGIN, END)
    assert (counts.rows, counts.blank) == (wanted.rows, wanted.blank)
    assert (counts.good, counts.outside_period) == (len(wanted.sessions), wanted.outside_period)
    assert [(offset, reason) for offset, reason, _ in rejected] == [row[:2] for row in wanted.rejected]
