"""Finding files, and reading them: by examples, and for files that are broken."""

from __future__ import annotations

import gzip
import os
import time
from itertools import pairwise
from pathlib import Path

import pytest

from loadcast.errors import InputError
from loadcast.kernels.rows import LAYOUT_HEAD_BYTES
from loadcast.storage import files
from loadcast.storage.files import SourceFile, Split, find_files, local_path, plan_splits, read_blocks, read_head

MARK = b"\xef\xbb\xbf"


def write(folder: Path, data: bytes, name: str = "request.csv") -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)


def found(path: str) -> SourceFile:
    (file,) = find_files(path)
    return file


def blocks(path: str, block_bytes: int = 8, *bounds: int) -> list[tuple[int, bytes]]:
    file = found(path)
    splits = [Split(file, start, end) for start, end in pairwise([0, *bounds, file.size])]
    return [block for split in splits for block in read_blocks(split, block_bytes)]


# --- finding --------------------------------------------------------------------------------------------------------


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for month in ("2016/05", "2016/06", "2017/06"):
        for part in ("a/0", "b/7"):
            place = tmp_path / month / part
            place.mkdir(parents=True)
            write(place, b"x\n")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("2016/06/a/0/request.csv", ["2016/06/a/0"]),
        ("20[0,1][0-9]/[0,1][0-9]/[a,b]/[0-6]/request.csv", ["2016/05/a/0", "2016/06/a/0", "2017/06/a/0"]),
        ("2016/*/*/*/request.csv", ["2016/05/a/0", "2016/05/b/7", "2016/06/a/0", "2016/06/b/7"]),
        ("**/a/0/*.csv", ["2016/05/a/0", "2016/06/a/0", "2017/06/a/0"]),
        ("201?/05/a/*/request.csv", ["2016/05/a/0"]),
    ],
)
def test_a_path_or_pattern_finds_its_files_sorted(logs: Path, pattern: str, found: list[str]) -> None:
    wanted = [f"{logs}/{place}/request.csv" for place in found]
    assert [file.path for file in find_files(f"{logs}/{pattern}")] == wanted
    assert [file.path for file in find_files(f"file://{logs}/{pattern}")] == wanted
    assert [(file.path, file.size) for file in find_files(f"file:{logs}/{pattern}")] == [(path, 2) for path in wanted]


@pytest.mark.parametrize("name", ["part[1].csv", "what?.csv", "a*b.csv", "with space.csv", "é\n.csv", "-rf.csv"])
def test_a_file_that_exists_is_found_by_its_very_name(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, b"", name)
    write(tmp_path, b"", "other.csv")
    assert [(file.path, file.size) for file in find_files(path)] == [(path, 0)]


def test_folders_that_match_a_pattern_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    path = write(tmp_path, b"x")
    assert [(file.path, file.size) for file in find_files(f"{tmp_path}/*.csv")] == [(path, 1)]


@pytest.mark.parametrize("pattern", ["none.csv", "*/none*.csv", "[z-a].csv", "[", "a\0b", "a\0/*.csv", "x" * 5000])
def test_a_pattern_without_files_is_an_error_that_names_it(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(InputError, match="matches no file") as caught:
        find_files(f"{tmp_path}/{pattern}")
    assert str(tmp_path) in str(caught.value)


def test_a_folder_is_an_error_that_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is a folder; wanted .*/\*/\*\.csv"):
        find_files(f"{tmp_path}/")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("data/a.csv", "data/a.csv"),
        ("/data/a:b.csv", "/data/a:b.csv"),
        ("file:/data/a.csv", "/data/a.csv"),
        ("file:///data/a.csv", "/data/a.csv"),
        ("FILE://localhost/data/a.csv", "/data/a.csv"),
        ("file:data/a.csv", "data/a.csv"),
        ("file:///data/a%20b%5B1%5D.csv", "/data/a b[1].csv"),
        ("file:///data/[0-6]/a?.csv#1", "/data/[0-6]/a?.csv#1"),
    ],
)
def test_a_file_url_is_the_path_behind_it(url: str, path: str) -> None:
    assert local_path(url) == path


@pytest.mark.parametrize("url", ["wasbs://c@a.blob.core.windows.net/x", "hdfs:/x", "https://me:secret@host/x", "s3:x"])
def test_another_url_is_an_error_that_names_its_kind_and_no_secret(url: str) -> None:
    with pytest.raises(InputError, match=f"^{url.partition(':')[0]}: URLs cannot be read") as caught:
        local_path(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["file://other/data/a.csv", "file://20[0,1]/a.csv"])
def test_a_file_url_of_another_machine_is_an_error(url: str) -> None:
    with pytest.raises(InputError, match="file: URLs of another machine"):
        local_path(url)


# --- lines and blocks -----------------------------------------------------------------------------------------------


def test_blocks_end_where_lines_end(tmp_path: Path) -> None:
    path = write(tmp_path, b"aa\nbbb\r\ncccc\rdd\nlast")
    assert blocks(path, 8) == [(0, b"aa\nbbb\r\n"), (8, b"cccc\rdd\n"), (16, b"last")]
    assert blocks(path, 7) == [(0, b"aa\n"), (3, b"bbb\r\n"), (8, b"cccc\r"), (13, b"dd\nlast")]
    assert blocks(path, 1000) == [(0, b"aa\nbbb\r\ncccc\rdd\nlast")]


@pytest.mark.parametrize("place", range(9))
def test_a_cut_inside_a_crlf_or_a_character_moves_to_the_next_line(tmp_path: Path, place: int) -> None:
    path = write(tmp_path, "é\r\n\r\nö\r".encode())
    assert b"".join(block for _, block in blocks(path, 100, place)) == "é\r\n\r\nö\r".encode()
    assert all(offset in (0, 4, 6) for offset, _ in blocks(path, 100, place))


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 4, 5, 8, 100])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b""])
def test_a_byte_order_mark_is_left_out_and_counted(tmp_path: Path, end: bytes, block_bytes: int) -> None:
    path = write(tmp_path, MARK + b"a" + end)
    assert blocks(path, block_bytes) == [(3, b"a" + end)]
    assert read_head(found(path)) == (b"a" + end, True)


def test_a_mark_elsewhere_stays(tmp_path: Path) -> None:
    path = write(tmp_path, MARK + MARK + b"a\n" + MARK + b"b\n")
    assert blocks(path, 8) == [(3, MARK + b"a\n"), (8, MARK + b"b\n")]


@pytest.mark.parametrize("name", ["request.csv", "request.csv.gz"])
@pytest.mark.parametrize("data", [b"", b"x", b"x\n", b"\n", b"\r", b"\r\n", MARK])
def test_the_smallest_files(tmp_path: Path, data: bytes, name: str) -> None:
    path = write(tmp_path, gzip.compress(data) if name.endswith("gz") else data, name)
    (split,) = plan_splits(find_files(path), 4)
    assert b"".join(block for _, block in read_blocks(split)) == data.removeprefix(MARK)
    assert read_head(found(path)) == (data.removeprefix(MARK), True)


@pytest.mark.parametrize(("size", "complete"), [(-1, True), (0, True), (1, False)])
def test_the_head_says_whether_it_is_all(tmp_path: Path, size: int, complete: bool) -> None:
    data = b"x" * (LAYOUT_HEAD_BYTES + size)
    for path in (write(tmp_path, data), write(tmp_path, gzip.compress(data), "x.gz")):
        assert read_head(found(path)) == (data[:LAYOUT_HEAD_BYTES], complete)


def test_a_line_longer_than_many_blocks_and_searches_comes_whole(tmp_path: Path) -> None:
    data = b"a\n" + b"x" * 300_000 + b"\r\nb\n"
    path = write(tmp_path, data)
    assert blocks(path, 1000) == [(0, b"a\n"), (2, data[2:])]
    assert blocks(path, 1 << 20, 2, 3, 150_000, 300_003) == [(0, b"a\n"), (2, data[2:300_004]), (300_004, b"b\n")]


def test_a_long_line_is_not_copied_over_and_over(tmp_path: Path) -> None:
    path = write(tmp_path, b"x" * (8 << 20))
    begin = time.perf_counter()
    assert len(blocks(path, 1024)) == 1
    # Adding block after block would copy 32 GB.
    assert time.perf_counter() - begin < 5


def test_a_line_that_is_too_long_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LONGEST_LINE_BYTES", 1 << 20)
    data = b"\0" * (8 << 20)
    for path in (write(tmp_path, data), write(tmp_path, gzip.compress(data), "bomb.csv.gz")):
        with pytest.raises(InputError, match=r"has a line of more than 1 MB\. Replace the file, or leave it out"):
            blocks(path, 4096)
    with pytest.raises(InputError, match="has a line of more than 1 MB"):
        list(read_blocks(Split(found(str(tmp_path / "request.csv")), 5, 6)))


def test_a_file_that_grows_or_shrinks_while_it_is_read_ends_where_it_was_or_is(tmp_path: Path) -> None:
    path = write(tmp_path, b"aa\nbb\ncc\n")
    grown, shrunk = Split(SourceFile(path, 6, ""), 0, 6), Split(SourceFile(path, 20, ""), 0, 20)
    assert list(read_blocks(grown)) == [(0, b"aa\nbb\n")]
    assert list(read_blocks(shrunk)) == [(0, b"aa\nbb\ncc\n")]


# --- broken files ---------------------------------------------------------------------------------------------------

PACKED = gzip.compress(b"a line\n" * 50_000)
BROKEN = {
    "cut": PACKED[:-9],
    "cut early": PACKED[:30],
    "no gzip": b"plain text\n",
    "one byte": PACKED[:1],
    "wrong sum": PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:],
    "damaged": PACKED[:40] + b"\xff" * 20 + PACKED[60:],
    "garbage behind": PACKED + b"garbage",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_compressed_file_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, BROKEN[name], "request.csv.gz")
    with pytest.raises(InputError, match=r"Cannot read .*request\.csv\.gz: .+ Replace the file, or leave it out"):
        blocks(path, 1000)


def test_several_compressed_members_are_one_file(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(b"a\nb") + gzip.compress(b"c\n") + b"\0" * 10, "request.csv.gz")
    assert blocks(path) == [(0, b"a\nbc\n")]


@pytest.mark.parametrize("read", [read_head, lambda file: list(read_blocks(Split(file, 0, 9)))])
def test_a_file_that_is_gone_is_an_error_that_names_it(tmp_path: Path, read: object) -> None:
    file = found(write(tmp_path, b"x"))
    os.unlink(file.path)
    with pytest.raises(InputError, match=r"Cannot read .*request\.csv: No such file"):
        read(file)  # type: ignore[operator]
