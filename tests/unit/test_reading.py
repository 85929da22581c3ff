"""Reading files: lines and blocks by examples, files that are too odd to read, and files that change meanwhile."""

from __future__ import annotations

import os
import re
import time
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

import scanned_files
from loadcast.errors import InputError
from loadcast.kernels.rows import LAYOUT_HEAD_BYTES
from loadcast.storage import blocks as reading
from loadcast.storage import sources
from loadcast.storage.blocks import read_blocks, read_head
from loadcast.storage.files import SourceFile, Split

MARK = b"\xef\xbb\xbf"
SUFFIXES = tuple(scanned_files.PACKERS)
Blocks = list[tuple[int, bytes]]


def write(folder: Path, data: bytes, name: str = "request.csv") -> SourceFile:
    return scanned_files.write(folder / name, data)


def blocks(file: SourceFile, block_bytes: int = 8, *bounds: int) -> Blocks:
    splits = [Split(file, start, end) for start, end in pairwise([0, *bounds, file.size])]
    return [block for split in splits for block in read_blocks(split, block_bytes)]


# --- lines and blocks -----------------------------------------------------------------------------------------------


def test_blocks_end_where_lines_end(tmp_path: Path) -> None:
    file = write(tmp_path, b"aa\nbbb\r\ncccc\rdd\nlast")
    assert blocks(file, 8) == [(0, b"aa\nbbb\r\n"), (8, b"cccc\rdd\n"), (16, b"last")]
    assert blocks(file, 7) == [(0, b"aa\n"), (3, b"bbb\r\n"), (8, b"cccc\r"), (13, b"dd\nlast")]
    assert blocks(file, 1000) == [(0, b"aa\nbbb\r\ncccc\rdd\nlast")]


@pytest.mark.parametrize("cut", range(9))
def test_a_cut_inside_a_crlf_or_a_character_moves_to_the_next_line(tmp_path: Path, cut: int) -> None:
    file = write(tmp_path, "é\r\n\r\nö\r".encode())
    assert b"".join(block for _, block in blocks(file, 100, cut)) == "é\r\n\r\nö\r".encode()
    assert all(offset in (0, 4, 6) for offset, _ in blocks(file, 100, cut))


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 4, 5, 8, 100])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b""])
def test_a_byte_order_mark_is_left_out_and_counted(tmp_path: Path, end: bytes, block_bytes: int) -> None:
    file = write(tmp_path, MARK + b"a" + end)
    assert blocks(file, block_bytes) == [(3, b"a" + end)]
    assert read_head(file) == (b"a" + end, True)


def test_a_mark_elsewhere_stays(tmp_path: Path) -> None:
    file = write(tmp_path, MARK + MARK + b"a\n" + MARK + b"b\n")
    assert blocks(file, 8) == [(3, MARK + b"a\n"), (8, MARK + b"b\n")]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("data", [b"", b"x", b"x\n", b"\n", b"\r", b"\r\n", MARK])
def test_the_smallest_files(tmp_path: Path, data: bytes, suffix: str) -> None:
    file = write(tmp_path, data, f"request.csv{suffix}")
    assert b"".join(block for _, block in blocks(file)) == data.removeprefix(MARK)
    assert read_head(file) == (data.removeprefix(MARK), True)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_no_bytes_has_no_lines_under_any_name(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"request.csv{suffix}").touch()
    file = scanned_files.source(tmp_path / f"request.csv{suffix}")
    assert (blocks(file), read_head(file)) == ([], (b"", True))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("more", "complete"), [(-1, True), (0, True), (1, False)])
def test_the_head_says_whether_it_is_all(tmp_path: Path, more: int, complete: bool, suffix: str) -> None:
    data = b"x" * (LAYOUT_HEAD_BYTES + more)
    assert read_head(write(tmp_path, data, f"x{suffix}")) == (data[:LAYOUT_HEAD_BYTES], complete)


def test_a_line_longer_than_many_blocks_and_searches_comes_whole(tmp_path: Path) -> None:
    data = b"a\n" + b"x" * 300_000 + b"\r\nb\n"
    file = write(tmp_path, data)
    assert blocks(file, 1000) == [(0, b"a\n"), (2, data[2:])]
    assert blocks(file, 1 << 20, 2, 3, 150_000, 300_003) == [(0, b"a\n"), (2, data[2:300_004]), (300_004, b"b\n")]


def test_a_long_line_is_not_copied_over_and_over(tmp_path: Path) -> None:
    file = write(tmp_path, b"x" * (8 << 20))
    begin = time.perf_counter()
    assert len(blocks(file, 1024)) == 1
    # Adding block after block would copy 32 GB.
    assert time.perf_counter() - begin < 5


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_line_that_is_too_long_is_an_error_and_takes_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """As from a few kilobytes that unpack to an endless line."""
    monkeypatch.setattr(reading, "LONGEST_LINE_BYTES", 1 << 20)
    file = scanned_files.write(tmp_path / f"bomb.csv{suffix}", *[b"\0" * (4 << 20)] * 8)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"has a line of more than 1 MB\. Replace the file, or leave it out"):
            blocks(file, 4096)
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
    finally:
        tracemalloc.stop()


def test_a_split_that_begins_in_a_line_that_is_too_long_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LONGEST_LINE_BYTES", 1 << 20)
    file = write(tmp_path, b"\0" * (8 << 20))
    with pytest.raises(InputError, match="has a line of more than 1 MB"):
        list(read_blocks(Split(file, 5, 6)))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_a_line_of_the_longest_length_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, end: bytes
) -> None:
    monkeypatch.setattr(reading, "LONGEST_LINE_BYTES", 1000)
    data = b"x" * (1000 - len(end)) + end
    assert b"".join(block for _, block in blocks(write(tmp_path, data * 3, f"x{suffix}"), 16)) == data * 3


def test_the_longest_line_is_the_one_that_the_docs_name(tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[2] / "Docs" / "DATA.md"
    (megabytes,) = map(int, re.findall(r"a line of over (\d+) MB", page.read_text(encoding="utf-8")))
    for more, suffix in ((0, ".zst"), (1000, ".zst"), (1000, "")):
        file = scanned_files.write(tmp_path / f"long.csv{suffix}", bytes((megabytes << 20) + more))
        reader = read_blocks(Split(file, 0, file.size))
        if not more:
            assert [len(block) for _, block in reader] == [megabytes << 20]
            continue
        with pytest.raises(InputError, match=f"has a line of more than {megabytes} MB"):
            next(reader)


# --- files that change ----------------------------------------------------------------------------------------------

OLD = b"".join(b"%06d,old\n" % number for number in range(2_000))


def grow(path: str) -> None:
    with open(path, "ab") as file:
        file.write(b"half a li")


def shrink(path: str) -> None:
    os.truncate(path, len(OLD) // 2 + 3)


def replace(path: str) -> None:
    other = f"{path}.new"
    Path(other).write_bytes(OLD.replace(b"old", b"new"))
    os.replace(other, path)


def rewrite(path: str) -> None:
    """In place, without a change of size."""
    with open(path, "r+b") as file:
        file.seek(len(OLD) // 2)
        file.write(b"#")


CHANGES: dict[Callable[[str], None], str] = {
    grow: r"is 22,009 bytes of",
    shrink: r"is 11,003 bytes of",
    replace: r"is 22,000 bytes of",
    rewrite: r"is 22,000 bytes of",
    os.unlink: r"is gone",
}
SAYS = r"request\.csv\S* changed while it was being read \(was 22,000 bytes of [-0-9T:.]+ UTC, {}"


def changed(now: str) -> str:
    return SAYS.format(now) + r".*\)\. Run again when it is complete, or leave it out of dataFile\.$"


@pytest.fixture
def old(tmp_path: Path) -> SourceFile:
    file = write(tmp_path, OLD)
    os.utime(file.path, ns=(0, 1_464_739_500_123_456_789))  # an hour's log is not as young as a test's
    return scanned_files.source(file.path)


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changed_before_it_was_opened_is_an_error(old: SourceFile, change: Callable[[str], None]) -> None:
    change(old.path)
    for read in (read_head, blocks, lambda file: list(read_blocks(Split(file, 10, 20)))):
        with pytest.raises(InputError, match=changed(CHANGES[change])):
            read(old)  # type: ignore[operator]


@pytest.mark.parametrize("change", [grow, shrink, rewrite])
@pytest.mark.parametrize("bounds", [(0, 22_000), (0, 5_000), (5_000, 22_000)])
def test_a_file_that_changes_between_blocks_is_an_error_and_gives_no_block_of_two_states(
    old: SourceFile, change: Callable[[str], None], bounds: tuple[int, int]
) -> None:
    reader = read_blocks(Split(old, *bounds), 1000)
    seen = [next(reader)]
    change(old.path)
    with pytest.raises(InputError, match=changed(CHANGES[change])):
        seen.extend(reader)
    assert b"".join(block for _, block in seen) in OLD


@pytest.mark.parametrize("change", [grow, shrink, rewrite])
def test_a_file_that_changes_while_its_last_block_is_being_read_is_an_error(
    old: SourceFile, change: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_fully = reading._read_fully

    def change_then_read(read: Callable[[int], bytes], length: int) -> bytes:
        change(old.path)
        return read_fully(read, length)

    monkeypatch.setattr(reading, "_read_fully", change_then_read)
    for read in (read_head, lambda file: list(read_blocks(Split(file, 0, file.size)))):
        with pytest.raises(InputError, match="changed while it was being read"):
            read(old)


def test_a_file_that_is_replaced_or_removed_once_it_is_open_is_read_as_it_was(old: SourceFile) -> None:
    for change in (replace, os.unlink):
        reader = read_blocks(Split(old, 0, old.size), 1000)
        seen = [next(reader)]
        change(old.path)
        assert b"".join(block for _, block in [*seen, *reader]) == OLD
        Path(old.path).write_bytes(OLD)
        os.utime(old.path, ns=(0, int(old.version)))


def test_a_file_with_another_time_only_counts_as_changed(old: SourceFile) -> None:
    os.utime(old.path, ns=(0, 1_464_739_500_123_456_790))
    with pytest.raises(InputError, match=r"was .* of 2016-06-01T00:05:00\.123456789 UTC, is .*\.123456790 UTC"):
        blocks(old)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("kept", [0.5, 1.5])
def test_a_compressed_file_that_changes_is_said_to_have_changed_not_to_be_broken(
    tmp_path: Path, suffix: str, kept: float
) -> None:
    file = write(tmp_path, os.urandom(1 << 20), f"request.csv{suffix}")
    reader = read_blocks(Split(file, 0, file.size), 1000)
    next(reader)
    os.truncate(file.path, int(file.size * kept))
    with pytest.raises(InputError, match="changed while it was being read"):
        list(reader)


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(old: SourceFile) -> None:
    os.unlink(old.path)
    os.mkfifo(old.path)
    with pytest.raises(InputError, match="changed while it was being read"):
        blocks(old)


def test_times_that_no_calendar_has_can_be_shown(tmp_path: Path) -> None:
    file = write(tmp_path, b"x")
    for version in ("-1", "0", str(1 << 70)):
        with pytest.raises(InputError, match=r"was 1 bytes of .* UTC, is 1 bytes of"):
            blocks(SourceFile(file.path, 1, version))


# --- files that cannot be read --------------------------------------------------------------------------------------


@pytest.fixture
def refused(old: SourceFile, monkeypatch: pytest.MonkeyPatch) -> SourceFile:
    """A file that may not be opened: root may open any, so the system's answer is put in its place."""
    if os.geteuid() != 0:
        os.chmod(old.path, 0)
        return old

    def refuse(path: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(sources, "_open_at_once", refuse)
    return old


def test_a_file_that_may_not_be_read_is_an_error_that_names_it(refused: SourceFile) -> None:
    for read in (read_head, blocks):
        with pytest.raises(InputError, match=r"Cannot read .*request\.csv: Permission denied\. Replace"):
            read(refused)  # type: ignore[operator]


def test_a_folder_in_the_place_of_a_file_is_an_error_that_names_it(old: SourceFile) -> None:
    os.unlink(old.path)
    os.mkdir(old.path)
    with pytest.raises(InputError, match=r"Cannot read .*request\.csv: Is a directory"):
        blocks(old)


def test_a_name_that_is_not_utf8_is_shown_with_its_bytes(tmp_path: Path) -> None:
    file = write(tmp_path, b"x", "\udcff.csv")
    assert blocks(file) == [(0, b"x")]
    os.unlink(file.path)
    with pytest.raises(InputError, match=r"\\xff\.csv changed") as caught:
        blocks(file)
    assert str(caught.value).encode()
