"""However a file is cut into splits and blocks, the same lines come out, each once and with its own offset."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import log_bytes
import scanned_files
from block_rows import ScanResult, scan_block, sums_of
from loadcast.kernels.rows import LAYOUT_17, detect_layout
from loadcast.kernels.scan import Counts, RowFilter, Scanner
from loadcast.storage import blocks
from loadcast.storage.blocks import read_blocks, read_head
from loadcast.storage.files import SMALLEST_COST, SourceFile, Split, group_splits, plan_splits
from oracle import rows as oracle_rows

EVERYTHING = RowFilter(-(1 << 40), 1 << 40)
Lines = list[tuple[int, bytes]]


def any_file() -> st.SearchStrategy[bytes]:
    """Logs and line ends in every order; some begin with a byte order mark, or a part of one."""
    ends = st.lists(st.sampled_from((b"\r", b"\n", b"\r\n", b"a", b"\xc3\xa9", b",")), max_size=30).map(b"".join)
    start = st.sampled_from((b"", b"", b"\xef\xbb\xbf", b"\xef\xbb"))
    return st.builds(bytes.__add__, start, ends | ends | log_bytes.any_bytes(17))


def lines_of(splits: list[Split], block_bytes: int) -> Lines:
    """Offset and text of every line, block by block: a block's lines are found without looking beyond it."""
    lines = []
    for split in splits:
        for offset, block in read_blocks(split, block_bytes):
            lines += [(offset + line.offset, line.text) for line in block_lines(block)]
    return lines


def block_lines(block: bytes) -> list[oracle_rows.Line]:
    # The mark is for the start of a file: one that stands elsewhere is part of its line.
    if block.startswith(oracle_rows.BYTE_ORDER_MARK):
        lines = list(oracle_rows.lines(b"?" + block[1:]))
        first = lines[0]
        return [oracle_rows.Line(0, block[:1] + first.text[1:], first.end), *lines[1:]]
    return list(oracle_rows.lines(block))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("blocks")


@given(
    data=any_file(),
    cuts=st.lists(st.integers(0, 2000), max_size=5),
    block_bytes=st.integers(1, 40),
    piece_bytes=st.integers(1, 10),
)
@settings(max_examples=log_bytes.examples(2))
def test_any_cut_and_any_block_size_give_the_file_s_lines(
    folder: Path, data: bytes, cuts: list[int], block_bytes: int, piece_bytes: int
) -> None:
    path = folder / "plain.csv"
    path.write_bytes(data)
    whole = [(line.offset, line.text) for line in oracle_rows.lines(data)]
    with pytest.MonkeyPatch.context() as patch:
        # How much is read at a time in looking for a line's end.
        patch.setattr(blocks, "_PIECE_BYTES", piece_bytes)
        assert lines_of(scanned_files.cut(scanned_files.source(path), cuts), block_bytes) == whole


@given(data=any_file(), suffix=st.sampled_from((".gz", ".zst")), block_bytes=st.integers(1, 40))
@settings(max_examples=log_bytes.examples(0.5))
def test_a_compressed_file_gives_the_lines_of_what_it_holds(
    folder: Path, data: bytes, suffix: str, block_bytes: int
) -> None:
    file = scanned_files.write(folder / f"packed.csv{suffix}", data)
    whole = [(line.offset, line.text) for line in oracle_rows.lines(data)]
    assert lines_of(plan_splits([file], split_bytes=4), block_bytes) == whole


@given(data=any_file())
@settings(max_examples=log_bytes.examples(0.5))
def test_the_head_of_a_file_tells_the_layout_that_the_oracle_sees(folder: Path, data: bytes) -> None:
    path = folder / "head.csv"
    path.write_bytes(data)
    assert detect_layout(*read_head(scanned_files.source(path))).columns == oracle_rows.detect_layout(data)


@given(data=log_bytes.logs(17), cuts=st.lists(st.integers(0, 2000), max_size=4), block_bytes=st.integers(1, 300))
@settings(max_examples=log_bytes.examples(0.5))
def test_a_file_scanned_in_pieces_is_as_scanned_at_once(
    folder: Path, data: bytes, cuts: list[int], block_bytes: int
) -> None:
    file = scanned_files.write(folder / "scanned.csv", data)
    scanner = Scanner(LAYOUT_17, EVERYTHING)
    rejected = []
    for split in scanned_files.cut(file, cuts):
        for offset, block in read_blocks(split, block_bytes):
            rejected += [(offset + row.offset, row.reason, row.line) for row in scanner.scan(block)]
    ((start, whole),) = read_blocks(Split(file, 0, len(data)), len(data) + 1) if data else [(0, b"")]
    once = scan_block(whole, LAYOUT_17, EVERYTHING)
    assert scanner.counts() == once.counts
    assert rejected == [(start + row.offset, row.reason, row.line) for row in once.rejected]
    assert sums_of(ScanResult(scanner.buckets(), [], Counts())) == sums_of(once)


@given(
    sizes=st.lists(st.sampled_from((0, 1, SMALLEST_COST)) | st.integers(0, 20 * SMALLEST_COST), max_size=20),
    packed=st.lists(st.booleans(), min_size=20, max_size=20),
    task_cost=st.integers(4 * SMALLEST_COST, 12 * SMALLEST_COST),
)
@settings(max_examples=log_bytes.examples(1))
def test_tasks_cover_every_byte_of_every_file_once_and_are_even(
    sizes: list[int], packed: list[bool], task_cost: int
) -> None:
    files = [SourceFile(f"{number}.csv{'.gz' * packed[number]}", size, "") for number, size in enumerate(sizes)]
    splits = plan_splits(files, task_cost)
    tasks = group_splits(splits, task_cost)
    assert sorted(map(repr, (split for task in tasks for split in task))) == sorted(map(repr, splits))
    assert all(tasks)
    for file in files:
        own = [split for split in splits if split.file == file]
        assert (own[0].start, own[-1].end) == (0, file.size)
        assert all(split.end == following.start for split, following in pairwise(own))
        assert (
            len(own) == 1 if file.path.endswith(".gz") else all(split.end - split.start <= task_cost for split in own)
        )
    costs = [sum(split.cost for split in task) for task in tasks]
    assert all(cost <= 1.5 * task_cost or len(task) == 1 for task, cost in zip(tasks, costs, strict=True))
    # Two that follow each other would not have fitted into one.
    assert len(tasks) <= 2 * sum(costs) / (1.5 * task_cost) + 1
